//! Is this the key? Remembered under a keyed digest, so that argon2 runs once per key and process, not once per request.
//!
//! Whoever asks while the same question is on its way waits for that answer. What was answered under an older key counts
//! for nothing.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::asking::{Asked, Asking, Awaited, Digest, answer_of};
use crate::secret::Secret;
use crate::wire::message::{FromGateway, Verdict};

/// Wrong keys that are remembered: a client with an old key asks again and again, and must not cost an argon2 each time.
const WRONG_KEPT: usize = 1024;

/// Asks and remembers.
pub(crate) struct Judge {
    keyed: Hmac<Sha256>,
    memory: Mutex<Memory>,
    questions: mpsc::Sender<FromGateway>,
}

#[derive(Default)]
struct Memory {
    epoch: u64,
    right: Option<Digest>,
    wrong: VecDeque<Digest>,
    asking: Asking<Verdict>,
}

/// What the memory says at once.
enum Known {
    Answer(Verdict),
    OnItsWay(Awaited<Verdict>),
    Ask(u64, Awaited<Verdict>),
}

impl Judge {
    /// With a digest key of its own: digests mean nothing outside this process.
    pub(crate) fn new(questions: mpsc::Sender<FromGateway>) -> io::Result<Self> {
        let mut digest_key = Zeroizing::new([0; 32]);
        getrandom::fill(digest_key.as_mut()).map_err(io::Error::from)?;
        let keyed = Hmac::new_from_slice(digest_key.as_ref()).map_err(io::Error::other)?;
        Ok(Self { keyed, memory: Mutex::default(), questions })
    }

    /// The verdict on a key that a guest presented.
    pub(crate) async fn judge(&self, key: &Secret<Vec<u8>>) -> Verdict {
        let digest = self.digest(key);
        let known = self.memory().look_up(&digest);
        let awaited = match known {
            Known::Answer(verdict) => return verdict,
            Known::OnItsWay(awaited) => awaited,
            Known::Ask(ticket, awaited) => {
                let question = FromGateway::Judge { ticket, key: key.clone() };
                if self.questions.try_send(question).is_err() {
                    self.settle(ticket, Verdict::Busy);
                }
                awaited
            }
        };
        answer_of(awaited).await.unwrap_or(Verdict::Busy)
    }

    /// The supervisor's answer.
    pub(crate) fn settle(&self, ticket: u64, verdict: Verdict) {
        self.memory().settle(ticket, verdict);
    }

    /// There is another key now.
    pub(crate) fn forget(&self, epoch: u64) {
        let mut memory = self.memory();
        memory.epoch = epoch;
        memory.right = None;
        memory.wrong.clear();
    }

    /// Questions on their way to the supervisor.
    pub(crate) fn in_flight(&self) -> usize {
        self.memory().asking.len()
    }

    fn digest(&self, key: &Secret<Vec<u8>>) -> Digest {
        let mut mac = self.keyed.clone();
        mac.update(key.expose());
        mac.finalize().into_bytes().into()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn look_up(&mut self, digest: &Digest) -> Known {
        if self.right.is_some_and(|right| right.ct_eq(digest).into()) {
            return Known::Answer(Verdict::Right);
        }
        if self.wrong.contains(digest) {
            return Known::Answer(Verdict::Wrong);
        }
        match self.asking.ask(*digest, self.epoch) {
            Asked::OnItsWay(awaited) => Known::OnItsWay(awaited),
            Asked::Send(ticket, awaited) => Known::Ask(ticket, awaited),
            Asked::TooMany => Known::Answer(Verdict::Busy),
        }
    }

    fn settle(&mut self, ticket: u64, verdict: Verdict) {
        let Some(ticket) = self.asking.take(ticket) else { return };
        // An answer about a key that is no longer in force is none: the guest is asked to come again.
        let verdict = if ticket.epoch == self.epoch { verdict } else { Verdict::Busy };
        match verdict {
            Verdict::Right => self.right = Some(ticket.digest),
            Verdict::Wrong => {
                if self.wrong.len() >= WRONG_KEPT {
                    self.wrong.pop_front();
                }
                self.wrong.push_back(ticket.digest);
            }
            Verdict::Busy => {}
        }
        ticket.tell(verdict);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;

    fn key(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    fn ticket_of(asked: Option<FromGateway>) -> u64 {
        match asked {
            Some(FromGateway::Judge { ticket, .. }) => ticket,
            other => panic!("no question: {other:?}"),
        }
    }

    #[tokio::test]
    async fn many_who_present_the_same_key_cost_one_question() {
        let (questions, mut asked) = mpsc::channel(8);
        let judge = Arc::new(Judge::new(questions).unwrap());
        let guests: Vec<_> = (0..50)
            .map(|_| {
                let judge = judge.clone();
                tokio::spawn(async move { judge.judge(&key("right")).await })
            })
            .collect();
        let question = ticket_of(asked.recv().await);
        tokio::task::yield_now().await;
        judge.settle(question, Verdict::Right);
        for guest in guests {
            assert_eq!(guest.await.unwrap(), Verdict::Right);
        }
        assert_eq!(judge.judge(&key("right")).await, Verdict::Right);
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_verdict_on_the_old_key_is_none() {
        let (questions, mut asked) = mpsc::channel(8);
        let judge = Arc::new(Judge::new(questions).unwrap());
        let guest = tokio::spawn({
            let judge = judge.clone();
            async move { judge.judge(&key("old")).await }
        });
        let question = ticket_of(asked.recv().await);
        judge.forget(1);
        judge.settle(question, Verdict::Right);
        assert_eq!(guest.await.unwrap(), Verdict::Busy);
        let again = tokio::spawn({
            let judge = judge.clone();
            async move { judge.judge(&key("old")).await }
        });
        judge.settle(ticket_of(asked.recv().await), Verdict::Wrong);
        assert_eq!(again.await.unwrap(), Verdict::Wrong);
    }

    #[test]
    fn a_forgotten_key_has_to_be_asked_for_again() {
        let mut memory = Memory::default();
        let Known::Ask(ticket, _) = memory.look_up(&[1; 32]) else { unreachable!() };
        memory.settle(ticket, Verdict::Right);
        assert!(matches!(memory.look_up(&[1; 32]), Known::Answer(Verdict::Right)));
        memory.right = None;
        assert!(matches!(memory.look_up(&[1; 32]), Known::Ask(..)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Memory::default();
        for n in 0..10_000u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&n.to_be_bytes());
            match memory.look_up(&digest) {
                Known::Ask(ticket, _) if n % 2 == 0 => memory.settle(ticket, Verdict::Wrong),
                Known::Ask(..) | Known::Answer(Verdict::Busy) => {}
                _ => unreachable!(),
            }
        }
        assert!(memory.wrong.len() <= WRONG_KEPT && memory.asking.len() <= 128);
    }
}
