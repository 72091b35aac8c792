//! Who may say what when: forbidden unless the table has a row for it (OpenSSH's `monitor.c` is the model).
//!
//! The supervisor asks for every message of a role. A breach ends that role: it has been taken over or is broken.

use super::message::{FromGateway, FromSensor};

/// The processes that the supervisor listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Faces the network.
    Gateway,
    /// Touches the driver.
    Sensor,
}

impl Role {
    /// The hidden subcommand, and what `ps` shows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Sensor => "sensor",
        }
    }
}

/// How far a role has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Started, not ready.
    Starting,
    /// Has said that it is ready.
    Working,
    /// Has been told to end.
    Ending,
}

/// The kinds of message that a role sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Confined`
    Confined,
    /// `Ready`
    Ready,
    /// `Log`
    Log,
    /// `Judge`
    Judge,
    /// `OpenSession`
    OpenSession,
    /// `JudgeSession`
    JudgeSession,
    /// `EndSession`
    EndSession,
    /// `Restart`
    Restart,
    /// `EndEverySession`
    EndEverySession,
    /// `Observed`
    Observed,
    /// `Seen`
    Seen,
    /// `Checked`
    Checked,
    /// `Drained`
    Drained,
    /// `Reading`
    Reading,
}

/// A message that can be looked up in the table.
pub(crate) trait Judged {
    /// Its kind.
    fn kind(&self) -> Kind;
}

impl Judged for FromGateway {
    fn kind(&self) -> Kind {
        match self {
            Self::Confined(_) => Kind::Confined,
            Self::Ready => Kind::Ready,
            Self::Log(_) => Kind::Log,
            Self::Judge { .. } => Kind::Judge,
            Self::OpenSession { .. } => Kind::OpenSession,
            Self::JudgeSession { .. } => Kind::JudgeSession,
            Self::EndSession { .. } => Kind::EndSession,
            Self::Restart { .. } => Kind::Restart,
            Self::EndEverySession { .. } => Kind::EndEverySession,
            Self::Observed(_) => Kind::Observed,
            Self::Seen(_) => Kind::Seen,
            Self::Checked(_) => Kind::Checked,
            Self::Drained => Kind::Drained,
        }
    }
}

impl Judged for FromSensor {
    fn kind(&self) -> Kind {
        match self {
            Self::Confined(_) => Kind::Confined,
            Self::Ready => Kind::Ready,
            Self::Log(_) => Kind::Log,
            Self::Reading(_) => Kind::Reading,
            Self::Checked(_) => Kind::Checked,
        }
    }
}

use Phase::{Ending, Starting, Working};

/// Role, kind, the phases in which it may come, and whether it may come once only.
const TABLE: &[(Role, Kind, &[Phase], bool)] = &[
    (Role::Gateway, Kind::Confined, &[Starting], true),
    (Role::Gateway, Kind::Ready, &[Starting], true),
    (Role::Gateway, Kind::Log, &[Starting, Working, Ending], false),
    (Role::Gateway, Kind::Judge, &[Working, Ending], false),
    (Role::Gateway, Kind::OpenSession, &[Working, Ending], false),
    (Role::Gateway, Kind::JudgeSession, &[Working, Ending], false),
    (Role::Gateway, Kind::EndSession, &[Working, Ending], false),
    (Role::Gateway, Kind::Restart, &[Working], false),
    (Role::Gateway, Kind::EndEverySession, &[Working], false),
    (Role::Gateway, Kind::Observed, &[Working, Ending], false),
    (Role::Gateway, Kind::Seen, &[Working, Ending], false),
    (Role::Gateway, Kind::Checked, &[Starting, Working, Ending], false),
    (Role::Gateway, Kind::Drained, &[Ending], true),
    (Role::Sensor, Kind::Confined, &[Starting], true),
    (Role::Sensor, Kind::Ready, &[Starting], true),
    (Role::Sensor, Kind::Log, &[Starting, Working, Ending], false),
    (Role::Sensor, Kind::Reading, &[Working], false),
    (Role::Sensor, Kind::Checked, &[Starting, Working, Ending], false),
];

/// A message that its sender may not send now.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the {} sent {kind:?} while {phase:?}, which it may not", role.name())]
pub(crate) struct Breach {
    role: Role,
    kind: Kind,
    phase: Phase,
}

/// What one role process may still say.
#[derive(Debug)]
pub(crate) struct Permits {
    role: Role,
    phase: Phase,
    spent: Vec<Kind>,
}

impl Permits {
    /// For a role that has just been started.
    pub(crate) fn new(role: Role) -> Self {
        Self { role, phase: Starting, spent: Vec::new() }
    }

    /// Lets a message through, or says what was wrong with it. `Ready` moves the role on.
    pub(crate) fn admit(&mut self, message: &impl Judged) -> Result<(), Breach> {
        let kind = message.kind();
        let breach = Breach { role: self.role, kind, phase: self.phase };
        let (_, _, _, once) = TABLE
            .iter()
            .find(|(role, k, phases, _)| *role == self.role && *k == kind && phases.contains(&self.phase))
            .ok_or(breach)?;
        if *once {
            if self.spent.contains(&kind) {
                return Err(Breach { role: self.role, kind, phase: self.phase });
            }
            self.spent.push(kind);
        }
        if kind == Kind::Ready {
            self.phase = Working;
        }
        Ok(())
    }

    /// The role has been told to end.
    pub(crate) fn ending(&mut self) {
        self.phase = Ending;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::IpAddr;

    use super::*;
    use crate::secret::Secret;
    use crate::wire::gpu::GpuReading;
    use crate::wire::message::Answering;

    fn question() -> FromGateway {
        FromGateway::Judge { ticket: 1, key: Secret::new(Vec::new()) }
    }

    #[test]
    fn nothing_is_asked_before_ready_and_ready_comes_once() {
        let mut permits = Permits::new(Role::Gateway);
        assert!(permits.admit(&question()).is_err());
        permits.admit(&FromGateway::Ready).unwrap();
        permits.admit(&question()).unwrap();
        permits.admit(&FromGateway::Observed(Answering::Yes)).unwrap();
        assert!(permits.admit(&FromGateway::Ready).is_err());
    }

    #[test]
    fn drained_is_said_once_and_only_when_ending() {
        let mut permits = Permits::new(Role::Gateway);
        permits.admit(&FromGateway::Ready).unwrap();
        assert!(permits.admit(&FromGateway::Drained).is_err());
        permits.ending();
        permits.admit(&FromGateway::Drained).unwrap();
        assert!(permits.admit(&FromGateway::Drained).is_err());
    }

    #[test]
    fn comfyui_is_restarted_and_everybody_signed_out_only_by_a_gateway_that_works() {
        let peer = IpAddr::from([192, 0, 2, 7]);
        for message in [FromGateway::Restart { peer }, FromGateway::EndEverySession { peer }] {
            let mut permits = Permits::new(Role::Gateway);
            assert!(permits.admit(&message).is_err());
            permits.admit(&FromGateway::Ready).unwrap();
            permits.admit(&message).unwrap();
            permits.ending();
            assert!(permits.admit(&message).is_err());
        }
    }

    #[test]
    fn a_sensor_reads_only_while_it_works() {
        let mut permits = Permits::new(Role::Sensor);
        assert!(permits.admit(&FromSensor::Reading(GpuReading::Unknown)).is_err());
        permits.admit(&FromSensor::Ready).unwrap();
        permits.admit(&FromSensor::Reading(GpuReading::Unknown)).unwrap();
        permits.ending();
        assert!(permits.admit(&FromSensor::Reading(GpuReading::Unknown)).is_err());
    }

    #[test]
    fn every_kind_has_a_row_for_at_most_the_roles_that_have_the_message() {
        for (role, kind, phases, _) in TABLE {
            assert!(!phases.is_empty());
            let belongs = match kind {
                Kind::Judge
                | Kind::OpenSession
                | Kind::JudgeSession
                | Kind::EndSession
                | Kind::Restart
                | Kind::EndEverySession
                | Kind::Observed
                | Kind::Seen
                | Kind::Drained => *role == Role::Gateway,
                Kind::Reading => *role == Role::Sensor,
                Kind::Confined | Kind::Ready | Kind::Log | Kind::Checked => true,
            };
            assert!(belongs, "{role:?} {kind:?}");
        }
    }
}
