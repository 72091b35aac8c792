//! Sessions of browsers that signed in: a bounded list, and what opens, prolongs and ends one of them. Pure: the time comes in.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use crate::config::Auth;
use crate::secret::Secret;

/// SHA-256 of a session's id: all that is kept of it. Who reads a digest cannot make a cookie of it.
pub(crate) type Digest = [u8; 32];

/// Sessions of one key. More browsers than a team has; one who signs in without end pushes out the least recently seen.
pub(crate) const LIMIT: usize = 64;

/// Hex digits of the name by which a person speaks of a session.
const NAME_DIGITS: usize = 12;

/// How exact "last seen" is: each change is written to the disk, and a page is hundreds of requests.
const SIGHT: Duration = Duration::from_secs(600);

/// Characters kept of a User-Agent. The common ones have 110.
const AGENT_LIMIT: usize = 160;

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    /// With "remember me": after the last time that it was seen.
    pub(crate) remembered: Duration,
    /// Without: after it was opened, however much it is used.
    pub(crate) browser: Duration,
}

impl Lifetimes {
    /// As configured.
    pub(crate) const fn of(auth: &Auth) -> Self {
        Self { remembered: auth.session_lifetime.0, browser: auth.browser_session_lifetime.0 }
    }

    const fn of_kind(self, remember: bool) -> Duration {
        if remember { self.remembered } else { self.browser }
    }
}

/// Who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Whether "remember me" was ticked.
    pub(crate) remember: bool,
    /// Where from.
    pub(crate) peer: IpAddr,
    /// The User-Agent as sent; only what is printable of it is kept.
    pub(crate) agent: String,
}

/// One browser's session. All times are whole seconds, so that a session read back from its file is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// SHA-256 of its id.
    pub(crate) digest: Digest,
    /// Whether it outlives the browser, and slides.
    pub(crate) remember: bool,
    /// When the key was presented.
    pub(crate) opened: SystemTime,
    /// When it was used last, to within ten minutes.
    pub(crate) seen: SystemTime,
    /// From when on it is no session any more.
    pub(crate) ends: SystemTime,
    /// Where it was opened from.
    pub(crate) peer: IpAddr,
    /// The browser that opened it, in printable ASCII.
    pub(crate) agent: String,
}

impl Session {
    /// Its public name: the first 12 hex digits of the digest.
    pub(crate) fn name(&self) -> String {
        hex(&self.digest).chars().take(NAME_DIGITS).collect()
    }

    /// Bounds what the clock of another day wrote: nothing happened in the future, and no session ends later than one that was
    /// used (remembered) or opened (not remembered) at that time. A shortened lifetime takes effect in the same way.
    fn settle(&mut self, now: SystemTime, lifetimes: Lifetimes) {
        self.opened = self.opened.min(now);
        self.seen = self.seen.max(self.opened).min(now);
        let since = if self.remember { self.seen } else { self.opened };
        self.ends = self.ends.min(later(since, lifetimes.of_kind(self.remember)));
    }
}

/// What a use of a session came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slide {
    /// There is no such session (any more).
    Gone,
    /// It was seen a moment ago; nothing changed.
    Fresh,
    /// It was noted as seen. A remembered one has a new end, so its cookie needs one too.
    Noted,
}

/// Why a name means no session.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NameError {
    /// Not 12 hex digits.
    #[error("\"{0}\" is not a session's ID; it has 12 hexadecimal digits: `comfy-guard sessions list` shows it")]
    Malformed(String),
    /// No session begins with them.
    #[error("there is no session {0} (any more); `comfy-guard sessions list` shows those that there are")]
    Unknown(String),
    /// More than one does.
    #[error("more than one session is called {0}; `comfy-guard sessions end-all` ends them with all others")]
    Ambiguous(String),
}

/// The sessions of one key, in the order in which they were opened. Never more than [`LIMIT`], no digest twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    list: Vec<Session>,
}

impl Sessions {
    /// Takes what a file holds: none, if a digest stands there twice. What is over [`LIMIT`] makes room.
    pub(crate) fn restore(list: Vec<Session>) -> Option<Self> {
        let mut digests: Vec<Digest> = list.iter().map(|session| session.digest).collect();
        digests.sort_unstable();
        digests.dedup();
        let unique = digests.len() == list.len();
        let mut sessions = Self { list };
        sessions.make_room(LIMIT);
        unique.then_some(sessions)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.list.iter()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether a session with this digest is in the list, ended by time or not.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.list.iter().any(|session| session.digest == *digest)
    }

    /// Opens a session for a guest who presented the key. When there are too many, the least recently seen one ends.
    pub(crate) fn open(
        &mut self,
        id: &Secret<[u8; 32]>,
        guest: &Guest,
        now: SystemTime,
        lifetimes: Lifetimes,
    ) -> Session {
        let now = whole_seconds(now);
        self.expire(now, lifetimes);
        self.make_room(LIMIT.saturating_sub(1));
        let session = Session {
            digest: digest(id),
            remember: guest.remember,
            opened: now,
            seen: now,
            ends: later(now, lifetimes.of_kind(guest.remember)),
            peer: guest.peer.to_canonical(),
            agent: printable(&guest.agent),
        };
        self.end(&session.digest);
        self.list.push(session.clone());
        session
    }

    /// The session with this digest, if it has not ended by now.
    ///
    /// The bounds found at this look stay in the list: else one from a clock that was years ahead would be young at every look.
    pub(crate) fn find(&mut self, digest: &Digest, now: SystemTime, lifetimes: Lifetimes) -> Option<&Session> {
        self.look(digest, now, lifetimes).map(|session| &*session)
    }

    /// Notes that a session was used. A remembered one then ends a whole lifetime from now.
    pub(crate) fn slide(&mut self, digest: &Digest, now: SystemTime, lifetimes: Lifetimes) -> Slide {
        let now = whole_seconds(now);
        let Some(session) = self.look(digest, now, lifetimes) else { return Slide::Gone };
        let lifetime = lifetimes.of_kind(session.remember);
        // With a lifetime of minutes, a session in use would end before ten of them had passed.
        if now.duration_since(session.seen).unwrap_or_default() < SIGHT.min(lifetime / 10) {
            return Slide::Fresh;
        }
        session.seen = now;
        if session.remember {
            session.ends = later(now, lifetime);
        }
        Slide::Noted
    }

    /// Ends one; whether it was there.
    pub(crate) fn end(&mut self, digest: &Digest) -> bool {
        let before = self.list.len();
        self.list.retain(|session| session.digest != *digest);
        self.list.len() < before
    }

    /// Ends the one that a person named.
    pub(crate) fn end_named(&mut self, name: &str) -> Result<Session, NameError> {
        if name.len() != NAME_DIGITS || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NameError::Malformed(printable(name)));
        }
        let name = name.to_ascii_lowercase();
        let mut named = self.list.iter().filter(|session| session.name() == name);
        let Some(session) = named.next().cloned() else { return Err(NameError::Unknown(name)) };
        if named.next().is_some() {
            return Err(NameError::Ambiguous(name));
        }
        self.end(&session.digest);
        Ok(session)
    }

    /// Ends all; how many there were.
    pub(crate) fn end_all(&mut self) -> usize {
        std::mem::take(&mut self.list).len()
    }

    /// Bounds every session by this moment and drops those that have ended.
    pub(crate) fn expire(&mut self, now: SystemTime, lifetimes: Lifetimes) {
        let now = whole_seconds(now);
        for session in &mut self.list {
            session.settle(now, lifetimes);
        }
        self.list.retain(|session| session.ends > now);
    }

    fn look(&mut self, digest: &Digest, now: SystemTime, lifetimes: Lifetimes) -> Option<&mut Session> {
        let now = whole_seconds(now);
        let session = self.list.iter_mut().find(|session| session.digest == *digest)?;
        session.settle(now, lifetimes);
        (session.ends > now).then_some(session)
    }

    /// Leaves at most this many: the least recently seen go first.
    fn make_room(&mut self, most: usize) {
        while self.list.len() > most {
            let oldest = self.list.iter().enumerate().min_by_key(|(_, session)| session.seen).map(|(index, _)| index);
            let Some(index) = oldest else { return };
            self.list.remove(index);
        }
    }
}

/// What is kept of an id.
pub(crate) fn digest(id: &Secret<[u8; 32]>) -> Digest {
    Sha256::digest(id.expose()).into()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The time without its fraction of a second; a time before 1970 is 1970.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A guest chooses these bytes and an administrator's terminal shows them: printable ASCII, and not much of it.
pub(super) fn printable(text: &str) -> String {
    let shown = |character: char| if (' '..='~').contains(&character) { character } else { '?' };
    text.chars().take(AGENT_LIMIT).map(shown).collect()
}

/// A time that cannot be reckoned with has come already.
fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(time)
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
