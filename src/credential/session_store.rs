//! The sessions on disk: read once and safely, changed under a lock by the guard and by the command line, written whole.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::phc::Phc;
use super::session_file::{self, Disbelief};
use super::sessions::{Digest, Guest, Lifetimes, Session, Sessions, Slide};
use crate::os::files::{self, Links};
use crate::os::lock::{self, Lock};
use crate::os::users::{Gid, Uid, effective_uid};
use crate::secret::Secret;

const FILE: &str = "sessions.json";
const LOCK: &str = "sessions.lock";
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
enum Stored {
    /// There is none.
    Absent,
    /// There is one, and it counts as none.
    Disbelieved(Disbelief),
    /// The fingerprint of the key, and its sessions.
    Believed(String, Sessions),
}

/// The sessions of one key: a file, and a copy of it in memory that answers for every request.
///
/// What is asked of the copy costs nothing; what changes the file waits for the disk (and, if another process is changing it, for
/// that one, a second at most).
#[derive(Debug)]
pub(crate) struct SessionStore {
    path: PathBuf,
    lock: PathBuf,
    owner: Option<(Uid, Gid)>,
    /// The fingerprint of the key in force; none: of whichever key the file is.
    key: Option<String>,
    lifetimes: Lifetimes,
    sessions: Sessions,
    /// Gone from the copy since [`Self::take_ended`] was called last.
    ended: Vec<Digest>,
    /// Ended in the copy while the file could not be written: to be taken out of it with the next write.
    owed: Vec<Digest>,
    /// What was said about the file last.
    told: Option<Disbelief>,
}

impl SessionStore {
    /// The sessions that this key opened, as they are in the state directory. A file that is not believed, or is another key's,
    /// counts as none, is said once in the log, and is overwritten with the next change.
    ///
    /// `owner` is whose the files shall be where root runs this; none: the caller's.
    ///
    /// # Errors
    /// [`SessionError::Unreadable`], when the file is there and the system does not give it out.
    pub(crate) fn open(
        state_directory: &Path,
        key: &Phc,
        owner: Option<(Uid, Gid)>,
        lifetimes: Lifetimes,
        now: SystemTime,
    ) -> Result<Self, SessionError> {
        Self::open_of(Some(key.fingerprint()), state_directory, owner, lifetimes, now)
    }

    /// The sessions in the state directory, whichever key opened them: for a person who looks at them or ends some, and need not
    /// know with which key the guard was started.
    pub(crate) fn open_of_any_key(
        state_directory: &Path,
        owner: Option<(Uid, Gid)>,
        lifetimes: Lifetimes,
        now: SystemTime,
    ) -> Result<Self, SessionError> {
        Self::open_of(None, state_directory, owner, lifetimes, now)
    }

    fn open_of(
        key: Option<String>,
        state_directory: &Path,
        owner: Option<(Uid, Gid)>,
        lifetimes: Lifetimes,
        now: SystemTime,
    ) -> Result<Self, SessionError> {
        let mut store = Self {
            path: state_directory.join(FILE),
            lock: state_directory.join(LOCK),
            owner,
            key,
            lifetimes,
            sessions: Sessions::default(),
            ended: Vec::new(),
            owed: Vec::new(),
            told: None,
        };
        store.load(now)?;
        Ok(store)
    }

    /// The file, to be watched: when it is another one, [`Self::reload`].
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The copy in memory.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// The configuration was read again.
    pub(crate) fn set_lifetimes(&mut self, lifetimes: Lifetimes) {
        self.lifetimes = lifetimes;
    }

    /// The session with this digest, by the copy in memory.
    pub(crate) fn find(&mut self, digest: &Digest, now: SystemTime) -> Option<&Session> {
        self.sessions.find(digest, now, self.lifetimes)
    }

    /// Opens a session for a guest who presented the key; the id for the cookie, and what is kept of it.
    ///
    /// # Errors
    /// When it cannot be written down there is no session: it would be gone with this process, and nobody could end it.
    pub(crate) fn open_session(
        &mut self,
        guest: &Guest,
        now: SystemTime,
    ) -> Result<(Secret<[u8; 32]>, Session), SessionError> {
        let mut random = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(random.as_mut_slice()).map_err(|error| SessionError::Random(error.to_string()))?;
        let id = Secret::new(*random);
        let lifetimes = self.lifetimes;
        let session = self.change(now, |sessions| sessions.open(&id, guest, now, lifetimes))?;
        Ok((id, session))
    }

    /// Notes that a session was used. The disk is written at most once in ten minutes for one session; when it cannot be,
    /// the session goes on in memory.
    pub(crate) fn slide(&mut self, digest: &Digest, now: SystemTime) -> Slide {
        let lifetimes = self.lifetimes;
        match self.sessions.slide(digest, now, lifetimes) {
            Slide::Noted => {}
            other => return other,
        }
        match self.change(now, |stored| stored.slide(digest, now, lifetimes)) {
            Ok(Slide::Gone) => Slide::Gone,
            Ok(_) => Slide::Noted,
            Err(error) => {
                tracing::warn!("{error}; sessions in use go on, and may end early if the guard is restarted");
                Slide::Noted
            }
        }
    }

    /// Ends a session; whether it was there.
    ///
    /// # Errors
    /// When that cannot be written, the session has ended for this process all the same, and is taken out of the file by the next
    /// change that can be: try again with [`Self::expire`].
    pub(crate) fn end(&mut self, digest: &Digest, now: SystemTime) -> Result<bool, SessionError> {
        let ended = self.change(now, |sessions| sessions.end(digest));
        if ended.is_err() && self.sessions.contains(digest) {
            self.owed.push(*digest);
            self.settle_copy(now);
        }
        ended
    }

    /// Drops what has ended by now, bounds the rest, and writes what earlier could not be written. To be called at the start and
    /// every minute; writes only when something changed.
    ///
    /// # Errors
    /// In memory they have ended all the same.
    pub(crate) fn expire(&mut self, now: SystemTime) -> Result<(), SessionError> {
        let done = self.change(now, |_| ());
        if done.is_err() {
            self.settle_copy(now);
        }
        done
    }

    /// Another key is in force: every session of the old one ends, in memory in any case.
    pub(crate) fn rekey(&mut self, key: &Phc, now: SystemTime) -> Result<(), SessionError> {
        let fingerprint = key.fingerprint();
        if self.key.as_ref() == Some(&fingerprint) {
            return Ok(());
        }
        self.key = Some(fingerprint);
        self.adopt(Sessions::default());
        self.owed.clear();
        self.change(now, |_| ())
    }

    /// Reads the file again; the sessions that have ended since the last call, by whatever way.
    ///
    /// # Errors
    /// The copy in memory stays as it was.
    pub(crate) fn reload(&mut self, now: SystemTime) -> Result<Vec<Digest>, SessionError> {
        self.load(now)?;
        Ok(self.take_ended())
    }

    /// The sessions that have ended since the last call: ended by a person, by time, by too many others, or with their key.
    pub(crate) fn take_ended(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.ended)
    }

    /// Reads, changes and writes the file, with every other process kept out, and takes the outcome into memory.
    ///
    /// # Errors
    /// Neither the file nor the copy in memory was changed.
    pub(crate) fn change<T>(
        &mut self,
        now: SystemTime,
        change: impl FnOnce(&mut Sessions) -> T,
    ) -> Result<T, SessionError> {
        let _held = self.take_lock()?;
        let (key, before) = match self.read()? {
            Stored::Believed(key, sessions) => (Some(key), Some(sessions)),
            Stored::Absent => (self.key.clone(), Some(Sessions::default())),
            Stored::Disbelieved(reason) => {
                self.tell(reason);
                (self.key.clone(), None)
            }
        };
        let mut sessions = before.clone().unwrap_or_default();
        self.settle(&mut sessions, now);
        let done = change(&mut sessions);
        match key {
            Some(key) if before.as_ref() != Some(&sessions) => {
                self.write(&key, &sessions)?;
                self.told = None;
            }
            None if sessions != Sessions::default() => return Err(SessionError::NoKey),
            _ => {}
        }
        self.owed.clear();
        self.adopt(sessions);
        Ok(done)
    }

    fn take_lock(&self) -> Result<Lock, SessionError> {
        lock::take(&self.lock, self.owner, PATIENCE).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => SessionError::Busy { path: self.lock.clone() },
            _ => SessionError::Lock { path: self.lock.clone(), source },
        })
    }

    /// Takes the file as it is into memory. Needs no lock: the file is replaced whole.
    fn load(&mut self, now: SystemTime) -> Result<(), SessionError> {
        let mut sessions = match self.read()? {
            Stored::Believed(_, sessions) => {
                self.told = None;
                sessions
            }
            Stored::Absent => Sessions::default(),
            Stored::Disbelieved(reason) => {
                self.tell(reason);
                Sessions::default()
            }
        };
        self.settle(&mut sessions, now);
        self.adopt(sessions);
        Ok(())
    }

    fn settle(&self, sessions: &mut Sessions, now: SystemTime) {
        sessions.expire(now, self.lifetimes);
        for digest in &self.owed {
            sessions.end(digest);
        }
    }

    fn settle_copy(&mut self, now: SystemTime) {
        let mut sessions = self.sessions.clone();
        self.settle(&mut sessions, now);
        self.adopt(sessions);
    }

    fn adopt(&mut self, sessions: Sessions) {
        let gone = self.sessions.iter().map(|session| session.digest).filter(|digest| !sessions.contains(digest));
        self.ended.extend(gone);
        self.sessions = sessions;
    }

    /// The file is opened once and judged by its descriptor: swapping it in between changes nothing.
    fn read(&self) -> Result<Stored, SessionError> {
        let unreadable = |source| SessionError::Unreadable { path: self.path.clone(), source };
        let (mut file, facts) = match files::open(&self.path, Links::Refuse) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::Absent),
            Err(error) if files::is_symlink_refusal(&error) => return Ok(Stored::Disbelieved(Disbelief::Symlink)),
            Err(error) => return Err(unreadable(error)),
        };
        let owners: Vec<Uid> = [Uid::ROOT, effective_uid()].into_iter().chain(self.owner.map(|(uid, _)| uid)).collect();
        if let Err(reason) = session_file::admit(&facts, &owners) {
            return Ok(Stored::Disbelieved(reason));
        }
        let Some(text) = files::read_at_most(&mut file, LARGEST_FILE).map_err(unreadable)? else {
            return Ok(Stored::Disbelieved(Disbelief::TooLarge));
        };
        Ok(match session_file::parse(&text, self.key.as_deref()) {
            Ok((key, sessions)) => Stored::Believed(key, sessions),
            Err(reason) => Stored::Disbelieved(reason),
        })
    }

    fn write(&self, key: &str, sessions: &Sessions) -> Result<(), SessionError> {
        session_file::render(key, sessions)
            .map_err(io::Error::from)
            .and_then(|text| files::replace(&self.path, &text, 0o600, self.owner))
            .map_err(|source| SessionError::Unwritable { path: self.path.clone(), source })
    }

    fn tell(&mut self, reason: Disbelief) {
        if self.told.as_ref() != Some(&reason) {
            tracing::warn!(
                "no session is taken from {}: {reason}; browsers have to sign in again",
                self.path.display()
            );
            self.told = Some(reason);
        }
    }
}

#[cfg(test)]
#[path = "session_store_tests.rs"]
mod tests;
