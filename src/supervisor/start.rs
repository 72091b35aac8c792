//! Start-up: everything that may need root, in its order, then the step down; nothing of the network is read here.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::{Comfyui as ComfyuiSettings, Config, LocalAddress, OwnedComfyui};
use crate::credential::authority::{self, AuthorityError};
use crate::credential::identity::{self, IdentityError};
use crate::credential::key_file::{self, GivenKey, KeyFileError};
use crate::credential::names::{Names, host_names};
use crate::credential::phc::Phc;
use crate::os::cgroup::Group;
use crate::os::descriptors;
use crate::os::files;
use crate::os::limits;
use crate::os::local;
use crate::os::privilege::{self, PrivilegeError};
use crate::os::spawn::Identity;
use crate::os::systemd;
use crate::os::users::{self, Account, Uid, UserError};
use crate::sandbox::{self, Confinement, SandboxError};
use crate::wire::message::TlsIdentity;

use super::cage;
use super::control::Control;

/// Where the key comes from.
#[derive(Debug)]
pub(crate) enum KeySource {
    /// `auth.key_file`, written by `set-key`; while there is none, the credential that the service manager gave, if it gave one.
    Configured {
        /// Where the service manager put it.
        credential: Option<PathBuf>,
    },
    /// `run --api-key-file`: a hash or a plain key.
    File(PathBuf),
    /// `COMFYUI_API_KEY` or `--api-key`, hashed already.
    Given(Phc),
}

impl KeySource {
    /// Whether it may hold a plain key, which gets another hash each time that it is read.
    pub(crate) fn may_be_plain(&self) -> bool {
        matches!(self, Self::File(_) | Self::Configured { credential: Some(_) })
    }
}

/// What stops a start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A configured user does not exist.
    #[error(transparent)]
    User(#[from] UserError),
    /// The step down from root failed.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// The supervisor's own sandbox cannot be closed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A UNIX socket cannot be made.
    #[error(
        "cannot listen on {} (metrics.listen): {source}; its folder must be there and writable, and nothing else may lie at its place",
        path.display()
    )]
    ListenLocally {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A passed socket for metrics that others than this machine reach.
    #[error(
        "the service manager passed a socket named \"metrics\" on {0}, which can be reached from the network; use a loopback address or a path (ListenStream= in the socket unit)"
    )]
    OpenMetrics(SocketAddr),
    /// The sockets from systemd are not what the configuration needs.
    #[error("the sockets passed by the service manager cannot be used: {0}")]
    PassedSockets(io::Error),
    /// A passed socket has a name that means nothing.
    #[error(
        "the service manager passed a socket named \"{0}\"; the names are \"https\", \"http_redirect\" and \"metrics\" (FileDescriptorName= in the socket unit)"
    )]
    SocketName(String),
    /// The state directory cannot be made.
    #[error("the state directory {} cannot be prepared: {source}", path.display())]
    State {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Two guards would end each other's sessions and answer each other's commands.
    #[error(
        "another comfy-guard uses the state directory {}; end it (`systemctl stop comfy-guard`), or give this one a state.directory of its own", path.display()
    )]
    StateInUse {
        /// Which.
        path: PathBuf,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The guard's own certificate cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The key given to `run` cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The process could not be prepared.
    #[error("cannot {step}: {source}")]
    System {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root, a socket unit, or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrInUse => "; another program holds it (ss -ltnp shows which)",
        _ => "",
    }
}

/// As whom each process runs, where the guard may switch users.
#[derive(Debug)]
pub(crate) struct Users {
    /// The gateway and the sensor.
    pub(crate) network: Option<Identity>,
    /// ComfyUI.
    pub(crate) comfyui: Option<(Account, Identity)>,
    /// The owners that a key file may have.
    pub(crate) key_owners: Vec<Uid>,
}

/// What listens, by what is served there.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// Guests over TLS.
    pub(crate) https: Vec<OwnedFd>,
    /// Plain HTTP that is led to them.
    pub(crate) redirect: Vec<OwnedFd>,
    /// `/metrics` for this machine.
    pub(crate) metrics: Vec<OwnedFd>,
    /// The UNIX sockets among those that were made here, and go with the guard.
    pub(crate) made: Vec<PathBuf>,
}

impl Drop for Sockets {
    /// One whose name stays is taken over by the next start.
    fn drop(&mut self) {
        for path in &self.made {
            if let Err(error) = local::remove_socket(path) {
                tracing::debug!(%error, path = %path.display(), "a socket's name stays");
            }
        }
    }
}

/// What a start has brought together.
#[derive(Debug)]
pub(crate) struct Started {
    /// What listens.
    pub(crate) sockets: Sockets,
    /// As whom.
    pub(crate) users: Users,
    /// The key's hash, if there is one.
    pub(crate) key: Option<Phc>,
    /// The certificate.
    pub(crate) identity: TlsIdentity,
    /// What the machine was called then.
    pub(crate) names: Names,
    /// ComfyUI's own cgroup, where there is one.
    pub(crate) group: Option<Group>,
    /// What holds the supervisor itself.
    pub(crate) confinement: Confinement,
    /// The state directory, claimed, with the socket for commands.
    pub(crate) control: Control,
}

/// Carries the start-up out. Call before any thread exists.
pub(crate) fn prepare(config: &Config, source: &KeySource) -> Result<Started, StartError> {
    let mut sockets = listen(config)?;
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let service = privilege::is_root().then(|| users::lookup_user(&config.service.user)).transpose()?;
    let users = find_users(config, service.as_ref())?;
    listen_locally(config, service.as_ref(), &mut sockets)?;
    // As root, so that files in places which only root may enter can be named too.
    let key = read_key(&config.auth.key_file, source, &users.key_owners)?;
    let configured =
        config.tls.identity.as_ref().map(|pair| load_pair(&pair.certificate, &pair.private_key)).transpose()?;
    prepare_state(&config.state.directory, service.as_ref())?;
    let group = match config.comfyui {
        ComfyuiSettings::Owned(_) => cage::divide_group(service.as_ref().map(|account| (account.uid, account.gid))),
        ComfyuiSettings::External(_) => None,
    };
    if let Some(account) = &service {
        if let Err(error) = limits::no_limit_on_locked_memory() {
            tracing::debug!(%error, "the limit on locked memory stays");
        }
        privilege::become_user(account.uid.0, account.gid.0)?;
    }
    let confinement = sandbox::supervisor::close()?;
    let control = Control::claim(&config.state.directory)?;
    let names = host_names(&config.tls.names);
    let identity = match configured {
        Some(identity) => identity,
        None => own_identity(config, &names)?,
    };
    Ok(Started { sockets, users, key, identity, names, group, confinement, control })
}

/// The sockets from the service manager where there are any of that name, else the configured addresses.
fn listen(config: &Config) -> Result<Sockets, StartError> {
    let mut all = Sockets::default();
    for (name, socket) in systemd::passed_sockets().map_err(StartError::PassedSockets)? {
        match name.as_str() {
            "https" => all.https.push(socket),
            "http_redirect" => all.redirect.push(socket),
            "metrics" => all.metrics.push(for_this_machine(socket)?),
            _ => return Err(StartError::SocketName(name)),
        }
    }
    let configured = [(&mut all.https, &config.listen.https), (&mut all.redirect, &config.listen.http_redirect)];
    for (sockets, addresses) in configured {
        if sockets.is_empty() {
            for address in addresses {
                sockets.push(bind(*address, addresses)?);
            }
        }
    }
    Ok(all)
}

/// Nobody is asked for a key on a socket for metrics, so it is none that the network reaches.
fn for_this_machine(socket: OwnedFd) -> Result<OwnedFd, StartError> {
    match descriptors::local_address(socket.as_fd()) {
        Ok(address) if !address.ip().to_canonical().is_loopback() => Err(StartError::OpenMetrics(address)),
        // A UNIX socket has no such address.
        Ok(_) | Err(_) => Ok(socket),
    }
}

/// The listeners of `[metrics]`, unless the service manager passed some. A UNIX socket is the service's own, so that its group can read.
fn listen_locally(config: &Config, service: Option<&Account>, sockets: &mut Sockets) -> Result<(), StartError> {
    if !sockets.metrics.is_empty() {
        return Ok(());
    }
    for address in &config.metrics.listen {
        match address {
            LocalAddress::Loopback(address) => sockets.metrics.push(bind(*address, &[])?),
            LocalAddress::Unix(path) => {
                let owner = service.map(|account| (account.uid, account.gid));
                let made = local::listen_with_group(path, owner);
                sockets.metrics.push(made.map_err(|source| StartError::ListenLocally { path: path.clone(), source })?);
                sockets.made.push(path.clone());
            }
        }
    }
    Ok(())
}

/// `[::]` also takes IPv4, unless an IPv4 address with the same port is configured beside it.
fn bind(address: SocketAddr, all: &[SocketAddr]) -> Result<OwnedFd, StartError> {
    let dual_stack = !all.iter().any(|other| other.is_ipv4() && other.port() == address.port());
    descriptors::listen_on(address, dual_stack).map_err(|source| StartError::Listen { address, source })
}

fn find_users(config: &Config, service: Option<&Account>) -> Result<Users, StartError> {
    let own = service.map_or_else(users::effective_uid, |account| account.uid);
    let key_owners = vec![Uid(0), own];
    if !privilege::may_switch_users() {
        tracing::info!("without the privilege to switch users, every process runs as the caller");
        return Ok(Users { network: None, comfyui: None, key_owners });
    }
    let network = users::lookup_user(&config.service.network_user)?;
    let network = Some(Identity { uid: network.uid.0, gid: network.gid.0, groups: Vec::new() });
    let comfyui = match &config.comfyui {
        ComfyuiSettings::Owned(settings) => Some(comfyui_user(settings)?),
        ComfyuiSettings::External(_) => None,
    };
    Ok(Users { network, comfyui, key_owners })
}

fn comfyui_user(settings: &OwnedComfyui) -> Result<(Account, Identity), StartError> {
    let account = users::lookup_user(&settings.user)?;
    let mut groups = Vec::new();
    for name in &settings.groups {
        match users::lookup_group(name) {
            Ok(gid) => groups.push(gid.0),
            // A box without a GPU has no render group: no reason to refuse the start.
            Err(error) => tracing::warn!(%error, "comfyui.groups"),
        }
    }
    let identity = Identity { uid: account.uid.0, gid: account.gid.0, groups };
    Ok((account, identity))
}

/// The hash of the key. A configured key file that is missing or refused is told and leaves everything closed: the gateway
/// then explains to every guest what to do. What was given to `run` by hand has to work.
pub(crate) fn read_key(configured: &Path, source: &KeySource, owners: &[Uid]) -> Result<Option<Phc>, KeyFileError> {
    match source {
        KeySource::Given(phc) => Ok(Some(phc.clone())),
        KeySource::File(path) => key_file::read_plain_or_phc(path, owners).map(|given| Some(hash_of(given, path))),
        KeySource::Configured { credential } => {
            let read = match (key_file::read(configured, owners), credential) {
                (Err(KeyFileError::Missing { .. }), Some(credential)) => {
                    tracing::info!("the key is the service manager's credential {}", credential.display());
                    key_file::read_credential(credential, owners).map(|given| hash_of(given, credential))
                }
                (read, _) => read,
            };
            Ok(read.map_err(|error| tracing::error!("{error}")).ok())
        }
    }
}

fn hash_of(given: GivenKey, path: &Path) -> Phc {
    if let Some(weakness) = given.weakness {
        tracing::warn!("the key in {} is weak: {weakness}", path.display());
    }
    given.phc
}

/// A certificate and its key from PEM files, with what is to be said about them.
pub(crate) fn load_pair(certificate: &Path, private_key: &Path) -> Result<TlsIdentity, IdentityError> {
    let identity = identity::load_pem(certificate, private_key)?;
    for warning in identity.warnings(SystemTime::now()) {
        tracing::warn!("{warning}");
    }
    tracing::info!(fingerprint = %identity.fingerprint, certificate = %certificate.display(), "certificate loaded");
    Ok(for_gateway(identity))
}

/// The certificate that the guard makes itself, for these names.
pub(crate) fn own_identity(config: &Config, names: &Names) -> Result<TlsIdentity, AuthorityError> {
    let made = authority::ensure(&config.state.directory, names, SystemTime::now())?;
    if let Some(reason) = &made.renewed {
        let trust = if reason.is_new_ca() { "; `comfy-guard ca` prints the root to trust" } else { "" };
        tracing::info!("own certificate made: {reason}{trust}");
    }
    tracing::info!(fingerprint = %made.identity.fingerprint, "own certificate");
    Ok(for_gateway(made.identity))
}

fn for_gateway(identity: identity::Identity) -> TlsIdentity {
    TlsIdentity { chain: identity.chain, key: identity.key, not_after: identity.not_after }
}

fn prepare_state(path: &Path, owner: Option<&Account>) -> Result<(), StartError> {
    let owner = owner.map(|account| (account.uid, account.gid));
    files::private_directory(path, owner).map_err(|source| StartError::State { path: path.to_owned(), source })
}
