//! The stop ladder: SIGINT, SIGTERM, SIGKILL, each in its time. Pure.

use std::time::Duration;

use crate::os::process::Ending;

/// The most that guests get to finish what they are receiving.
const DRAIN: Duration = Duration::from_secs(3);

/// How long the gateway may drain before ComfyUI is told to end, out of `total`.
pub(crate) fn drain_time(total: Duration) -> Duration {
    DRAIN.min(total / 5)
}

/// The rung that a stop has reached after `elapsed` of `total`, with when the next one comes.
///
/// SIGINT has two thirds of the time, because ComfyUI cleans up on it (2 to 8 s); SIGTERM a fifth; the rest is for SIGKILL
/// and the collecting of what it ends.
pub(crate) fn rung(total: Duration, elapsed: Duration) -> (Ending, Option<Duration>) {
    let (terminate, kill) = (total * 2 / 3, total * 13 / 15);
    if elapsed < terminate {
        (Ending::Interrupt, Some(terminate))
    } else if elapsed < kill {
        (Ending::Terminate, Some(kill))
    } else {
        (Ending::Kill, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rung_comes_in_its_time() {
        let total = Duration::from_secs(15);
        let at = |seconds| rung(total, Duration::from_secs(seconds));
        assert_eq!(at(0), (Ending::Interrupt, Some(Duration::from_secs(10))));
        assert_eq!(at(9), (Ending::Interrupt, Some(Duration::from_secs(10))));
        assert_eq!(at(10), (Ending::Terminate, Some(Duration::from_secs(13))));
        assert_eq!(at(13), (Ending::Kill, None));
        assert_eq!(at(1000), (Ending::Kill, None));
    }

    #[test]
    fn no_time_at_all_is_a_kill() {
        assert_eq!(rung(Duration::ZERO, Duration::ZERO), (Ending::Kill, None));
        assert_eq!(drain_time(Duration::ZERO), Duration::ZERO);
    }
}
