//! The certificate of a guard that was given none: a local CA and a leaf, made at the first start and kept in `STATE/tls`.

use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::identity::{self, Identity, IdentityError};
use super::issue::{self, LEAF_LIFE};
use super::names::{self, Names};
use crate::os::files::{self, Kind, Links};
use crate::os::users::{self, Uid};

/// What the local CA gives to the gateway and to the user.
#[derive(Debug)]
pub(crate) struct Made {
    /// The leaf with its key.
    pub(crate) identity: Identity,
    /// What was made anew; none: all was good.
    pub(crate) renewed: Option<Reason>,
}

/// Why something was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There was no CA: the first start.
    FirstStart,
    /// The CA could not be used. Whoever trusted it has to trust the new one.
    CaBroken(String),
    /// The CA ends before a leaf would. Whoever trusted it has to trust the new one.
    CaEnds,
    /// There was no leaf, or it does not fit its key.
    LeafBroken(String),
    /// Another CA signed it.
    LeafOfAnotherCa,
    /// A third of its life is left, or less.
    LeafEnds,
    /// Wanted names that it does not hold.
    NamesMissing(Vec<String>),
}

impl Reason {
    /// Whether users have to trust a new CA.
    pub(crate) const fn is_new_ca(&self) -> bool {
        matches!(self, Self::FirstStart | Self::CaBroken(_) | Self::CaEnds)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstStart => f.write_str("made a local CA and a certificate (first start)"),
            Self::CaBroken(why) => {
                write!(f, "made a new local CA, which has to be trusted anew: the old one could not be used ({why})")
            }
            Self::CaEnds => {
                f.write_str("made a new local CA, which has to be trusted anew: the old one was about to expire")
            }
            Self::LeafBroken(why) => write!(f, "made a new certificate: the old one could not be used ({why})"),
            Self::LeafOfAnotherCa => f.write_str("made a new certificate: another CA had signed the old one"),
            Self::LeafEnds => f.write_str("made a new certificate: two thirds of the old one's life were over"),
            Self::NamesMissing(names) => {
                write!(f, "made a new certificate: the old one did not name {}", names.join(", "))
            }
        }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The directory cannot be made or asked.
    #[error("cannot use the directory {path}: {source}", path = .path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// Somebody else could put keys into it.
    #[error("the directory {path} (mode {mode:04o}, owner {owner}) must be the guard's alone: `chown {expected} {path} && chmod 700 {path}`", path = .path.display())]
    DirectoryOpen { path: PathBuf, mode: u32, owner: Uid, expected: Uid },
    /// A private key that others could have read.
    #[error("the private key {path} (mode {mode:04o}, owner {owner}) is not the guard's alone; somebody may have it: remove {directory} and start again, which makes a new CA", path = .path.display(), directory = .directory.display())]
    KeyOpen { path: PathBuf, directory: PathBuf, mode: u32, owner: Uid },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// The crypto library failed.
    #[error("cannot make a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// What was just written cannot be read.
    #[error("the certificate that was just made cannot be used: {0}")]
    Unusable(IdentityError),
    /// No start has made one yet.
    #[error("there is no local CA in {path} yet; the first `comfy-guard run` makes it", path = .path.display())]
    NoneYet { path: PathBuf },
    /// There is one, but it cannot be read.
    #[error("cannot read the local CA: {0}")]
    Unreadable(IdentityError),
}

/// Where the four files lie.
struct Places {
    directory: PathBuf,
    ca: PathBuf,
    ca_key: PathBuf,
    leaf: PathBuf,
    leaf_key: PathBuf,
}

impl Places {
    fn of(state_directory: &Path) -> Self {
        let directory = state_directory.join("tls");
        let at = |name| directory.join(name);
        Self {
            ca: at("ca.pem"),
            ca_key: at("ca-key.pem"),
            leaf: at("leaf.pem"),
            leaf_key: at("leaf-key.pem"),
            directory,
        }
    }
}

/// Where the certificate and its key lie that the guard makes itself.
pub(crate) fn leaf(state_directory: &Path) -> (PathBuf, PathBuf) {
    let places = Places::of(state_directory);
    (places.leaf, places.leaf_key)
}

/// Loads what is there, makes what is missing, renews what ends. Run as the user that owns the state directory.
///
/// A kill at any point is mended by the next start: a key is written before its certificate, and a pair that does not fit is made anew.
pub(crate) fn ensure(state_directory: &Path, wanted: &Names, now: SystemTime) -> Result<Made, AuthorityError> {
    let places = Places::of(state_directory);
    prepare_directory(&places.directory)?;
    refuse_open_key(&places, &places.ca_key)?;
    refuse_open_key(&places, &places.leaf_key)?;

    let (ca, new_ca) = ensure_ca(&places, now)?;
    let leaf = identity::load_pem(&places.leaf, &places.leaf_key);
    let new_leaf = match &leaf {
        Ok(leaf) => needs_renewal(leaf, &ca, wanted, now),
        Err(error) => Some(Reason::LeafBroken(error.to_string())),
    };
    let ca_pem = read_pem(&places.ca)?;
    let identity = match (leaf, &new_leaf) {
        (Ok(leaf), None) => leaf,
        _ => {
            let ca_key = zeroize::Zeroizing::new(read_pem(&places.ca_key)?);
            let made = issue::make_leaf(&ca_pem, &ca_key, ca.not_after, wanted, now)?;
            store(&places.leaf_key, &made.key, 0o600)?;
            store(&places.leaf, &made.certificate, 0o644)?;
            identity::load_pem(&places.leaf, &places.leaf_key).map_err(AuthorityError::Unusable)?
        }
    };
    Ok(Made { identity, renewed: new_ca.or(new_leaf) })
}

/// Whether a leaf that fits its key has to be made anew.
pub(crate) fn needs_renewal(leaf: &Identity, ca: &Identity, wanted: &Names, now: SystemTime) -> Option<Reason> {
    if leaf.chain.get(1..) != Some(ca.chain.as_slice()) {
        return Some(Reason::LeafOfAnotherCa);
    }
    let life = leaf.not_after.duration_since(leaf.not_before).unwrap_or_default();
    let left = leaf.not_after.duration_since(now).unwrap_or_default();
    if left <= life / 3 {
        return Some(Reason::LeafEnds);
    }
    let missing: Vec<String> = wanted.texts().into_iter().filter(|name| !leaf.names.contains(name)).collect();
    if missing.is_empty() { None } else { Some(Reason::NamesMissing(missing)) }
}

/// What `comfy-guard ca` shows.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The CA's certificate in PEM.
    pub(crate) ca_pem: String,
    /// Its SHA-256.
    pub(crate) ca_fingerprint: String,
    /// The leaf's, if it can be read.
    pub(crate) leaf_fingerprint: Option<String>,
}

/// Reads the CA's certificate without touching a private key.
pub(crate) fn show(state_directory: &Path) -> Result<Shown, AuthorityError> {
    let places = Places::of(state_directory);
    let first = |path: &Path| {
        identity::load_certificates(path).map(|chain| chain.first().map(|der| identity::fingerprint(der)))
    };
    let ca_fingerprint = match first(&places.ca) {
        Err(IdentityError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(AuthorityError::NoneYet { path: places.directory });
        }
        found => found.map_err(AuthorityError::Unreadable)?.unwrap_or_default(),
    };
    Ok(Shown { ca_pem: read_pem(&places.ca)?, ca_fingerprint, leaf_fingerprint: first(&places.leaf).ok().flatten() })
}

fn ensure_ca(places: &Places, now: SystemTime) -> Result<(Identity, Option<Reason>), AuthorityError> {
    let reason = match identity::load_pem(&places.ca, &places.ca_key) {
        Ok(ca) if ca.not_after.duration_since(now).is_ok_and(|left| left > LEAF_LIFE) => return Ok((ca, None)),
        Ok(_) => Reason::CaEnds,
        Err(_) if !places.ca.exists() => Reason::FirstStart,
        Err(error) => Reason::CaBroken(error.to_string()),
    };
    let made = issue::make_ca(&names::host_name(), now)?;
    store(&places.ca_key, &made.key, 0o600)?;
    store(&places.ca, &made.certificate, 0o644)?;
    let ca = identity::load_pem(&places.ca, &places.ca_key).map_err(AuthorityError::Unusable)?;
    Ok((ca, Some(reason)))
}

fn prepare_directory(path: &Path) -> Result<(), AuthorityError> {
    let failed = |source| AuthorityError::Directory { path: path.to_owned(), source };
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let (_, facts) = files::open(path, Links::Refuse).map_err(failed)?;
    if facts.kind != Kind::Directory {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    let expected = users::effective_uid();
    if facts.mode & 0o077 != 0 || !is_ours(facts.owner) {
        return Err(AuthorityError::DirectoryOpen {
            path: path.to_owned(),
            mode: facts.mode,
            owner: facts.owner,
            expected,
        });
    }
    Ok(())
}

fn is_ours(owner: Uid) -> bool {
    owner.is_root() || owner == users::effective_uid()
}

fn refuse_open_key(places: &Places, path: &Path) -> Result<(), AuthorityError> {
    match files::open(path, Links::Refuse) {
        Ok((_, facts)) if facts.mode & 0o077 != 0 || !is_ours(facts.owner) => Err(AuthorityError::KeyOpen {
            path: path.to_owned(),
            directory: places.directory.clone(),
            mode: facts.mode,
            owner: facts.owner,
        }),
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(AuthorityError::Unreadable(IdentityError::Unreadable { path: path.to_owned(), source }))
        }
        _ => Ok(()),
    }
}

fn read_pem(path: &Path) -> Result<String, AuthorityError> {
    std::fs::read_to_string(path)
        .map_err(|source| AuthorityError::Unreadable(IdentityError::Unreadable { path: path.to_owned(), source }))
}

fn store(path: &Path, content: &str, mode: u32) -> Result<(), AuthorityError> {
    files::replace(path, content.as_bytes(), mode, None)
        .map_err(|source| AuthorityError::Unwritable { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
