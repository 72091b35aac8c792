//! The messages: everything that passes between the supervisor and a role.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::gpu::GpuReading;
use super::line::Line;
use super::overview::{Overview, Seen};
use crate::config::{Auth, Log, Proxy};
use crate::secret::Secret;

/// Supervisor to gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToGateway {
    /// First of all, once: what to serve with. The listening sockets come with it, `https` first.
    Setup(Box<GatewaySetup>),
    /// The configuration was read again.
    Settings(Box<GatewaySettings>),
    /// The certificate was loaded again.
    Identity(Box<TlsIdentity>),
    /// Whether there is a key now; every change ends what rests on the old one.
    Key(KeyState),
    /// What [`FromGateway::Judge`] asked.
    Verdict {
        /// The question's number.
        ticket: u64,
        /// The answer.
        verdict: Verdict,
    },
    /// What [`FromGateway::OpenSession`] asked.
    SessionOpened {
        /// The question's number.
        ticket: u64,
        /// The answer.
        opening: Opening,
    },
    /// What [`FromGateway::JudgeSession`] asked.
    SessionJudged {
        /// The question's number.
        ticket: u64,
        /// The session, if it lives.
        facts: Option<SessionFacts>,
    },
    /// These sessions have ended, by SHA-256 of their ids.
    SessionsEnded(Vec<[u8; 32]>),
    /// What the supervisor knows of ComfyUI's process.
    Comfyui(ProcessState),
    /// What the sensor read last.
    Gpu(GpuReading),
    /// What else the supervisor knows; said when it changes.
    Overview(Box<Overview>),
    /// Are you alive? To be answered with the same number.
    Check(u64),
    /// Take no more guests, let running answers end within this time, then say [`FromGateway::Drained`].
    Drain(Duration),
}

/// Gateway to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromGateway {
    /// What holds it from now on, in words: for the log and for `status`.
    Confined(String),
    /// Guests are being accepted.
    Ready,
    /// A line for the log.
    Log(Line),
    /// Is this the key?
    Judge {
        /// Chosen by the gateway, given back with the verdict.
        ticket: u64,
        /// What a guest presented.
        key: Secret<Vec<u8>>,
    },
    /// Open a session for who presents this key, if it is the right one.
    OpenSession {
        /// Chosen by the gateway, given back with the answer.
        ticket: u64,
        /// What was typed.
        key: Secret<Vec<u8>>,
        /// Who types, for the list of sessions.
        login: Login,
    },
    /// Does a session live?
    JudgeSession {
        /// Chosen by the gateway, given back with the answer.
        ticket: u64,
        /// SHA-256 of its id.
        digest: [u8; 32],
    },
    /// A guest signed out.
    EndSession {
        /// SHA-256 of the session's id.
        digest: [u8; 32],
    },
    /// A guest wants ComfyUI started anew.
    Restart {
        /// The guest's address, for the log.
        peer: IpAddr,
    },
    /// A guest signs everybody out.
    EndEverySession {
        /// The guest's address, for the log.
        peer: IpAddr,
    },
    /// How ComfyUI's port answered; said when it changes.
    Observed(Answering),
    /// What else the gateway knows; said when it changes.
    Seen(Box<Seen>),
    /// The answer to [`ToGateway::Check`].
    Checked(u64),
    /// No guest is left.
    Drained,
}

/// Supervisor to sensor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSensor {
    /// First of all, once.
    Setup(SensorSetup),
    /// As for the gateway.
    Check(u64),
}

/// Everything that the sensor starts with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SensorSetup {
    /// `[log]`
    pub(crate) log: Log,
    /// `gpu.library`
    pub(crate) library: Option<PathBuf>,
}

/// Sensor to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromSensor {
    /// As for the gateway.
    Confined(String),
    /// Readings follow.
    Ready,
    /// A line for the log.
    Log(Line),
    /// The truth about the GPU.
    Reading(GpuReading),
    /// The answer to [`ToSensor::Check`].
    Checked(u64),
}

/// Everything that the gateway starts with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GatewaySetup {
    /// What a reload can change.
    pub(crate) settings: GatewaySettings,
    /// The certificate and its key.
    pub(crate) identity: TlsIdentity,
    /// Whether there is a key.
    pub(crate) key: KeyState,
    /// Where ComfyUI listens.
    pub(crate) upstream: SocketAddr,
    /// What the supervisor knows of ComfyUI's process.
    pub(crate) comfyui: ProcessState,
    /// Which GPU ComfyUI was given.
    pub(crate) wish: GpuWish,
    /// How many of the passed sockets speak TLS: the first ones.
    pub(crate) https_sockets: usize,
    /// How many have `/metrics` for this machine: the last ones. What is in between redirects.
    pub(crate) metrics_sockets: usize,
    /// Threads that serve guests.
    pub(crate) workers: usize,
}

/// Which GPU ComfyUI was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GpuWish {
    /// None: it was started with `--cpu`.
    pub(crate) cpu: bool,
    /// `CUDA_VISIBLE_DEVICES` as ComfyUI has it; none: all of them.
    pub(crate) visible: Option<String>,
}

/// What the gateway takes from the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct GatewaySettings {
    /// `[auth]`
    pub(crate) auth: Auth,
    /// `[proxy]`
    pub(crate) proxy: Proxy,
    /// `[log]`
    pub(crate) log: Log,
}

/// A certificate chain with its key, as rustls takes them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TlsIdentity {
    /// DER certificates, the leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The private key in PEM.
    pub(crate) key: Secret<Vec<u8>>,
    /// When the leaf ends.
    pub(crate) not_after: SystemTime,
}

/// Whether anybody can be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyState {
    /// There is a key.
    Set,
    /// There is none, or its file was refused: nothing is proxied.
    Missing,
}

/// The answer to "is this the key?".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// It is.
    Right,
    /// It is not.
    Wrong,
    /// Too many ask at once; ask again.
    Busy,
}

/// Who signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    /// Whether the session outlives the browser.
    pub(crate) remember: bool,
    /// The guest's address.
    pub(crate) peer: IpAddr,
    /// What the browser calls itself, cut to a bearable length.
    pub(crate) agent: String,
}

/// The answer to a login.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Opening {
    /// Here is the session: its id, which nobody keeps but the browser.
    Opened {
        /// 256 random bits.
        id: Secret<[u8; 32]>,
        /// The rest.
        facts: SessionFacts,
    },
    /// Not the right key.
    WrongKey,
    /// Too many ask at once; ask again.
    Busy,
    /// The session cannot be kept; the log says why.
    Failed,
}

/// What is known of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionFacts {
    /// Whether it outlives the browser.
    pub(crate) remember: bool,
    /// When it ends, if it is not used before.
    pub(crate) ends: SystemTime,
}

/// What the supervisor knows of ComfyUI's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProcessState {
    /// Started, has not answered yet.
    Starting,
    /// Has answered since it was started.
    Running,
    /// Ended, and will be started again.
    Restarting,
    /// Ended too often: somebody has to look.
    Failed {
        /// Why, for the operator.
        why: String,
    },
    /// The guard itself is ending.
    Stopping,
    /// Somebody else's process.
    External,
}

/// How ComfyUI's port answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answering {
    /// It has not been asked yet.
    Unknown,
    /// As it should.
    Yes,
    /// Nothing listens.
    Refused,
    /// Something listens and does not answer in time, or not as ComfyUI does.
    Silent,
}
