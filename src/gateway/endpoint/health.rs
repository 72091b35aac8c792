//! `/health`: the guide's JSON, from what is known already; no request of a guest ever waits for ComfyUI or the driver.

use std::time::SystemTime;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use crate::condition::{gpu, service};
use crate::telemetry::{self, status};
use crate::wire::condition::Name;
use crate::wire::gpu::{Gpu, GpuReading};
use crate::wire::message::{Answering, GpuWish, KeyState, ProcessState};
use crate::wire::overview::{Device, Overview};

/// All that is known of ComfyUI.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Health {
    /// What the supervisor says of its process.
    pub(crate) process: ProcessState,
    /// How its port answers.
    pub(crate) answering: Answering,
    /// Prompts that wait or run.
    pub(crate) remaining: u64,
    /// Its device, once it has told.
    pub(crate) device: Option<Device>,
    /// What it calls itself, once it has told.
    pub(crate) version: Option<String>,
    /// What the sensor says.
    pub(crate) gpu: GpuReading,
    /// Which GPU ComfyUI was given.
    pub(crate) wish: GpuWish,
    /// What else the supervisor knows.
    pub(crate) overview: Overview,
}

#[derive(Serialize)]
struct Guide<'a> {
    status: &'static str,
    queue: Queue,
    device: Named<'a>,
    vram: Vram,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

#[derive(Serialize)]
struct Queue {
    pending: u64,
    running: u64,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
struct Vram {
    total: u64,
    free: u64,
}

impl Health {
    /// Nothing has been asked yet.
    ///
    /// What the supervisor knows besides follows its set-up at once, each as a message of its own: together they might be too long for one.
    pub(crate) fn new(process: ProcessState, wish: GpuWish) -> Self {
        let (answering, gpu, overview) = (Answering::Unknown, GpuReading::Unknown, Overview::default());
        Self { process, answering, remaining: 0, device: None, version: None, gpu, wish, overview }
    }

    /// What closes the service; none: guests are served. `open`: no key is needed.
    ///
    /// How ComfyUI serves the gateway sees for itself, and sooner than the supervisor can tell it; the rest is the supervisor's word.
    pub(crate) fn closed_by(&self, key: KeyState, open: bool) -> Option<Name> {
        let no_key = (key == KeyState::Missing && !open).then_some(Name::NoKey);
        let told = self.overview.conditions.iter().filter(|condition| !is_seen_here(condition.name));
        let told = told.map(|condition| condition.name).filter(|name| !name.serves()).min();
        [no_key, service(&self.process, self.answering), told].into_iter().flatten().min()
    }

    /// Status code and body. `detailed`: for a guest with a right key.
    pub(crate) fn render(&self, key: KeyState, open: bool, detailed: bool) -> (StatusCode, String) {
        let closed = self.closed_by(key, open);
        let code = if closed.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // One worker: of what is left, one prompt runs at most.
        let running = self.remaining.min(1);
        let body = Guide {
            status: closed.map_or("ok", Name::word),
            queue: Queue { pending: self.remaining - running, running },
            device: self.named(),
            vram: self.vram(),
            detail: detailed.then(|| self.detail()),
        };
        (code, serde_json::to_string(&body).unwrap_or_default())
    }

    /// As ComfyUI names its device; before it has told, as the driver does.
    fn named(&self) -> Named<'_> {
        match (&self.device, self.own_gpu().and_then(|gpu| gpu.name.as_deref())) {
            (Some(device), _) => Named { name: &device.name, kind: &device.kind },
            (None, Some(name)) => Named { name, kind: "cuda" },
            (None, None) => Named { name: "unknown", kind: "unknown" },
        }
    }

    /// The driver's figures where it is asked; ComfyUI's own are some seconds old.
    fn vram(&self) -> Vram {
        let memory = self.own_gpu().and_then(|gpu| gpu::memory(gpu, self.device.as_ref(), &self.wish));
        match (memory, &self.device) {
            (Some(memory), _) => Vram { total: memory.total, free: memory.free },
            (None, Some(device)) => Vram { total: device.vram_total, free: device.vram_free },
            (None, None) => Vram { total: 0, free: 0 },
        }
    }

    fn own_gpu(&self) -> Option<&Gpu> {
        match &self.gpu {
            GpuReading::Read(readings) => gpu::chosen(&readings.gpus, self.device.as_ref(), &self.wish),
            _ => None,
        }
    }

    fn detail(&self) -> Value {
        let why = match &self.process {
            ProcessState::Failed { why } => Some(why),
            _ => None,
        };
        json!({
            "guard": env!("CARGO_PKG_VERSION"),
            "conditions": status::held(&self.overview.conditions),
            "gpu": telemetry::gpu::detail(&self.gpu, SystemTime::now()),
            "certificate_ends": self.overview.guard.certificate_ends.map(|ends| status::seconds(ends) as u64),
            "failure": why,
        })
    }
}

/// What the gateway judges from what it sees itself.
fn is_seen_here(name: Name) -> bool {
    use Name::{Failed, NoKey, Restarting, Starting, Stopping, Unreachable, Unresponsive};
    matches!(name, NoKey | Stopping | Failed | Unresponsive | Unreachable | Restarting | Starting)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::condition::Condition;
    use std::time::SystemTime;

    fn health(process: ProcessState, answering: Answering) -> Health {
        Health { answering, ..Health::new(process, GpuWish::default()) }
    }

    #[test]
    fn each_state_has_its_word_and_its_code() {
        let failed = || ProcessState::Failed { why: "exit 1".to_owned() };
        let table = [
            (ProcessState::Running, Answering::Yes, "ok", 200),
            (ProcessState::External, Answering::Yes, "ok", 200),
            (ProcessState::Starting, Answering::Refused, "starting", 503),
            (ProcessState::Running, Answering::Refused, "restarting", 503),
            (ProcessState::Restarting, Answering::Yes, "restarting", 503),
            (ProcessState::Running, Answering::Silent, "unresponsive", 503),
            (ProcessState::External, Answering::Refused, "unreachable", 503),
            (failed(), Answering::Refused, "failed", 503),
            (ProcessState::Stopping, Answering::Yes, "stopping", 503),
        ];
        for (process, answering, word, code) in table {
            let (status, body) = health(process.clone(), answering).render(KeyState::Set, false, false);
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (body.get("status").unwrap(), status.as_u16()),
                (&json!(word), code),
                "{process:?} {answering:?}"
            );
        }
    }

    #[test]
    fn the_shape_is_the_guides() {
        let mut health = health(ProcessState::Running, Answering::Yes);
        health.remaining = 3;
        health.device =
            Some(Device { name: "mps".into(), kind: "mps".into(), vram_total: 68_719_476_736, vram_free: 1 });
        let (_, body) = health.render(KeyState::Set, false, false);
        let expected = r#"{"status":"ok","queue":{"pending":2,"running":1},"device":{"name":"mps","type":"mps"},"vram":{"total":68719476736,"free":1}}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn without_a_key_nothing_is_ok_unless_none_is_needed() {
        let health = health(ProcessState::Running, Answering::Yes);
        assert_eq!(health.closed_by(KeyState::Missing, false), Some(Name::NoKey));
        assert_eq!(health.closed_by(KeyState::Missing, true), None);
    }

    #[test]
    fn what_the_supervisor_says_of_the_gpu_closes_and_what_it_says_of_comfyui_is_seen_here() {
        let told = |name| {
            let mut health = health(ProcessState::Running, Answering::Yes);
            health.overview.conditions = vec![Condition { name, since: SystemTime::UNIX_EPOCH, cause: String::new() }];
            health.closed_by(KeyState::Set, false)
        };
        assert_eq!(told(Name::GpuLost), Some(Name::GpuLost));
        assert_eq!(told(Name::GpuHot), None, "served all the same");
        assert_eq!(told(Name::Starting), None, "told before it was seen to answer");
    }

    #[test]
    fn detail_is_for_those_who_have_the_key() {
        let health = health(ProcessState::Failed { why: "secret path".into() }, Answering::Refused);
        assert!(!health.render(KeyState::Set, false, false).1.contains("secret path"));
        assert!(health.render(KeyState::Set, false, true).1.contains("secret path"));
    }
}
