//! `/health`: the guide's JSON, from what is known already; no request of a guest ever waits for ComfyUI or the driver.

use std::time::SystemTime;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::gpu::{self, Trouble};
use crate::telemetry;
use crate::wire::gpu::{Gpu, GpuReading};
use crate::wire::message::{Answering, GpuWish, KeyState, ProcessState};

/// A device as ComfyUI's `/system_stats` names it. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Device {
    /// The name, e.g. `cuda:0 NVIDIA H100`.
    pub(crate) name: String,
    /// `cuda`, `cpu`, `mps`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// All of its memory.
    #[serde(default)]
    pub(crate) vram_total: u64,
    /// What is free of it.
    #[serde(default)]
    pub(crate) vram_free: u64,
}

/// All that is known of ComfyUI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// What the supervisor says of its process.
    pub(crate) process: ProcessState,
    /// How its port answers.
    pub(crate) answering: Answering,
    /// Prompts that wait or run.
    pub(crate) remaining: u64,
    /// Its device, once it has told.
    pub(crate) device: Option<Device>,
    /// What the sensor says.
    pub(crate) gpu: GpuReading,
    /// Which GPU ComfyUI was given.
    pub(crate) wish: GpuWish,
    /// When the certificate ends.
    pub(crate) certificate_ends: SystemTime,
}

/// The word in `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// Guests are served.
    Ok,
    /// ComfyUI is loading.
    Starting,
    /// ComfyUI ended and is being started again, or restarts itself.
    Restarting,
    /// ComfyUI was given up.
    Failed,
    /// Something listens and does not answer.
    Unresponsive,
    /// The external ComfyUI is not there.
    Unreachable,
    /// There is no key: nobody is let in.
    NoKey,
    /// The guard is ending.
    Stopping,
    /// ComfyUI's GPU fell off the bus.
    GpuLost,
    /// The driver's library and its kernel part differ: nothing computes until a reboot.
    GpuDriverMismatch,
    /// There is a GPU, and ComfyUI computes without it.
    GpuUnavailable,
    /// The driver does not answer.
    NvmlHung,
}

#[derive(Serialize)]
struct Guide<'a> {
    status: Status,
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
    pub(crate) fn new(process: ProcessState, gpu: GpuReading, wish: GpuWish, certificate_ends: SystemTime) -> Self {
        Self { process, answering: Answering::Unknown, remaining: 0, device: None, gpu, wish, certificate_ends }
    }

    /// The one word. `open`: no key is needed.
    pub(crate) fn status(&self, key: KeyState, open: bool) -> Status {
        if key == KeyState::Missing && !open {
            return Status::NoKey;
        }
        if self.process == ProcessState::Stopping {
            return Status::Stopping;
        }
        // The cause before what it does to ComfyUI, which may end of it again and again.
        match gpu::trouble(&self.gpu, self.device.as_ref(), &self.wish) {
            Some(Trouble::Lost) => return Status::GpuLost,
            Some(Trouble::Mismatch) => return Status::GpuDriverMismatch,
            Some(Trouble::Hung) => return Status::NvmlHung,
            Some(Trouble::Unused) => return Status::GpuUnavailable,
            None => {}
        }
        match (&self.process, self.answering) {
            (ProcessState::Stopping, _) => Status::Stopping,
            (ProcessState::Failed { .. }, _) => Status::Failed,
            (ProcessState::Restarting, _) => Status::Restarting,
            (ProcessState::Running | ProcessState::External, Answering::Yes) => Status::Ok,
            (ProcessState::Starting, _) => Status::Starting,
            (ProcessState::External, Answering::Unknown) => Status::Starting,
            (ProcessState::External, Answering::Refused) => Status::Unreachable,
            (ProcessState::Running, Answering::Refused | Answering::Unknown) => Status::Restarting,
            (_, Answering::Silent) => Status::Unresponsive,
        }
    }

    /// Status code and body. `detailed`: for a guest with a right key.
    pub(crate) fn render(&self, key: KeyState, open: bool, detailed: bool) -> (StatusCode, String) {
        let status = self.status(key, open);
        let code = if status == Status::Ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // One worker: of what is left, one prompt runs at most.
        let running = self.remaining.min(1);
        let body = Guide {
            status,
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
        match (self.own_gpu().and_then(|gpu| gpu.memory), &self.device) {
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
        let ends = self.certificate_ends.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        json!({
            "guard": env!("CARGO_PKG_VERSION"),
            "gpu": telemetry::gpu::detail(&self.gpu, SystemTime::now()),
            "certificate_ends": ends,
            "failure": why,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn health(process: ProcessState, answering: Answering) -> Health {
        Health { answering, ..Health::new(process, GpuReading::Unknown, GpuWish::default(), SystemTime::UNIX_EPOCH) }
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
        assert_eq!(health.status(KeyState::Missing, false), Status::NoKey);
        assert_eq!(health.status(KeyState::Missing, true), Status::Ok);
    }

    #[test]
    fn detail_is_for_those_who_have_the_key() {
        let health = health(ProcessState::Failed { why: "secret path".into() }, Answering::Refused);
        assert!(!health.render(KeyState::Set, false, false).1.contains("secret path"));
        assert!(health.render(KeyState::Set, false, true).1.contains("secret path"));
    }
}
