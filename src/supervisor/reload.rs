//! Reading again: configuration, key and certificate, each kept as it was when the new one is no good.

use std::path::Path;

use tokio::time::Instant;

use super::setup::gateway_settings;
use super::start::{self, KeySource};
use super::watch::Watch;
use super::{Orders, Supervisor};
use crate::config::{Comfyui, Config, Gpu};
use crate::credential::names::host_names;
use crate::credential::sessions::Lifetimes;
use crate::wire::message::{TlsIdentity, ToGateway};

/// What is only read at a start: said when it was changed, so that nobody waits for it.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let port = |config: &Config| match &config.comfyui {
        Comfyui::Owned(owned) => Some((owned.port, owned.user.clone(), owned.groups.clone())),
        Comfyui::External(_) => None,
    };
    let external = |config: &Config| match &config.comfyui {
        Comfyui::Owned(_) => None,
        Comfyui::External(address) => Some(*address),
    };
    [
        ("listen", old.listen != new.listen),
        ("gpu.library", old.gpu.library != new.gpu.library),
        ("metrics.listen", old.metrics != new.metrics),
        ("service", old.service != new.service),
        ("state.directory", old.state != new.state),
        ("comfyui.port, comfyui.user, comfyui.groups", port(old) != port(new)),
        ("comfyui.external", external(old) != external(new)),
        ("log.level", old.log.level != new.log.level),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

impl Supervisor {
    /// SIGHUP: everything is read again.
    pub(super) fn reload(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        tracing::info!("reloading");
        self.systemd.reloading();
        self.reload_config();
        // A plain key in a file gets another hash each time that it is read, which would end all that rests on it.
        if self.key_file.changed() || !self.orders.key_source.may_be_plain() {
            self.reload_key();
        }
        self.reload_identity();
        self.key_file = key_watch(&self.orders);
        self.certificate = certificate_watch(&self.orders.config);
        self.systemd.ready();
    }

    /// Files that changed by themselves.
    pub(super) fn look_at_files(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        if self.key_file.changed() {
            tracing::info!("the key file changed");
            self.reload_key();
        }
        if self.session_file.changed() {
            self.reread_sessions();
        }
        if self.certificate.changed() {
            tracing::info!("the certificate's files changed");
            self.reload_identity();
        }
    }

    fn reload_config(&mut self) {
        let new = match (self.orders.load)() {
            Ok(new) => new,
            Err(findings) => {
                tracing::error!("the configuration is kept as it was, because the new one is wrong:\n{findings}");
                return;
            }
        };
        for key in needs_restart(&self.orders.config, &new) {
            tracing::warn!("a change of {key} takes effect when the guard is restarted");
        }
        let old = &self.orders.config;
        // What needs a restart stays as it is, so that no part of the guard believes a half of it.
        let comfyui = match (&old.comfyui, &new.comfyui) {
            (Comfyui::Owned(old), Comfyui::Owned(new)) => {
                let mut kept = new.clone();
                kept.port = old.port;
                kept.user.clone_from(&old.user);
                kept.groups.clone_from(&old.groups);
                Comfyui::Owned(kept)
            }
            (old, _) => old.clone(),
        };
        let config = Config {
            listen: old.listen.clone(),
            gpu: Gpu { library: old.gpu.library.clone(), ..new.gpu },
            service: old.service.clone(),
            state: old.state.clone(),
            comfyui,
            ..new
        };
        if let (Some(comfyui), Comfyui::Owned(settings)) = (&mut self.comfyui, &config.comfyui) {
            comfyui.reload((**settings).clone(), config.proxy.max_upload, Instant::now());
        }
        if gateway_settings(old) != gateway_settings(&config) {
            self.gateway.tell(ToGateway::Settings(Box::new(gateway_settings(&config))));
        }
        if let Some(sessions) = &mut self.sessions {
            sessions.set_lifetimes(Lifetimes::of(&config.auth));
        }
        self.orders.config = config;
        self.strangers.forget();
        self.look_at_gpus();
    }

    /// A new key ends what rests on the old one; a file that is no good leaves the old one in force.
    fn reload_key(&mut self) {
        let path = &self.orders.config.auth.key_file;
        match start::read_key(path, &self.orders.key_source, &self.users.key_owners) {
            Ok(Some(new)) if self.key.as_ref() == Some(&new) => {}
            Ok(Some(new)) => {
                tracing::info!("a new key is in force");
                self.rekey_sessions(&new);
                self.key = Some(new);
                self.key_epoch += 1;
                let state = self.key_state();
                self.gateway.tell(ToGateway::Key(state));
            }
            Ok(None) if self.key.is_some() => tracing::error!("the key that was in force stays in force"),
            Ok(None) => {}
            Err(error) => tracing::error!("{error}; the key that was in force stays in force"),
        }
    }

    /// Loads the certificate again; the guard's own is renewed when its time has come.
    pub(super) fn reload_identity(&mut self) {
        self.names = host_names(&self.orders.config.tls.names);
        let loaded = match &self.orders.config.tls.identity {
            Some(pair) => start::load_pair(&pair.certificate, &pair.private_key).map_err(|error| error.to_string()),
            None => start::own_identity(&self.orders.config, &self.names).map_err(|error| error.to_string()),
        };
        match loaded {
            Ok(new) => self.serve_with(new),
            Err(error) => tracing::error!("{error}; the certificate that was in force stays in force"),
        }
    }

    /// A certificate of the guard's own names the addresses that guests type: one that came since is added.
    pub(super) fn look_at_names(&mut self) {
        let config = &self.orders.config;
        if self.stopping.is_none() && config.tls.identity.is_none() && host_names(&config.tls.names) != self.names {
            self.reload_identity();
        }
    }

    fn serve_with(&mut self, identity: TlsIdentity) {
        if identity.chain != self.identity.chain || identity.key != self.identity.key {
            self.gateway.tell(ToGateway::Identity(Box::new(identity.clone())));
            self.identity = identity;
        }
    }
}

/// The file that the key is read from, if it is.
pub(super) fn key_watch(orders: &Orders) -> Watch {
    let path: Option<&Path> = match &orders.key_source {
        KeySource::Configured { .. } => Some(&orders.config.auth.key_file),
        KeySource::File(path) => Some(path),
        KeySource::Given(_) => None,
    };
    Watch::new(path)
}

/// The files that the certificate is read from, if they are somebody else's.
pub(super) fn certificate_watch(config: &Config) -> Watch {
    let pair = config.tls.identity.as_ref();
    Watch::new(pair.into_iter().flat_map(|pair| [pair.certificate.as_path(), pair.private_key.as_path()]))
}
