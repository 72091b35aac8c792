//! The whole condition, as far as the supervisor knows it.

use std::time::SystemTime;

use super::Supervisor;
use crate::telemetry::status::{Comfyui, Confined, Guard, Status};
use crate::wire::message::{Answering, ProcessState};

impl Supervisor {
    /// For whoever asks.
    pub(super) fn status(&self) -> Status {
        let process = self.comfyui_state();
        let word = match &process {
            ProcessState::Starting => "starting",
            ProcessState::Running => "running",
            ProcessState::Restarting => "restarting",
            ProcessState::Failed { .. } => "failed",
            ProcessState::Stopping => "stopping",
            ProcessState::External => "external",
        };
        let healthy = self.answering == Answering::Yes;
        let sandbox = [("gateway", self.gateway.confinement()), ("sensor", self.sensor.confinement())];
        let sandbox = sandbox.into_iter().filter_map(|(process, by)| Some((process, by?)));
        Status {
            at: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            healthy,
            state: if healthy { "ok" } else { word }.to_owned(),
            guard: Guard {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                addresses: self.address.split(", ").map(ToOwned::to_owned).collect(),
                authentication: self.orders.config.auth.enabled,
                sandbox: sandbox
                    .map(|(process, by)| Confined { process: process.to_owned(), by: by.to_owned() })
                    .collect(),
                ..Guard::default()
            },
            comfyui: Comfyui {
                process: word.to_owned(),
                pid: self.comfyui.as_ref().and_then(super::Comfyui::pid).and_then(|pid| pid.to_string().parse().ok()),
                last_lines: self.comfyui.as_ref().map(|comfyui| comfyui.listen(10).0).unwrap_or_default(),
                ..Comfyui::default()
            },
            ..Status::default()
        }
    }
}
