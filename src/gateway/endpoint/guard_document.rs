//! The document that the status page shows, from what the gateway knows.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::gateway::shared::Shared;
use crate::telemetry::status::{Comfyui, Guard, Held, Status};
use crate::wire::message::{GatewaySettings, ProcessState};

/// The whole of it.
pub(super) fn status(shared: &Shared, settings: &GatewaySettings) -> Status {
    let health = shared.health.borrow();
    let state = health.status(shared.key.borrow().state, !settings.auth.enabled);
    let state = serde_json::to_value(state).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
    let healthy = state == "ok";
    let running = health.remaining.min(1);
    let mut conditions = Vec::new();
    if !healthy {
        conditions.push(Held { name: state.clone(), ..Held::default() });
    }
    Status {
        at: seconds(SystemTime::now()),
        healthy,
        state,
        conditions,
        guard: Guard {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate_ends: seconds(health.certificate_ends),
            authentication: settings.auth.enabled,
            connections: shared.connections.load(Ordering::Relaxed) as u64,
            ..Guard::default()
        },
        comfyui: Comfyui {
            process: word(&health.process).to_owned(),
            device: health.device.as_ref().map(|device| device.name.clone()),
            pending: health.remaining - running,
            running,
            ..Comfyui::default()
        },
        gpu: super::gpu::detail(&health.gpu),
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

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
