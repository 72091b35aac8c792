//! The sessions' file: judged before it is believed, replaced whole, changed under a lock.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::session_text::{self, VERSION};
use super::sessions::Sessions;
use crate::os::files::{self, Facts, Kind, Links};
use crate::os::lock::{self, Lock};
use crate::os::users::{Gid, Uid, effective_uid};

const FILE: &str = "sessions.json";
pub(super) const LOCK: &str = "sessions.lock";
/// In bytes; the file of as many sessions as there can be has some 30 KiB.
const LARGEST_FILE: usize = 1 << 20;
/// How long a change waits for another process's change.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the sessions could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// Somebody holds the lock and does not let go.
    #[error("another process has held {path} for a second; try again, or see who holds it: `fuser {path}`", path = .path.display())]
    Busy { path: PathBuf },
    /// The lock's file cannot be made or opened.
    #[error("cannot lock {path}: {source}; nothing was changed", path = .path.display())]
    Lock { path: PathBuf, source: io::Error },
    /// The file is there and cannot be read.
    #[error("cannot read the sessions in {path}: {source}", path = .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// The new file could not be put in place; the old one is unharmed.
    #[error("cannot write the sessions to {path}: {source}; nothing was changed there", path = .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    /// A session would belong to no key.
    #[error("there is no key that a session could rest on; set one with `comfy-guard set-key`")]
    NoKey,
    /// The kernel gave no random bytes.
    #[error("no random bytes from the system: {0}; no session was opened")]
    Random(String),
}

/// What the file said.
#[derive(Debug)]
pub(super) enum Stored {
    /// There is none.
    Absent,
    /// There is one, and it counts as none.
    Disbelieved(Disbelief),
    /// The fingerprint of the key, and its sessions.
    Believed(String, Sessions),
}

/// Why a file counts as one without sessions. None of these stops the guard: its guests sign in again.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Disbelief {
    /// Somebody else could choose the file behind it.
    #[error("it is a symbolic link")]
    Symlink,
    /// A directory, a FIFO, a device.
    #[error("it is not a regular file but {0:?}")]
    NotRegular(Kind),
    /// Another name of it stands where others may hold on to it.
    #[error("it has {0} names (hard links)")]
    HardLinks(u64),
    /// Whoever owns it could have written a session of his own into it.
    #[error("it belongs to {0}")]
    WrongOwner(Uid),
    /// Group or others may read or write it.
    #[error("its mode {0:04o} opens it to group or others")]
    OpenToOthers(u32),
    /// Sixty-four sessions never take so much.
    #[error("it is larger than any such file is")]
    TooLarge,
    /// No JSON of this shape.
    #[error("its content is damaged ({0})")]
    Broken(String),
    /// Written by another version of the guard.
    #[error("it is of version {0}, and this guard reads version {VERSION}")]
    Version(u32),
    /// Opened by another key than the one in force.
    #[error("its sessions were opened by another key")]
    OtherKey,
}

/// Where the sessions of a state directory are kept.
#[derive(Debug)]
pub(super) struct SessionFile {
    path: PathBuf,
    lock: PathBuf,
    owner: Option<(Uid, Gid)>,
}

impl SessionFile {
    /// `owner` is whose it shall be where root writes it.
    pub(super) fn new(state_directory: &Path, owner: Option<(Uid, Gid)>) -> Self {
        Self { path: state_directory.join(FILE), lock: state_directory.join(LOCK), owner }
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps every other process's changes out. Reading needs no lock, as the file is replaced whole.
    pub(super) fn lock(&self) -> Result<Lock, SessionError> {
        lock::take(&self.lock, self.owner, PATIENCE).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => SessionError::Busy { path: self.lock.clone() },
            _ => SessionError::Lock { path: self.lock.clone(), source },
        })
    }

    /// Reads it for the key with this fingerprint, or for whichever key it is of.
    ///
    /// It is opened once and judged by its descriptor: swapping it in between changes nothing.
    pub(super) fn read(&self, key: Option<&str>) -> Result<Stored, SessionError> {
        let unreadable = |source| SessionError::Unreadable { path: self.path.clone(), source };
        let (mut file, facts) = match files::open(&self.path, Links::Refuse) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Absent),
            Err(error) if files::is_symlink_refusal(&error) => return Ok(Stored::Disbelieved(Disbelief::Symlink)),
            Err(error) => return Err(unreadable(error)),
        };
        let owners: Vec<Uid> = [Uid::ROOT, effective_uid()].into_iter().chain(self.owner.map(|(uid, _)| uid)).collect();
        if let Err(reason) = admit(&facts, &owners) {
            return Ok(Stored::Disbelieved(reason));
        }
        let Some(text) = files::read_at_most(&mut file, LARGEST_FILE).map_err(unreadable)? else {
            return Ok(Stored::Disbelieved(Disbelief::TooLarge));
        };
        Ok(match session_text::parse(&text, key) {
            Ok((key, sessions)) => Stored::Believed(key, sessions),
            Err(reason) => Stored::Disbelieved(reason),
        })
    }

    /// Replaces it, atomically and durably, mode 0600.
    pub(super) fn write(&self, key: &str, sessions: &Sessions) -> Result<(), SessionError> {
        session_text::render(key, sessions)
            .map_err(io::Error::from)
            .and_then(|text| files::replace(&self.path, &text, 0o600, self.owner))
            .map_err(|source| SessionError::Unwritable { path: self.path.clone(), source })
    }
}

/// Whether a file of these facts may be believed: as the key file is judged.
fn admit(facts: &Facts, allowed_owners: &[Uid]) -> Result<(), Disbelief> {
    match facts {
        Facts { kind, .. } if *kind != Kind::Regular => Err(Disbelief::NotRegular(*kind)),
        Facts { links, .. } if *links > 1 => Err(Disbelief::HardLinks(*links)),
        Facts { owner, .. } if !allowed_owners.contains(owner) => Err(Disbelief::WrongOwner(*owner)),
        Facts { mode, .. } if mode & 0o077 != 0 => Err(Disbelief::OpenToOthers(*mode)),
        _ => Ok(()),
    }
}
