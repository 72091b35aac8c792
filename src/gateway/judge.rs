//! Is this the key? Remembered under a keyed digest, so that argon2 runs once per key and process, not once per request.
//!
//! Whoever asks while the same question is on its way waits for that answer. What was answered under an older key counts
//! for nothing.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::wire::message::Verdict;

/// Wrong keys that are remembered: a client with an old key asks again and again, and must not cost an argon2 each time.
const WRONG_KEPT: usize = 1024;
/// Questions on their way at once; the next is told to come again.
const ASKED_MOST: usize = 128;

type Digest = [u8; 32];
type Waiting = watch::Receiver<Option<Verdict>>;

/// A question for the supervisor.
#[derive(Debug)]
pub(crate) struct Question {
    /// Given back with the answer.
    pub(crate) ticket: u64,
    /// What was presented.
    pub(crate) key: Secret<Vec<u8>>,
}

/// Asks and remembers.
pub(crate) struct Judge {
    keyed: Hmac<Sha256>,
    memory: Mutex<Memory>,
    questions: mpsc::Sender<Question>,
}

#[derive(Default)]
struct Memory {
    epoch: u64,
    right: Option<Digest>,
    wrong: VecDeque<Digest>,
    asked: HashMap<Digest, Waiting>,
    tickets: HashMap<u64, Ticket>,
    next_ticket: u64,
}

struct Ticket {
    digest: Digest,
    epoch: u64,
    answer: watch::Sender<Option<Verdict>>,
}

/// What the memory says at once.
enum Known {
    Answer(Verdict),
    OnItsWay(Waiting),
    Ask { ticket: u64, answer: Waiting },
}

impl Judge {
    /// With a digest key of its own: digests mean nothing outside this process.
    pub(crate) fn new(questions: mpsc::Sender<Question>) -> io::Result<Self> {
        let mut digest_key = Zeroizing::new([0; 32]);
        getrandom::fill(digest_key.as_mut()).map_err(io::Error::from)?;
        let keyed = Hmac::new_from_slice(digest_key.as_ref()).map_err(io::Error::other)?;
        Ok(Self { keyed, memory: Mutex::default(), questions })
    }

    /// The verdict on a key that a guest presented.
    pub(crate) async fn judge(&self, key: &Secret<Vec<u8>>) -> Verdict {
        let digest = self.digest(key);
        let mut waiting = match self.memory().look_up(&digest) {
            Known::Answer(verdict) => return verdict,
            Known::OnItsWay(waiting) => waiting,
            Known::Ask { ticket, answer } => {
                let question = Question { ticket, key: key.clone() };
                if self.questions.try_send(question).is_err() {
                    self.settle(ticket, Verdict::Busy);
                }
                answer
            }
        };
        match waiting.wait_for(Option::is_some).await {
            Ok(verdict) => verdict.unwrap_or(Verdict::Busy),
            // The ticket went with a change of the key.
            Err(_) => Verdict::Busy,
        }
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
        if let Some(waiting) = self.asked.get(digest) {
            return Known::OnItsWay(waiting.clone());
        }
        if self.tickets.len() >= ASKED_MOST {
            return Known::Answer(Verdict::Busy);
        }
        let (answer, waiting) = watch::channel(None);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.asked.insert(*digest, waiting.clone());
        self.tickets.insert(ticket, Ticket { digest: *digest, epoch: self.epoch, answer });
        Known::Ask { ticket, answer: waiting }
    }

    fn settle(&mut self, ticket: u64, verdict: Verdict) {
        let Some(Ticket { digest, epoch, answer }) = self.tickets.remove(&ticket) else { return };
        self.asked.remove(&digest);
        // An answer about a key that is no longer in force is none: the guest is asked to come again.
        let verdict = if epoch == self.epoch { verdict } else { Verdict::Busy };
        match verdict {
            Verdict::Right => self.right = Some(digest),
            Verdict::Wrong => {
                if self.wrong.len() >= WRONG_KEPT {
                    self.wrong.pop_front();
                }
                self.wrong.push_back(digest);
            }
            Verdict::Busy => {}
        }
        answer.send_replace(Some(verdict));
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
        let question = asked.recv().await.unwrap();
        tokio::task::yield_now().await;
        judge.settle(question.ticket, Verdict::Right);
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
        let question = asked.recv().await.unwrap();
        judge.forget(1);
        judge.settle(question.ticket, Verdict::Right);
        assert_eq!(guest.await.unwrap(), Verdict::Busy);
        let again = tokio::spawn({
            let judge = judge.clone();
            async move { judge.judge(&key("old")).await }
        });
        judge.settle(asked.recv().await.unwrap().ticket, Verdict::Wrong);
        assert_eq!(again.await.unwrap(), Verdict::Wrong);
    }

    #[test]
    fn a_forgotten_key_has_to_be_asked_for_again() {
        let mut memory = Memory::default();
        let Known::Ask { ticket, .. } = memory.look_up(&[1; 32]) else { unreachable!() };
        memory.settle(ticket, Verdict::Right);
        assert!(matches!(memory.look_up(&[1; 32]), Known::Answer(Verdict::Right)));
        memory.right = None;
        assert!(matches!(memory.look_up(&[1; 32]), Known::Ask { .. }));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Memory::default();
        for n in 0..10_000u32 {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&n.to_be_bytes());
            match memory.look_up(&digest) {
                Known::Ask { ticket, .. } if n % 2 == 0 => memory.settle(ticket, Verdict::Wrong),
                Known::Ask { .. } | Known::Answer(Verdict::Busy) => {}
                _ => unreachable!(),
            }
        }
        assert!(
            memory.wrong.len() <= WRONG_KEPT && memory.tickets.len() <= ASKED_MOST && memory.asked.len() <= ASKED_MOST
        );
    }
}
