//! The sessions of the key in force: a copy in memory that answers, a file that outlives the process, and what holds the two together.

use std::path::Path;
use std::time::SystemTime;

use super::phc::Phc;
use super::session_file::{Disbelief, SessionError, SessionFile, Stored};
use super::sessions::{Digest, Guest, Lifetimes, Session, Sessions, Slide};
use crate::os::users::{Gid, Uid};
use crate::secret::Secret;

/// The sessions of one key: a file, and a copy of it in memory that answers for every request.
///
/// What is asked of the copy costs nothing; what changes the file waits for the disk (and, if another process is changing it, for
/// that one, a second at most).
#[derive(Debug)]
pub(crate) struct SessionStore {
    file: SessionFile,
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
            file: SessionFile::new(state_directory, owner),
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
        self.file.path()
    }

    /// The copy in memory.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Why the file counted as one without sessions when it was read last, if it did.
    pub(crate) fn disbelief(&self) -> Option<&Disbelief> {
        self.told.as_ref()
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

    /// Ends all; how many there were.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub(crate) fn end_every(&mut self, now: SystemTime) -> Result<usize, SessionError> {
        let ended = self.change(now, Sessions::end_all);
        if ended.is_err() {
            self.owed.extend(self.sessions.iter().map(|session| session.digest));
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
        let _held = self.file.lock()?;
        let (key, before) = match self.file.read(self.key.as_deref())? {
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
                self.file.write(&key, &sessions)?;
                self.told = None;
            }
            None if sessions != Sessions::default() => return Err(SessionError::NoKey),
            _ => {}
        }
        self.owed.clear();
        self.adopt(sessions);
        Ok(done)
    }

    /// Takes the file as it is into memory.
    fn load(&mut self, now: SystemTime) -> Result<(), SessionError> {
        let (mut sessions, reason) = match self.file.read(self.key.as_deref())? {
            Stored::Believed(_, sessions) => (sessions, None),
            Stored::Absent => (Sessions::default(), None),
            Stored::Disbelieved(reason) => (Sessions::default(), Some(reason)),
        };
        match reason {
            Some(reason) => self.tell(reason),
            None => self.told = None,
        }
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

    fn tell(&mut self, reason: Disbelief) {
        if self.told.as_ref() != Some(&reason) {
            tracing::warn!(
                "no session is taken from {}: {reason}; browsers have to sign in again",
                self.file.path().display()
            );
            self.told = Some(reason);
        }
    }
}

#[cfg(test)]
#[path = "session_store_tests.rs"]
mod tests;
