//! After a death: start again, and when, or give up. Pure, so that the whole policy is one table of tests.

use std::time::Duration;

/// How a process ended, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// Exit 0: whoever ended it wants it back (ComfyUI-Manager's reboot), so it is no crash.
    Asked,
    /// Anything else.
    Crash,
    /// It could not be started, or its port was taken.
    NeverLived,
}

/// What is known about a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// How it ended.
    pub(crate) death: Death,
    /// Crashes in a row before this one.
    pub(crate) in_a_row: u32,
    /// How long it served before; zero when it never did.
    pub(crate) served: Duration,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start again after this time.
    Restart {
        /// The pause.
        after: Duration,
        /// Crashes in a row, this one included.
        in_a_row: u32,
    },
    /// It will not get better by itself.
    GiveUp,
}

/// Who serves this long is well: what comes after it is a new story.
const STABLE: Duration = Duration::from_secs(60);
/// The tenth crash in a row ends it: with the pauses below that is about four minutes of trying.
const MOST_IN_A_ROW: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// ComfyUI's policy.
pub(crate) fn after_comfyui(facts: Facts) -> Next {
    let before = if facts.served >= STABLE { 0 } else { facts.in_a_row };
    match facts.death {
        // An exit 0 before it ever served, again and again, is a crash loop that lies.
        Death::Asked if !facts.served.is_zero() => Next::Restart { after: Duration::ZERO, in_a_row: before },
        _ if before + 1 >= MOST_IN_A_ROW => Next::GiveUp,
        _ => Next::Restart { after: pause(before), in_a_row: before + 1 },
    }
}

/// A role's policy: at once the first time, never given up, because without the gateway nobody can be told anything.
pub(crate) fn after_role(in_a_row: u32) -> Duration {
    if in_a_row == 0 {
        Duration::ZERO
    } else {
        (Duration::from_millis(100) * 2u32.pow(in_a_row.min(6))).min(Duration::from_secs(5))
    }
}

/// 1 s, 2 s, 4 s … 60 s.
fn pause(crashes_before: u32) -> Duration {
    Duration::from_secs(1 << crashes_before.min(6)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::ZERO;

    fn next(death: Death, in_a_row: u32, served: Duration) -> Next {
        after_comfyui(Facts { death, in_a_row, served })
    }

    #[test]
    fn a_reboot_from_inside_comes_back_at_once_and_counts_nothing() {
        let reboot = next(Death::Asked, 3, Duration::from_secs(5));
        assert_eq!(reboot, Next::Restart { after: Duration::ZERO, in_a_row: 3 });
    }

    #[test]
    fn crashes_wait_longer_and_longer_and_end() {
        let mut pauses = Vec::new();
        let mut in_a_row = 0;
        while let Next::Restart { after, in_a_row: more } = next(Death::Crash, in_a_row, NEVER) {
            pauses.push(after.as_secs());
            in_a_row = more;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_minute_of_service_forgives() {
        let after = next(Death::Crash, 9, STABLE);
        assert_eq!(after, Next::Restart { after: Duration::from_secs(1), in_a_row: 1 });
        assert_eq!(next(Death::Crash, 9, STABLE - Duration::from_millis(1)), Next::GiveUp);
    }

    #[test]
    fn an_exit_0_that_never_served_is_a_crash() {
        assert_eq!(next(Death::Asked, 9, NEVER), Next::GiveUp);
        assert_eq!(next(Death::NeverLived, 9, NEVER), Next::GiveUp);
    }

    #[test]
    fn a_role_comes_back_at_once_and_always() {
        assert_eq!(after_role(0), Duration::ZERO);
        assert_eq!(after_role(1), Duration::from_millis(200));
        assert_eq!(after_role(u32::MAX), Duration::from_secs(5));
    }
}
