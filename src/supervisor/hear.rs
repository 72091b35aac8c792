//! What the roles say, once the permit table has let it through, and the ends of children.

use std::net::IpAddr;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::Instant;

use super::Supervisor;
use super::event::Question;
use super::report::is_the_gpus;
use crate::os::process::{self, Pid};
use crate::telemetry::output::{relay_gateway, relay_sensor};
use crate::wire::gpu::{DriverFault, GpuReading};
use crate::wire::message::{Answering, FromGateway, FromSensor, ToGateway, Verdict};
use crate::wire::permit::Role;

/// How long a driver may be silent before the sensor that asks it is ended; twice as long for each that was ended before in vain, up
/// to 64 times.
const HUNG: Duration = Duration::from_secs(1);
const MOST_DOUBLINGS: u32 = 6;

fn is_hung(reading: &GpuReading) -> bool {
    matches!(reading, GpuReading::Failed { fault: DriverFault::Hung, .. })
}

impl Supervisor {
    /// What the gateway said.
    pub(super) fn hear_gateway(&mut self, message: FromGateway) {
        match message {
            FromGateway::Confined(by) => {
                self.gateway.confined(&by);
                tell_confinement(Role::Gateway.name(), self.gateway.confinement());
            }
            FromGateway::Ready => self.gateway.became_ready(),
            FromGateway::Log(line) => relay_gateway(&line),
            FromGateway::Judge { ticket, key } => {
                let generation = self.gateway.generation();
                let question = Question::Request { ticket };
                if let Some((verdict, question)) = self.answers.ask(self.key.as_ref(), key, generation, question) {
                    self.answer(generation, question, verdict);
                }
            }
            FromGateway::OpenSession { ticket, key, login } => self.log_in(ticket, key, login),
            FromGateway::JudgeSession { ticket, digest } => self.judge_session(ticket, &digest),
            FromGateway::EndSession { digest } => self.end_session(&digest),
            FromGateway::Restart { peer } => self.restart_for(peer),
            FromGateway::EndEverySession { peer } => self.end_every_session(peer),
            FromGateway::Observed(answering) => {
                // Somebody else's ComfyUI that is there again was started again.
                if self.comfyui.is_none() && answering == Answering::Yes && self.answering == Answering::Refused {
                    self.begin_anew();
                }
                self.answering = answering;
                if let Some(comfyui) = &mut self.comfyui {
                    comfyui.observed(answering, Instant::now());
                }
            }
            FromGateway::Seen(seen) => self.note_seen(*seen),
            FromGateway::Checked(number) => {
                if self.gateway.answered(number) {
                    self.systemd.alive();
                }
            }
            FromGateway::Drained => self.drained = true,
        }
    }

    /// A guest wants ComfyUI restarted; the gateway has seen to it that he may.
    fn restart_for(&mut self, peer: IpAddr) {
        match self.restart_comfyui() {
            Ok(_) => tracing::warn!(%peer, "a guest restarts ComfyUI; its jobs are lost"),
            Err(why) => tracing::warn!(%peer, "a guest wants ComfyUI restarted: {why}"),
        }
    }

    /// What the sensor said.
    pub(super) fn hear_sensor(&mut self, message: FromSensor) {
        match message {
            FromSensor::Confined(by) => {
                if self.sensor.confined(&by) {
                    tell_confinement(Role::Sensor.name(), self.sensor.confinement());
                }
            }
            FromSensor::Ready => self.sensor.became_ready(),
            FromSensor::Log(line) => relay_sensor(&line),
            FromSensor::Reading(reading) => self.note_gpu(reading.bounded()),
            FromSensor::Checked(number) => {
                self.sensor.answered(number);
            }
        }
    }

    /// A new reading, told on; what it means is judged with the rest.
    fn note_gpu(&mut self, reading: GpuReading) {
        self.hung_since = is_hung(&reading).then(|| self.hung_since.unwrap_or_else(Instant::now));
        if self.hung_since.is_none() {
            self.hung_sensors = 0;
        }
        if self.gpu != reading {
            self.gpu = reading.clone();
            self.gateway.tell(ToGateway::Gpu(reading));
            self.look_at_gpus();
        }
    }

    /// A sensor whose driver hangs is of no use: another one may find the driver well again.
    pub(super) fn end_hung_sensor(&mut self, now: Instant) {
        let patience = HUNG * (1 << self.hung_sensors.min(MOST_DOUBLINGS));
        if self.hung_since.is_some_and(|since| now.duration_since(since) > patience) {
            self.hung_since = Some(now);
            self.hung_sensors = self.hung_sensors.saturating_add(1);
            self.sensor.kill("the driver does not answer it");
        }
    }

    /// Hands a verdict to the gateway that asked for it, if it still lives.
    pub(super) fn answer(&mut self, generation: u64, question: Question, verdict: Verdict) {
        if generation != self.gateway.generation() {
            return;
        }
        let message = match question {
            Question::Request { ticket } => ToGateway::Verdict { ticket, verdict },
            Question::Login { ticket, login, epoch } => {
                // What was right under the old key opens nothing under the new one.
                let verdict = if epoch == self.key_epoch { verdict } else { Verdict::Busy };
                ToGateway::SessionOpened { ticket, opening: self.opening(verdict, login) }
            }
        };
        self.gateway.tell(message);
    }

    /// Ends a role that said what it may not.
    pub(super) fn end_breaker(&mut self, role: Role, generation: u64, breach: &str) {
        match role {
            Role::Gateway if generation == self.gateway.generation() => self.gateway.kill(breach),
            Role::Sensor if generation == self.sensor.generation() => self.sensor.kill(breach),
            _ => {}
        }
    }

    /// Notes the end of a child.
    pub(super) fn bury(&mut self, pid: Pid, status: ExitStatus) {
        let now = Instant::now();
        let how = process::describe(status);
        let stepped_down = status.success() && self.sensor.stepped_down(pid, now);
        let sensor_died = self.sensor.died(pid, &how, now);
        // What it read last may no longer be true; but what closed the service is open again only when another sensor has seen it well.
        if sensor_died && !self.conditions.held().iter().any(|condition| is_the_gpus(condition.name)) {
            self.note_gpu(GpuReading::Unknown);
        }
        let known = stepped_down
            || sensor_died
            || self.gateway.died(pid, &how, now)
            || self.comfyui.as_mut().is_some_and(|comfyui| comfyui.died(pid, status, now));
        if !known {
            tracing::debug!(%pid, how, "an adopted orphan ended");
        }
        if self.stopping.is_some() {
            self.gateway.retire();
            self.sensor.retire();
            self.drained |= self.gateway.pid().is_none();
        }
    }
}

/// One line for each process that starts: what holds it.
pub(super) fn tell_confinement(process: &str, confinement: Option<&str>) {
    if let Some(by) = confinement {
        tracing::info!("sandbox of the {process}: {by}");
    }
}
