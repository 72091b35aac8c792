//! Questions on their way to the supervisor: whoever asks the same while the answer is awaited waits for that answer.

use std::collections::HashMap;

use tokio::sync::watch;

/// What a question is about, as a keyed or plain digest: the same thing has the same digest.
pub(crate) type Digest = [u8; 32];

/// Where an answer will be.
pub(crate) type Awaited<A> = watch::Receiver<Option<A>>;

/// Questions on their way at once; the next is told to come again.
const MOST: usize = 128;

/// The questions of one kind that are on their way.
pub(crate) struct Asking<A> {
    asked: HashMap<Digest, Awaited<A>>,
    tickets: HashMap<u64, Ticket<A>>,
    next: u64,
}

/// A question that was asked.
pub(crate) struct Ticket<A> {
    /// What it is about.
    pub(crate) digest: Digest,
    /// Which key was in force when it was asked.
    pub(crate) epoch: u64,
    answer: watch::Sender<Option<A>>,
}

/// What becomes of somebody who asks.
pub(crate) enum Asked<A> {
    /// The same question is on its way.
    OnItsWay(Awaited<A>),
    /// Send it, with this number.
    Send(u64, Awaited<A>),
    /// Too many are on their way.
    TooMany,
}

impl<A> Default for Asking<A> {
    fn default() -> Self {
        Self { asked: HashMap::new(), tickets: HashMap::new(), next: 0 }
    }
}

impl<A: Clone> Asking<A> {
    /// Asks under the key of `epoch`.
    pub(crate) fn ask(&mut self, digest: Digest, epoch: u64) -> Asked<A> {
        if let Some(awaited) = self.asked.get(&digest) {
            return Asked::OnItsWay(awaited.clone());
        }
        if self.tickets.len() >= MOST {
            return Asked::TooMany;
        }
        let (answer, awaited) = watch::channel(None);
        let number = self.next;
        self.next += 1;
        self.asked.insert(digest, awaited.clone());
        self.tickets.insert(number, Ticket { digest, epoch, answer });
        Asked::Send(number, awaited)
    }

    /// The question with this number is answered: nobody joins it any more.
    pub(crate) fn take(&mut self, number: u64) -> Option<Ticket<A>> {
        let ticket = self.tickets.remove(&number)?;
        self.asked.remove(&ticket.digest);
        Some(ticket)
    }

    /// How many are on their way.
    pub(crate) fn len(&self) -> usize {
        self.tickets.len()
    }
}

impl<A> Ticket<A> {
    /// Tells everybody who waits.
    pub(crate) fn tell(self, answer: A) {
        self.answer.send_replace(Some(answer));
    }
}

/// Waits for an answer; none when the question was lost.
pub(crate) async fn answer_of<A: Clone>(mut awaited: Awaited<A>) -> Option<A> {
    awaited.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone())
}
