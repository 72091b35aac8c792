//! What the gateway tells the supervisor for `status`: ComfyUI's queue and version, and who was refused lately.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::shared::Shared;
use crate::telemetry::metrics::Job;
use crate::telemetry::status::{Status, assemble};
use crate::wire::overview::{Refused, Seen};

/// Kinds of refusal and guest that are remembered: a flood from everywhere pushes old ones out and no more.
const KEPT: usize = 10;

/// What was refused lately, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<VecDeque<Refused>>);

impl Refusals {
    /// A guest was refused; more of the same to the same guest is counted.
    pub(crate) fn note(&self, peer: IpAddr, error: &'static str, at: SystemTime) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().position(|refused| refused.peer == peer && refused.error == error);
        let count = known.and_then(|place| kept.remove(place)).map_or(0, |refused| refused.count);
        kept.push_front(Refused { at, peer, error: error.to_owned(), count: count + 1 });
        kept.truncate(KEPT);
    }

    fn kept(&self) -> Vec<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// What there is to tell now.
pub(crate) fn seen(shared: &Shared) -> Seen {
    let health = shared.health.borrow();
    let count = |number: &std::sync::atomic::AtomicUsize| number.load(Ordering::Relaxed) as u64;
    Seen {
        remaining: health.remaining,
        device: health.device.clone(),
        version: health.version.clone(),
        jobs_done: shared.metrics.jobs.get(Job::Completed),
        jobs_failed: shared.metrics.jobs.get(Job::Failed),
        connections: count(&shared.connections),
        websockets: shared.metrics.sockets_open(),
        refusals: shared.refusals.kept(),
    }
}

/// The whole condition, as `comfy-guard status` has it, for the status page.
pub(crate) fn status(shared: &Shared) -> Status {
    let seen = seen(shared);
    let (key, open) = (shared.key.borrow().state, !shared.settings.load().auth.enabled);
    let health = shared.health.borrow();
    assemble(&health.overview, &seen, &health.gpu, health.closed_by(key, open), SystemTime::now())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn refusals_of_one_kind_are_counted_and_the_oldest_goes() {
        let refusals = Refusals::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let peer = |last| IpAddr::from([192, 0, 2, last]);
        refusals.note(peer(1), "unauthorized", at(1));
        refusals.note(peer(2), "unauthorized", at(2));
        refusals.note(peer(1), "unauthorized", at(3));
        refusals.note(peer(1), "bad_path", at(4));
        let told: Vec<(IpAddr, String, u64)> =
            refusals.kept().into_iter().map(|refused| (refused.peer, refused.error, refused.count)).collect();
        let expected = [(peer(1), "bad_path", 1), (peer(1), "unauthorized", 2), (peer(2), "unauthorized", 1)];
        assert_eq!(told, expected.map(|(peer, error, count)| (peer, error.to_owned(), count)));
        for last in 10..250 {
            refusals.note(peer(last), "unauthorized", at(5));
        }
        assert_eq!(refusals.kept().len(), KEPT);
        assert_eq!(refusals.kept().first().unwrap().peer, peer(249));
    }
}
