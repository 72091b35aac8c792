//! From what supervisor and gateway know to the document.

use std::time::SystemTime;

use super::{Comfyui, Confined, Exit, Guard, Held, Refusal, Status, Usage};
use crate::telemetry::gpu;
use crate::wire::condition::{Condition, Name};
use crate::wire::gpu::GpuReading;
use crate::wire::line::printable;
use crate::wire::overview::{self, ComfyuiFacts, GuardFacts, Overview, Seen};

/// Puts the document together. `closed`: by what the service is closed, if it is.
pub(crate) fn assemble(
    overview: &Overview,
    seen: &Seen,
    reading: &GpuReading,
    closed: Option<Name>,
    at: SystemTime,
) -> Status {
    Status {
        at: seconds(at),
        healthy: closed.is_none(),
        state: closed.map_or("ok", Name::word).to_owned(),
        conditions: held(&overview.conditions),
        guard: guard(&overview.guard, seen),
        comfyui: comfyui(&overview.comfyui, seen),
        gpu: gpu::detail(reading, at),
    }
}

/// Conditions for people and programs.
pub(crate) fn held(conditions: &[Condition]) -> Vec<Held> {
    let held = conditions.iter().map(|condition| Held {
        name: condition.name.word().to_owned(),
        serves: condition.name.serves(),
        since: seconds(condition.since),
        cause: condition.cause.clone(),
        cure: condition.name.cure().to_owned(),
    });
    held.collect()
}

/// A text of another process's, fit for a terminal and no longer than this.
pub(crate) fn text(text: &str, longest: usize) -> String {
    printable(text).chars().take(longest).collect()
}

/// Seconds since 1970; zero before.
pub(crate) fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Milliseconds are enough, and read better.
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}

fn guard(facts: &GuardFacts, seen: &Seen) -> Guard {
    Guard {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: facts.started.map(seconds).unwrap_or_default(),
        pid: facts.pid,
        addresses: facts.addresses.clone(),
        fingerprint: facts.fingerprint.clone(),
        certificate_ends: facts.certificate_ends.map(seconds).unwrap_or_default(),
        authentication: facts.authentication,
        key_set: facts.key_set.map(seconds),
        sessions: facts.sessions,
        sandbox: facts
            .sandbox
            .iter()
            .map(|(process, by)| Confined { process: process.clone(), by: by.clone() })
            .collect(),
        gateway_restarts: facts.gateway_restarts,
        sensor_restarts: facts.sensor_restarts,
        connections: seen.connections,
        websockets: seen.websockets,
        refusals: seen.refusals.iter().map(refusal).collect(),
    }
}

fn refusal(refused: &overview::Refused) -> Refusal {
    Refusal {
        at: seconds(refused.at),
        peer: refused.peer.to_string(),
        error: refused.error.clone(),
        count: refused.count,
    }
}

fn comfyui(facts: &ComfyuiFacts, seen: &Seen) -> Comfyui {
    // One worker: of what is left, one prompt runs at most.
    let running = seen.remaining.min(1);
    Comfyui {
        process: facts.process.clone(),
        pid: facts.pid,
        started: facts.started.map(seconds),
        serving_since: facts.serving_since.map(seconds),
        version: seen.version.clone(),
        device: seen.device.as_ref().map(|device| device.name.clone()),
        pending: seen.remaining - running,
        running,
        progress: facts.progress.filter(|_| running > 0),
        jobs_done: seen.jobs_done,
        jobs_failed: seen.jobs_failed,
        restarts: facts.restarts,
        crashes: facts.crashes,
        last_exit: facts.last_exit.as_ref().map(|(at, how)| Exit { at: seconds(*at), how: how.clone() }),
        last_lines: facts.last_lines.clone(),
        usage: facts.usage.map(usage),
    }
}

fn usage(used: overview::Usage) -> Usage {
    Usage {
        memory_bytes: used.memory,
        memory_limit_bytes: used.memory_limit,
        cpu_seconds: used.cpu.map(|microseconds| microseconds as f64 / 1e6),
        read_bytes: used.read,
        written_bytes: used.written,
        tasks: used.tasks,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_document_says_what_is_known_and_reads_back() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let overview = Overview {
            conditions: vec![Condition { name: Name::GpuHot, since: at, cause: "93 °C".to_owned() }],
            comfyui: ComfyuiFacts { progress: Some(40), ..ComfyuiFacts::default() },
            ..Overview::default()
        };
        let seen = Seen { remaining: 3, ..Seen::default() };
        let status = assemble(&overview, &seen, &GpuReading::Unknown, None, at);
        assert_eq!((status.at, status.healthy, status.state.as_str()), (1_700_000_000.25, true, "ok"));
        assert_eq!((status.comfyui.pending, status.comfyui.running, status.comfyui.progress), (2, 1, Some(40)));
        let only = status.conditions.first().unwrap();
        assert_eq!((only.name.as_str(), only.serves, only.cure.as_str()), ("gpu_hot", true, Name::GpuHot.cure()));
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }

    #[test]
    fn a_document_of_another_version_is_read_as_far_as_it_goes() {
        let status: Status = serde_json::from_str(r#"{"healthy":true,"new":{},"guard":{"pid":7,"more":1}}"#).unwrap();
        assert!(status.healthy && status.guard.pid == 7 && status.comfyui.last_lines.is_empty());
    }

    #[test]
    fn an_idle_comfyui_has_no_progress() {
        let overview =
            Overview { comfyui: ComfyuiFacts { progress: Some(100), ..Default::default() }, ..Default::default() };
        let status = assemble(&overview, &Seen::default(), &GpuReading::Unknown, None, SystemTime::UNIX_EPOCH);
        assert_eq!(status.comfyui.progress, None);
    }
}
