//! What happens to the supervisor: everything that its one loop wakes up for.

use std::process::ExitStatus;

use crate::os::process::Pid;
use crate::wire::message::{FromGateway, FromSensor, Verdict};
use crate::wire::permit::Role;

/// One thing that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The gateway said something that it may say.
    Gateway(FromGateway),
    /// The sensor said something that it may say.
    Sensor(FromSensor),
    /// A role said something that it may not, or nothing that could be read.
    Breach {
        /// Which role.
        role: Role,
        /// Which of its processes.
        generation: u64,
        /// What was wrong.
        breach: String,
    },
    /// A child has ended.
    Died {
        /// Which.
        pid: Pid,
        /// How.
        status: ExitStatus,
    },
    /// argon2 is done with a question.
    Judged {
        /// Which gateway process asked.
        generation: u64,
        /// Its number for the question.
        ticket: u64,
        /// The answer.
        verdict: Verdict,
    },
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}
