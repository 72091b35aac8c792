//! What happens to the supervisor: everything that its one loop wakes up for.

use std::process::ExitStatus;

use tokio::sync::oneshot;

use super::control::Reply;
use crate::os::process::Pid;
use crate::wire::control::Request;
use crate::wire::message::{FromGateway, FromSensor, Login, Verdict};
use crate::wire::permit::Role;

/// What argon2 is asked for.
#[derive(Debug)]
pub(crate) enum Question {
    /// A request that presents a key.
    Request {
        /// The gateway's number for it.
        ticket: u64,
    },
    /// A browser that signs in.
    Login {
        /// The gateway's number for it.
        ticket: u64,
        /// Who it is.
        login: Login,
        /// Which key was in force when it was asked.
        epoch: u64,
    },
}

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
        /// What it was about.
        question: Question,
        /// The answer.
        verdict: Verdict,
    },
    /// Somebody at the control socket wants something.
    Asked {
        /// What.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Reply>,
    },
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}
