//! Sessions as the gateway knows them: asked for by digest, remembered for a minute, forgotten when they end.
//!
//! The supervisor has the list; this memory only saves the question on each of a page's 470 requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::Instant;

use super::asking::{Asked, Asking, Digest, answer_of};
use crate::secret::Secret;
use crate::wire::message::{FromGateway, Login, Opening, SessionFacts};

/// How long an answer is believed. The supervisor hears of a session at least this often, and slides its end.
const FRESH: Duration = Duration::from_secs(60);
/// Sessions that are remembered; more than the supervisor keeps.
const KEPT: usize = 256;
/// Logins on their way at once; each may cost an argon2.
const LOGINS: usize = 32;
/// Ends that a connection may be behind before it has to take itself for ended.
const ENDS: usize = 256;

/// What has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The session with this digest.
    One(Digest),
    /// Every session: the key was changed, or a guest has signed everybody out.
    All,
}

/// Asks and remembers.
pub(crate) struct Sessions {
    memory: Mutex<Memory>,
    questions: mpsc::Sender<FromGateway>,
    ended: broadcast::Sender<Ended>,
}

#[derive(Default)]
struct Memory {
    known: HashMap<Digest, (SessionFacts, Instant)>,
    asking: Asking<Option<SessionFacts>>,
    logins: HashMap<u64, oneshot::Sender<Opening>>,
    next_login: u64,
    epoch: u64,
}

impl Sessions {
    /// Knows none.
    pub(crate) fn new(questions: mpsc::Sender<FromGateway>) -> Self {
        Self { memory: Mutex::default(), questions, ended: broadcast::Sender::new(ENDS) }
    }

    /// The session with this digest, if it lives.
    pub(crate) async fn find(&self, digest: Digest) -> Option<SessionFacts> {
        let asked = {
            let mut memory = self.memory();
            if let Some(facts) = memory.fresh(&digest) {
                return Some(facts);
            }
            let epoch = memory.epoch;
            memory.asking.ask(digest, epoch)
        };
        let awaited = match asked {
            Asked::OnItsWay(awaited) => awaited,
            Asked::Send(ticket, awaited) => {
                if self.questions.try_send(FromGateway::JudgeSession { ticket, digest }).is_err() {
                    self.settle(ticket, None);
                }
                awaited
            }
            Asked::TooMany => return None,
        };
        answer_of(awaited).await.flatten().filter(|facts| facts.ends > SystemTime::now())
    }

    /// Opens one for who presents the right key.
    pub(crate) async fn open(&self, key: Secret<Vec<u8>>, login: Login) -> Opening {
        let (answer, awaited) = oneshot::channel();
        let ticket = {
            let mut memory = self.memory();
            if memory.logins.len() >= LOGINS {
                return Opening::Busy;
            }
            let ticket = memory.next_login;
            memory.next_login += 1;
            memory.logins.insert(ticket, answer);
            ticket
        };
        if self.questions.try_send(FromGateway::OpenSession { ticket, key, login }).is_err() {
            self.memory().logins.remove(&ticket);
            return Opening::Busy;
        }
        awaited.await.unwrap_or(Opening::Busy)
    }

    /// Ends one: here at once, and for good in the supervisor.
    pub(crate) async fn end(&self, digest: Digest) {
        self.note_ended(&[digest]);
        // Not dropped when the way is full: a session that a guest has ended must not be found again.
        if self.questions.send(FromGateway::EndSession { digest }).await.is_err() {
            tracing::error!("the gateway is ending: the end of a session was not told");
        }
    }

    /// Ends all: whoever is asked about from now on is asked about behind this question.
    pub(crate) async fn end_every(&self, peer: IpAddr) {
        if self.questions.send(FromGateway::EndEverySession { peer }).await.is_err() {
            tracing::error!("the gateway is ending: the end of all sessions was not told");
        }
        self.memory().known.clear();
        self.tell(Ended::All);
    }

    /// The supervisor's answer about a session.
    pub(crate) fn settle(&self, ticket: u64, facts: Option<SessionFacts>) {
        let mut memory = self.memory();
        let Some(ticket) = memory.asking.take(ticket) else { return };
        let facts = facts.filter(|_| ticket.epoch == memory.epoch);
        if let Some(facts) = facts {
            memory.remember(ticket.digest, facts);
        }
        ticket.tell(facts);
    }

    /// The supervisor's answer to a login.
    pub(crate) fn opened(&self, ticket: u64, opening: Opening) {
        if let Some(answer) = self.memory().logins.remove(&ticket)
            && answer.send(opening).is_err()
        {
            tracing::debug!("a guest left before the login was through");
        }
    }

    /// These have ended: what rests on them goes.
    pub(crate) fn note_ended(&self, digests: &[Digest]) {
        let mut memory = self.memory();
        for digest in digests {
            memory.known.remove(digest);
            self.tell(Ended::One(*digest));
        }
    }

    /// Another key is in force, which ends them all.
    pub(crate) fn forget(&self, epoch: u64) {
        let mut memory = self.memory();
        memory.epoch = epoch;
        memory.known.clear();
        self.tell(Ended::All);
    }

    /// Hears of every end from now on.
    pub(crate) fn ends(&self) -> broadcast::Receiver<Ended> {
        self.ended.subscribe()
    }

    /// Questions and logins on their way to the supervisor.
    pub(crate) fn in_flight(&self) -> usize {
        let memory = self.memory();
        memory.asking.len() + memory.logins.len()
    }

    fn tell(&self, ended: Ended) {
        // Nobody listens: nobody is connected.
        self.ended.send(ended).ok();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn fresh(&mut self, digest: &Digest) -> Option<SessionFacts> {
        let (facts, since) = self.known.get(digest)?;
        if since.elapsed() < FRESH && facts.ends > SystemTime::now() {
            return Some(*facts);
        }
        self.known.remove(digest);
        None
    }

    fn remember(&mut self, digest: Digest, facts: SessionFacts) {
        if self.known.len() >= KEPT {
            self.known.retain(|_, (_, since)| since.elapsed() < FRESH);
        }
        if self.known.len() < KEPT {
            self.known.insert(digest, (facts, Instant::now()));
        }
    }
}

/// Waits until one of these sessions has ended. Who is too far behind to know takes its own for ended.
pub(crate) async fn one_of(ends: &mut broadcast::Receiver<Ended>, mine: impl Fn(&Digest) -> bool) {
    loop {
        match ends.recv().await {
            Ok(Ended::One(digest)) if !mine(&digest) => {}
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::sync::Arc;

    fn facts() -> SessionFacts {
        SessionFacts { remember: true, ends: SystemTime::now() + Duration::from_secs(100) }
    }

    fn ticket_of(question: Option<FromGateway>) -> u64 {
        match question {
            Some(FromGateway::JudgeSession { ticket, .. }) => ticket,
            other => panic!("not a question about a session: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_session_is_asked_for_once_a_minute_and_forgotten_when_it_ends() {
        let (questions, mut asked) = mpsc::channel(8);
        let sessions = Arc::new(Sessions::new(questions));
        let mut ends = sessions.ends();
        let find = || {
            let sessions = sessions.clone();
            tokio::spawn(async move { sessions.find([7; 32]).await })
        };
        let (first, second) = (find(), find());
        sessions.settle(ticket_of(asked.recv().await), Some(facts()));
        assert!(first.await.unwrap().is_some() && second.await.unwrap().is_some());
        assert!(sessions.find([7; 32]).await.is_some());
        assert!(asked.try_recv().is_err());
        sessions.end([7; 32]).await;
        assert!(matches!(asked.recv().await, Some(FromGateway::EndSession { .. })));
        one_of(&mut ends, |digest| *digest == [7; 32]).await;
        let third = find();
        sessions.settle(ticket_of(asked.recv().await), None);
        assert!(third.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_answer_from_before_a_change_of_the_key_opens_nothing() {
        let (questions, mut asked) = mpsc::channel(8);
        let sessions = Arc::new(Sessions::new(questions));
        let guest = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.find([1; 32]).await }
        });
        let ticket = ticket_of(asked.recv().await);
        sessions.forget(1);
        sessions.settle(ticket, Some(facts()));
        assert!(guest.await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_session_that_has_run_out_is_none() {
        let (questions, mut asked) = mpsc::channel(8);
        let sessions = Arc::new(Sessions::new(questions));
        let guest = tokio::spawn({
            let sessions = sessions.clone();
            async move { sessions.find([1; 32]).await }
        });
        let over = SessionFacts { remember: false, ends: SystemTime::now() - Duration::from_secs(1) };
        sessions.settle(ticket_of(asked.recv().await), Some(over));
        assert!(guest.await.unwrap().is_none());
    }
}
