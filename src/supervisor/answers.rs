//! "Is this the key?": argon2 in the process that has the hash, never more than two at once, never a long queue.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::event::{Event, Question};
use crate::credential::phc::Phc;
use crate::secret::Secret;
use crate::wire::message::Verdict;

/// argon2 runs at once: 19 MiB and 25 ms of a core each.
const AT_ONCE: usize = 2;
/// Questions that may wait; the next one is told to come again, so that a flood of wrong keys ages nobody's question
/// by more than half a second.
const WAITING: usize = 16;

/// The judge.
#[derive(Debug)]
pub(crate) struct Answers {
    running: Arc<Semaphore>,
    places: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
}

impl Answers {
    /// Answers come as [`Event::Judged`].
    pub(crate) fn new(events: mpsc::Sender<Event>) -> Self {
        let (running, places) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(AT_ONCE + WAITING)));
        Self { running, places, events }
    }

    /// Takes a question of the gateway process `generation`; the immediate answer, if it needs no argon2.
    pub(crate) fn ask(
        &self,
        stored: Option<&Phc>,
        key: Secret<Vec<u8>>,
        generation: u64,
        question: Question,
    ) -> Option<(Verdict, Question)> {
        let Some(stored) = stored.cloned() else { return Some((Verdict::Wrong, question)) };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return Some((Verdict::Busy, question)) };
        let (running, events) = (self.running.clone(), self.events.clone());
        tokio::spawn(async move {
            let Ok(turn) = running.acquire_owned().await else { return };
            let judged = tokio::task::spawn_blocking(move || stored.verify(&key)).await;
            drop((turn, place));
            let verdict = match judged {
                Ok(true) => Verdict::Right,
                Ok(false) => Verdict::Wrong,
                Err(error) => {
                    tracing::error!(%error, "argon2 did not finish");
                    Verdict::Busy
                }
            };
            tracing::debug!(?verdict, "argon2 ran");
            if events.send(Event::Judged { generation, question, verdict }).await.is_err() {
                tracing::debug!("the supervisor is ending");
            }
        });
        None
    }
}
