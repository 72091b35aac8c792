//! Sessions: opened for who has the key, ended by sign-out, by time, by another key, or by a person at the command line.

use std::net::IpAddr;
use std::time::SystemTime;

use super::Supervisor;
use super::event::Question;
use super::watch::Watch;
use crate::credential::phc::Phc;
use crate::credential::session_store::SessionStore;
use crate::credential::sessions::{Digest, Guest, Lifetimes, Slide};
use crate::secret::Secret;
use crate::wire::message::{Login, Opening, SessionFacts, ToGateway, Verdict};

/// Ends in one message: a packet holds far more.
const ENDS_AT_ONCE: usize = 256;

impl Supervisor {
    /// A guest signs in: argon2 first, whatever the gateway may have remembered.
    pub(super) fn log_in(&mut self, ticket: u64, key: Secret<Vec<u8>>, login: Login) {
        let generation = self.gateway.generation();
        let question = Question::Login { ticket, login, epoch: self.key_epoch };
        if let Some((verdict, question)) = self.answers.ask(self.key.as_ref(), key, generation, question) {
            self.answer(generation, question, verdict);
        }
    }

    /// The key of a login was judged.
    pub(super) fn opening(&mut self, verdict: Verdict, login: Login) -> Opening {
        match verdict {
            Verdict::Right => self.open_session(login),
            Verdict::Wrong => Opening::WrongKey,
            Verdict::Busy => Opening::Busy,
        }
    }

    fn open_session(&mut self, login: Login) -> Opening {
        let guest = Guest { remember: login.remember, peer: login.peer, agent: login.agent };
        let Some(store) = &mut self.sessions else { return Opening::Failed };
        match store.open_session(&guest, SystemTime::now()) {
            Ok((id, session)) => {
                tracing::info!(session = session.name(), peer = %session.peer, "signed in");
                Opening::Opened { id, facts: SessionFacts { remember: session.remember, ends: session.ends } }
            }
            Err(error) => {
                tracing::error!("nobody can sign in: {error}");
                Opening::Failed
            }
        }
    }

    /// Does a session live? One that is asked about is in use, which slides its end.
    pub(super) fn judge_session(&mut self, ticket: u64, digest: &Digest) {
        let now = SystemTime::now();
        let facts = self.sessions.as_mut().and_then(|store| {
            if store.slide(digest, now) == Slide::Gone {
                return None;
            }
            store.find(digest, now).map(|session| SessionFacts { remember: session.remember, ends: session.ends })
        });
        self.gateway.tell(ToGateway::SessionJudged { ticket, facts });
        self.tell_ended();
    }

    /// A guest signed out.
    pub(super) fn end_session(&mut self, digest: &Digest) {
        if let Some(store) = &mut self.sessions
            && let Err(error) = store.end(digest, SystemTime::now())
        {
            tracing::error!("a session has ended in memory only: {error}");
        }
        self.tell_ended();
    }

    /// A guest signs everybody out.
    pub(super) fn end_every_session(&mut self, peer: IpAddr) {
        if let Some(store) = &mut self.sessions {
            match store.end_every(SystemTime::now()) {
                Ok(count) => tracing::warn!(%peer, count, "a guest has ended all sessions"),
                Err(error) => tracing::error!(%peer, "all sessions have ended in memory only: {error}"),
            }
        }
        self.tell_ended();
    }

    /// The file is another one: a person at the command line has ended some.
    pub(super) fn reread_sessions(&mut self) {
        if let Some(store) = &mut self.sessions
            && let Err(error) = store.reload(SystemTime::now()).map(|ended| self.unsaid.extend(ended))
        {
            tracing::error!("{error}; the sessions stay as they were");
        }
        self.tell_ended();
    }

    /// What time has ended, once in a while; a change that could not be written is tried again with it.
    pub(super) fn expire_sessions(&mut self) {
        if let Some(store) = &mut self.sessions
            && let Err(error) = store.expire(SystemTime::now())
        {
            tracing::error!("{error}");
        }
        self.tell_ended();
    }

    /// Another key, or the first one.
    pub(super) fn rekey_sessions(&mut self, key: &Phc) {
        match &mut self.sessions {
            Some(store) => {
                if let Err(error) = store.rekey(key, SystemTime::now()) {
                    tracing::error!("the sessions of the old key have ended in memory only: {error}");
                }
            }
            None => self.sessions = open(self, key),
        }
        self.session_file = watch(self.sessions.as_ref());
        self.tell_ended();
    }

    /// Tells the gateway what has ended since the last time.
    fn tell_ended(&mut self) {
        if let Some(store) = &mut self.sessions {
            self.unsaid.extend(store.take_ended());
        }
        for some in std::mem::take(&mut self.unsaid).chunks(ENDS_AT_ONCE) {
            self.gateway.tell(ToGateway::SessionsEnded(some.to_vec()));
        }
    }
}

fn open(supervisor: &Supervisor, key: &Phc) -> Option<SessionStore> {
    let config = &supervisor.orders.config;
    open_store(&config.state.directory, key, Lifetimes::of(&config.auth))
}

/// The sessions on the disk. Without them nobody can sign in by browser; everything else goes on.
pub(super) fn open_store(state: &std::path::Path, key: &Phc, lifetimes: Lifetimes) -> Option<SessionStore> {
    match SessionStore::open(state, key, None, lifetimes, SystemTime::now()) {
        Ok(store) => Some(store),
        Err(error) => {
            tracing::error!("nobody can sign in by browser: {error}");
            None
        }
    }
}

/// The file of the sessions, to be looked at for changes by others.
pub(super) fn watch(store: Option<&SessionStore>) -> Watch {
    Watch::new(store.map(SessionStore::path))
}
