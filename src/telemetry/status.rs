//! The guard's whole condition as one document: what `comfy-guard status --json` prints and the status page shows.
//!
//! Read leniently: the command line may be newer, or older, than the daemon that answers it. Times are seconds since 1970 (UTC), sizes bytes.

mod assemble;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use assemble::{assemble, held, seconds, text};

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// When this was put together.
    pub(crate) at: f64,
    /// Whether guests are served: what `/health` answers 200 for.
    pub(crate) healthy: bool,
    /// `ok`, or the name of the condition that closes the service.
    pub(crate) state: String,
    /// Everything that is not as it should be, the gravest first.
    pub(crate) conditions: Vec<Held>,
    /// The guard itself.
    pub(crate) guard: Guard,
    /// ComfyUI and its process.
    pub(crate) comfyui: Comfyui,
    /// What the driver says, as `detail.gpu` of `/health`.
    pub(crate) gpu: Value,
}

/// A condition that holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Held {
    /// Its name, as in `/health` and the metrics.
    pub(crate) name: String,
    /// Whether guests are served all the same.
    pub(crate) serves: bool,
    /// Since when.
    pub(crate) since: f64,
    /// What was seen.
    pub(crate) cause: String,
    /// What to do.
    pub(crate) cure: String,
}

/// The guard itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Guard {
    /// Its version.
    pub(crate) version: String,
    /// When the supervisor was started.
    pub(crate) started: f64,
    /// The supervisor's process.
    pub(crate) pid: u32,
    /// Where guests come in.
    pub(crate) addresses: Vec<String>,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: String,
    /// When the certificate ends.
    pub(crate) certificate_ends: f64,
    /// Whether a key is asked for.
    pub(crate) authentication: bool,
    /// When the key was set; none: there is none, or nobody knows.
    pub(crate) key_set: Option<f64>,
    /// Browsers that are signed in.
    pub(crate) sessions: u32,
    /// What holds each of its processes.
    pub(crate) sandbox: Vec<Confined>,
    /// Gateways that died and were started again.
    pub(crate) gateway_restarts: u64,
    /// Sensors that died and were started again.
    pub(crate) sensor_restarts: u64,
    /// Open connections of guests.
    pub(crate) connections: u64,
    /// Open WebSockets.
    pub(crate) websockets: u64,
    /// What was refused lately, the newest first.
    pub(crate) refusals: Vec<Refusal>,
}

/// What holds a process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Confined {
    /// `supervisor`, `gateway`, `sensor`, `comfyui`.
    pub(crate) process: String,
    /// In words.
    pub(crate) by: String,
}

/// Refusals of one kind to one guest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Refusal {
    /// When last.
    pub(crate) at: f64,
    /// The guest's address.
    pub(crate) peer: String,
    /// The `error` of the answer.
    pub(crate) error: String,
    /// How often.
    pub(crate) count: u64,
}

/// ComfyUI and its process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Comfyui {
    /// `starting`, `running`, `restarting`, `failed`, `stopping`, `external`.
    pub(crate) process: String,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// When that was started.
    pub(crate) started: Option<f64>,
    /// Since when it serves.
    pub(crate) serving_since: Option<f64>,
    /// What it calls itself.
    pub(crate) version: Option<String>,
    /// The device that it computes on.
    pub(crate) device: Option<String>,
    /// Prompts that wait.
    pub(crate) pending: u64,
    /// Prompts that run.
    pub(crate) running: u64,
    /// Of the step that runs, as its own progress bar says, in percent.
    pub(crate) progress: Option<u8>,
    /// Jobs that ended well since the gateway was started.
    pub(crate) jobs_done: u64,
    /// Jobs that failed.
    pub(crate) jobs_failed: u64,
    /// How often it was started again, for whatever reason.
    pub(crate) restarts: u64,
    /// How often it ended by itself and with an error.
    pub(crate) crashes: u64,
    /// How it ended last.
    pub(crate) last_exit: Option<Exit>,
    /// The last lines of its output.
    pub(crate) last_lines: Vec<String>,
    /// What it uses, with all that it started.
    pub(crate) usage: Option<Usage>,
}

/// An end of ComfyUI.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Exit {
    /// When.
    pub(crate) at: f64,
    /// How, in words.
    pub(crate) how: String,
}

/// What the processes of ComfyUI's cgroup use together; a figure that the kernel does not keep is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    /// Main memory.
    pub(crate) memory_bytes: Option<u64>,
    /// What it may have of it.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// Time of processors.
    pub(crate) cpu_seconds: Option<f64>,
    /// Read from disks.
    pub(crate) read_bytes: Option<u64>,
    /// Written to disks.
    pub(crate) written_bytes: Option<u64>,
    /// Processes and threads.
    pub(crate) tasks: Option<u64>,
}
