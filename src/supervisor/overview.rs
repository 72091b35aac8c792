//! What is known, put together: the conditions are judged here, and the gateway is told what it cannot see for itself.

use std::time::SystemTime;

use super::Supervisor;
use super::comfyui::Comfyui;
use super::conditions;
use crate::condition::{self, Facts, gpu};
use crate::config::ForeignProcesses;
use crate::credential::identity::fingerprint;
use crate::credential::session_store::SessionStore;
use crate::os::cgroup::Group;
use crate::telemetry::status::{self, Status};
use crate::wire::condition::closing;
use crate::wire::gpu::{Gpu, GpuReading};
use crate::wire::message::{KeyState, ProcessState, ToGateway};
use crate::wire::overview::{ComfyuiFacts, GuardFacts, LINE, LINES, Overview, Seen};

/// Refusals and texts of the gateway's that are kept: it faces the network and may have been taken over.
const MOST_REFUSALS: usize = 20;
const LONGEST_TEXT: usize = 200;

impl Supervisor {
    /// Judges what holds now; the gateway is told at once, and the log of what is new.
    pub(super) fn judge_conditions(&mut self) {
        let process = self.comfyui_state();
        let faults = self.own_gpu().map(|gpu| self.baseline.faults(gpu)).unwrap_or_default();
        let found = condition::judge(Facts {
            key_missing: self.orders.config.auth.enabled && self.key_state() == KeyState::Missing,
            process: &process,
            trouble: self.comfyui.as_ref().and_then(Comfyui::trouble),
            answering: self.answering,
            gpu: &self.gpu,
            sensor_deaths: self.sensor.deaths_in_a_row(),
            device: self.seen.device.as_ref(),
            wish: &self.wish,
            policy: &self.orders.config.gpu,
            faults: &faults,
            foreign: self.strangers.found(),
            before: self.conditions.held(),
        });
        let news = self.conditions.update(found, SystemTime::now());
        news.iter().for_each(conditions::tell);
        if self.overview.conditions != self.conditions.held() {
            self.overview.conditions = self.conditions.held().to_vec();
            self.tell_overview();
        }
    }

    /// Once a second: the rest of what the gateway shows.
    pub(super) fn look_around(&mut self) {
        let now = Overview {
            conditions: self.conditions.held().to_vec(),
            guard: self.guard_facts(),
            comfyui: self.comfyui_facts(),
        };
        if now != self.overview {
            self.overview = now;
            self.tell_overview();
        }
    }

    /// The whole condition, for who asks on the control socket.
    pub(super) fn status(&mut self) -> Status {
        self.look_around();
        let closed = closing(&self.overview.conditions);
        status::assemble(&self.overview, &self.seen, &self.gpu, closed, SystemTime::now())
    }

    /// What the gateway has seen, cut to what is bearable.
    pub(super) fn note_seen(&mut self, mut seen: Seen) {
        let cut = |text: &mut String| *text = status::text(text, LONGEST_TEXT);
        seen.refusals.truncate(MOST_REFUSALS);
        seen.refusals.iter_mut().for_each(|refused| cut(&mut refused.error));
        if let Some(version) = &mut seen.version {
            cut(version);
        }
        if let Some(device) = &mut seen.device {
            cut(&mut device.name);
            cut(&mut device.kind);
        }
        self.seen = seen;
    }

    /// A new reading: who else computes there, and what was there before ComfyUI.
    pub(super) fn look_at_gpus(&mut self) {
        let GpuReading::Read(readings) = &self.gpu else { return self.strangers.forget() };
        self.baseline.note(&readings.gpus);
        // Of somebody else's ComfyUI nobody here knows which processes are its own.
        if let Some(comfyui) = &self.comfyui
            && self.orders.config.gpu.foreign_processes == ForeignProcesses::Report
        {
            self.strangers.look(&readings.gpus, comfyui.group(), &self.orders.config.gpu.shared_with);
        } else {
            self.strangers.forget();
        }
    }

    /// ComfyUI begins anew: what was wrong with the GPU before is over, as far as anybody knows.
    pub(super) fn begin_anew(&mut self) {
        let gpus = match &self.gpu {
            GpuReading::Read(readings) => readings.gpus.as_slice(),
            _ => &[],
        };
        self.baseline.begin(gpus, SystemTime::now());
    }

    fn own_gpu(&self) -> Option<&Gpu> {
        match &self.gpu {
            GpuReading::Read(readings) => gpu::chosen(&readings.gpus, self.seen.device.as_ref(), &self.wish),
            _ => None,
        }
    }

    /// Tells the gateway what was put together last.
    pub(super) fn tell_overview(&mut self) {
        self.gateway.tell(ToGateway::Overview(Box::new(self.overview.clone())));
    }

    fn guard_facts(&self) -> GuardFacts {
        let confined = |process: &str, by: Option<&str>| by.map(|by| (process.to_owned(), by.to_owned()));
        let comfyui = self.comfyui.as_ref().and_then(|comfyui| comfyui.history().held.as_deref());
        let sandbox = [
            confined("supervisor", Some(&self.confinement)),
            confined("gateway", self.gateway.confinement()),
            confined("sensor", self.sensor.confinement()),
            confined("comfyui", comfyui),
        ];
        GuardFacts {
            started: Some(self.started),
            pid: std::process::id(),
            addresses: self.addresses.clone(),
            fingerprint: self.identity.chain.first().map(|leaf| fingerprint(leaf)).unwrap_or_default(),
            certificate_ends: Some(self.identity.not_after),
            authentication: self.orders.config.auth.enabled,
            key_set: self.key.as_ref().and(self.key_file.modified()),
            sessions: self
                .sessions
                .as_ref()
                .map_or(0, |store: &SessionStore| store.sessions().len())
                .try_into()
                .unwrap_or(u32::MAX),
            sandbox: sandbox.into_iter().flatten().collect(),
            gateway_restarts: self.gateway.deaths(),
            sensor_restarts: self.sensor.deaths(),
        }
    }

    fn comfyui_facts(&self) -> ComfyuiFacts {
        let process = word(&self.comfyui_state()).to_owned();
        let Some(comfyui) = &self.comfyui else { return ComfyuiFacts { process, ..ComfyuiFacts::default() } };
        let history = comfyui.history();
        ComfyuiFacts {
            process,
            pid: comfyui.pid().map(|pid| pid.number()),
            started: history.started,
            serving_since: history.serving_since,
            restarts: history.starts.saturating_sub(1),
            crashes: history.crashes,
            last_exit: history.last_exit.clone(),
            progress: comfyui.tail().progress(),
            last_lines: comfyui.tail().lines(LINES, LINE),
            usage: comfyui.group().map(Group::usage),
        }
    }
}

fn word(process: &ProcessState) -> &'static str {
    match process {
        ProcessState::Starting => "starting",
        ProcessState::Running => "running",
        ProcessState::Restarting => "restarting",
        ProcessState::Failed { .. } => "failed",
        ProcessState::Stopping => "stopping",
        ProcessState::External => "external",
    }
}
