//! What supervisor and gateway know each for itself, told to the other: once a second at the most, and only when it has changed.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::condition::Condition;
pub(crate) use crate::os::cgroup::Usage;

/// Lines of ComfyUI's output that go along.
pub(crate) const LINES: usize = 30;
/// The most of a line, in bytes: a custom node may print what it likes, and all of it has to fit a message.
pub(crate) const LINE: usize = 400;

/// Supervisor to gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// What is not as it should be, the gravest first.
    pub(crate) conditions: Vec<Condition>,
    /// The guard itself.
    pub(crate) guard: GuardFacts,
    /// ComfyUI's process.
    pub(crate) comfyui: ComfyuiFacts,
}

/// The guard itself, as the supervisor knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GuardFacts {
    /// When it was started.
    pub(crate) started: Option<SystemTime>,
    /// The supervisor's process.
    pub(crate) pid: u32,
    /// Where guests come in.
    pub(crate) addresses: Vec<String>,
    /// SHA-256 of the certificate, in hexadecimal.
    pub(crate) fingerprint: String,
    /// When it ends.
    pub(crate) certificate_ends: Option<SystemTime>,
    /// `auth.enabled`
    pub(crate) authentication: bool,
    /// When the key was set, where a file tells.
    pub(crate) key_set: Option<SystemTime>,
    /// Browsers that are signed in.
    pub(crate) sessions: u32,
    /// Process and what holds it, in words.
    pub(crate) sandbox: Vec<(String, String)>,
    /// Gateways that died.
    pub(crate) gateway_restarts: u64,
    /// Sensors that died.
    pub(crate) sensor_restarts: u64,
}

/// ComfyUI's process, as the supervisor knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComfyuiFacts {
    /// `starting`, `running`, `restarting`, `failed`, `stopping`, `external`.
    pub(crate) process: String,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// When that was started.
    pub(crate) started: Option<SystemTime>,
    /// Since when it serves.
    pub(crate) serving_since: Option<SystemTime>,
    /// Starts after the first.
    pub(crate) restarts: u64,
    /// Ends by itself and with an error.
    pub(crate) crashes: u64,
    /// When it ended last, and how.
    pub(crate) last_exit: Option<(SystemTime, String)>,
    /// Of the step that runs, as its own progress bar says, in percent.
    pub(crate) progress: Option<u8>,
    /// The last lines of its output.
    pub(crate) last_lines: Vec<String>,
    /// What it uses, with all that it started; none: it has no cgroup of its own.
    pub(crate) usage: Option<Usage>,
}

/// Gateway to supervisor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Prompts that wait or run.
    pub(crate) remaining: u64,
    /// ComfyUI's device, once it has told.
    pub(crate) device: Option<Device>,
    /// What ComfyUI calls itself.
    pub(crate) version: Option<String>,
    /// Jobs that ended well.
    pub(crate) jobs_done: u64,
    /// Jobs that failed.
    pub(crate) jobs_failed: u64,
    /// Open connections of guests.
    pub(crate) connections: u64,
    /// Open WebSockets.
    pub(crate) websockets: u64,
    /// What was refused lately, the newest first.
    pub(crate) refusals: Vec<Refused>,
}

/// A device as ComfyUI's `/system_stats` names it. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Refusals of one kind to one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    /// When last.
    pub(crate) at: SystemTime,
    /// The guest's address.
    pub(crate) peer: std::net::IpAddr,
    /// The `error` of the answer.
    pub(crate) error: String,
    /// How often.
    pub(crate) count: u64,
}
