//! The configuration: text in, validated values out.
//!
//! [`Config`] is what the text means: every value is checked, every path absolute, every default filled in.
//!
//! `layers` reads and merges, `vouch` checks each layer by itself (`file`, `values`, `origin`, `exempt`), `rules` judges what must hold
//! between values, `meaning` makes the [`Config`]; `report` says what is wrong and where.

mod exempt;
mod file;
mod layers;
mod local;
mod meaning;
mod origin;
mod problem;
mod report;
mod rules;
#[cfg(test)]
mod tests;
mod values;
mod vouch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Processors, Span};
pub(crate) use layers::Sources;
pub(crate) use origin::Origin;
pub(crate) use report::{Finding, Findings};
use report::{Place, Places};
pub(crate) use values::{AnonymousWebsocket, Cage, ForeignProcesses, LogLevel};

/// A configuration that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// What it says.
    pub(crate) config: Config,
    /// The files that were read, for the log.
    pub(crate) files: Vec<PathBuf>,
    places: Places,
}

impl Loaded {
    /// Something that is wrong with the value of this key, cited where it was written.
    pub(crate) fn finding(&self, key: &str, message: String) -> Finding {
        Finding { place: self.places.get(key).cloned().unwrap_or(Place::Nowhere), message }
    }
}

/// Reads, merges and judges the configuration. Nothing of it is looked for on the disk but its own files.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Findings> {
    load_with(sources, Path::new(layers::DEFAULT_FILE))
}

fn load_with(sources: &Sources, default_file: &Path) -> Result<Loaded, Findings> {
    let merged = layers::merge(sources, default_file);
    let mut findings = merged.findings;
    findings.extend(rules::judge(&merged.spec, &merged.places, &merged.unsettled, merged.missing.as_deref()));
    if !findings.is_empty() {
        return Err(Findings(findings));
    }
    let config = meaning::mean(merged.spec, &merged.places)?;
    Ok(Loaded { config, files: merged.files, places: merged.places })
}

/// Everything that the configuration says, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// `[listen]`
    pub(crate) listen: Listen,
    /// `[tls]`
    pub(crate) tls: Tls,
    /// `[auth]`
    pub(crate) auth: Auth,
    /// `[proxy]`
    pub(crate) proxy: Proxy,
    /// `[comfyui]`
    pub(crate) comfyui: Comfyui,
    /// `[gpu]`
    pub(crate) gpu: Gpu,
    /// `[metrics]`
    pub(crate) metrics: Metrics,
    /// `[service]`
    pub(crate) service: Service,
    /// `[state]`
    pub(crate) state: State,
    /// `[log]`
    pub(crate) log: Log,
}

/// `[listen]`: where guests come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    /// Addresses served over TLS; sockets named `https` from systemd take their place.
    pub(crate) https: Vec<SocketAddr>,
    /// Addresses that answer plain HTTP with a redirect to HTTPS and nothing else.
    pub(crate) http_redirect: Vec<SocketAddr>,
}

/// `[tls]`: the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The PEM files; none: a local CA and a leaf are made in the state directory.
    pub(crate) identity: Option<PemPair>,
    /// Further DNS names and addresses for the certificate that the guard makes itself.
    pub(crate) names: Vec<String>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PemPair {
    /// `tls.certificate`
    pub(crate) certificate: PathBuf,
    /// `tls.private_key`
    pub(crate) private_key: PathBuf,
}

/// `[auth]`: who is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Auth {
    /// `false` opens everything, and is refused on a non-loopback address.
    pub(crate) enabled: bool,
    /// Where the argon2id hash of the key is kept.
    pub(crate) key_file: PathBuf,
    /// What a WebSocket without a credential gets.
    pub(crate) anonymous_websocket: AnonymousWebsocket,
    /// Other web origins whose pages may use the API.
    pub(crate) allowed_origins: Vec<Origin>,
    /// Web origins whose pages may show the guard's own pages in a frame (CSP `frame-ancestors`); none: no page may.
    pub(crate) frame_ancestors: Vec<Origin>,
    /// How long a session with "remember me" lasts after it was used last.
    pub(crate) session_lifetime: Span,
    /// How long a session without it lasts after it was opened.
    pub(crate) browser_session_lifetime: Span,
    /// `[auth.exempt]`
    pub(crate) exempt: Exempt,
}

/// `[auth.exempt]`: what is served without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exempt {
    /// Path prefixes, each with a slash at both ends, under which static files lie.
    pub(crate) trees: Vec<String>,
    /// File name endings, each with its dot.
    pub(crate) suffixes: Vec<String>,
    /// API paths that are never exempt: the path itself and all that lies below it.
    pub(crate) never: Vec<String>,
}

/// `[proxy]`: how requests are handed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proxy {
    /// Networks of proxies in front, whose `X-Forwarded-*` is believed.
    pub(crate) trusted: Vec<IpNet>,
    /// ComfyUI's `--max-upload-size`.
    pub(crate) max_upload: Bytes,
    /// After how long without a byte a WebSocket is ended; none: never.
    pub(crate) websocket_idle: Option<Span>,
}

/// `[comfyui]`: whose ComfyUI is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comfyui {
    /// A child of the supervisor.
    Owned(Box<OwnedComfyui>),
    /// Somebody else starts and stops it.
    External(SocketAddr),
}

/// The ComfyUI that the supervisor starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedComfyui {
    /// Where `main.py` lies.
    pub(crate) directory: PathBuf,
    /// The interpreter, absolute.
    pub(crate) python: PathBuf,
    /// Further arguments of `main.py`.
    pub(crate) arguments: Vec<String>,
    /// Further environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// The loopback port that ComfyUI listens on.
    pub(crate) port: u16,
    /// The user that ComfyUI runs as where the guard may switch users.
    pub(crate) user: String,
    /// Supplementary groups of that user's process (those that exist are set).
    pub(crate) groups: Vec<String>,
    /// How long a stop may take in all, before everything left is killed.
    pub(crate) stop_timeout: Span,
    /// How close its cage is.
    pub(crate) cage: Cage,
    /// Directories (and devices) that it may write to beside its own.
    pub(crate) writable: Vec<PathBuf>,
    /// Places that it may read beside those that every ComfyUI needs, where its cage is strict.
    pub(crate) readable: Vec<PathBuf>,
    /// `[comfyui.limits]`
    pub(crate) limits: Limits,
}

/// `[comfyui.limits]`: the most that ComfyUI and all that it starts may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Main memory; none: all that there is.
    pub(crate) memory: Option<Bytes>,
    /// Time of processors; none: all that there is.
    pub(crate) cpus: Option<Processors>,
    /// Processes and threads.
    pub(crate) tasks: u32,
}

/// `[gpu]`: how the truth about the GPU is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// The driver's library (NVML); none: looked for in the usual places.
    pub(crate) library: Option<PathBuf>,
    /// Whether ComfyUI is to have a GPU; none: if there is one.
    pub(crate) required: Option<bool>,
    /// From so many degrees Celsius on a GPU is called hot; none: from where its driver slows it down.
    pub(crate) hot: Option<u32>,
    /// From so many percent on its memory is called full.
    pub(crate) vram_pressure: u8,
    /// What is made of a process on a GPU that is not ComfyUI's.
    pub(crate) foreign_processes: ForeignProcesses,
    /// Users, systemd units and slices whose processes may use the GPUs too.
    pub(crate) shared_with: Vec<String>,
}

/// `[metrics]`: where `/metrics` is had without a credential.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metrics {
    /// Loopback addresses and UNIX sockets; sockets named `metrics` from systemd take their place.
    pub(crate) listen: Vec<LocalAddress>,
}

/// A place that only this machine reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LocalAddress {
    /// A loopback address.
    Loopback(SocketAddr),
    /// A UNIX socket, by its absolute path.
    Unix(PathBuf),
}

/// `[service]`: the users of the guard's own processes, where it may switch users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// The supervisor's user, owner of key file and state directory.
    pub(crate) user: String,
    /// The user of the gateway and the sensor.
    pub(crate) network_user: String,
}

/// `[state]`: what the guard keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Certificates and sessions.
    pub(crate) directory: PathBuf,
}

/// `[log]`: what is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    /// The least level that is written.
    pub(crate) level: LogLevel,
    /// Whether every request gets a line.
    pub(crate) access: bool,
}
