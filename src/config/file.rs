//! What was written: the shape of a configuration file, with a default for every key.
//!
//! One [`Spec`] serves each layer by itself (is every key known, every value well spelt?) and all of them merged.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::exempt::{ApiPath, Suffix, Tree, default_never, default_suffixes, default_trees};
use super::local::Local;
use super::origin::Origin;
use super::values::{
    Account, Address, AnonymousWebsocket, Argument, Cage, CertificateName, Degrees, FilePath, ForeignProcesses,
    LogLevel, Network, Owner, Percent, Port, VariableName,
};
use crate::units::{Bytes, Processors, Span};

/// How a key's value is spelt in one line of text, as in an environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The text itself.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// A number with or without a fraction.
    Decimal,
    /// Texts with commas between them.
    List,
    /// A table of texts: one variable for each entry.
    Table,
}

/// Every key that a file may have, and how its value is spelt. Tests hold it to [`Spec`].
pub(super) const KEYS: &[(&str, Shape)] = &[
    ("listen.https", Shape::List),
    ("listen.http_redirect", Shape::List),
    ("tls.certificate", Shape::Text),
    ("tls.private_key", Shape::Text),
    ("tls.names", Shape::List),
    ("auth.enabled", Shape::Flag),
    ("auth.key_file", Shape::Text),
    ("auth.anonymous_websocket", Shape::Text),
    ("auth.allowed_origins", Shape::List),
    ("auth.frame_ancestors", Shape::List),
    ("auth.session_lifetime", Shape::Text),
    ("auth.browser_session_lifetime", Shape::Text),
    ("auth.exempt.trees", Shape::List),
    ("auth.exempt.suffixes", Shape::List),
    ("auth.exempt.never", Shape::List),
    ("proxy.trusted", Shape::List),
    ("proxy.max_upload", Shape::Text),
    ("proxy.websocket_idle", Shape::Text),
    ("comfyui.directory", Shape::Text),
    ("comfyui.external", Shape::Text),
    ("comfyui.python", Shape::Text),
    ("comfyui.arguments", Shape::List),
    ("comfyui.environment", Shape::Table),
    ("comfyui.port", Shape::Number),
    ("comfyui.user", Shape::Text),
    ("comfyui.groups", Shape::List),
    ("comfyui.stop_timeout", Shape::Text),
    ("comfyui.sandbox", Shape::Text),
    ("comfyui.writable", Shape::List),
    ("comfyui.readable", Shape::List),
    ("comfyui.limits.memory", Shape::Text),
    ("comfyui.limits.cpus", Shape::Decimal),
    ("comfyui.limits.tasks", Shape::Number),
    ("gpu.library", Shape::Text),
    ("gpu.required", Shape::Flag),
    ("gpu.hot", Shape::Number),
    ("gpu.vram_pressure", Shape::Number),
    ("gpu.foreign_processes", Shape::Text),
    ("gpu.shared_with", Shape::List),
    ("metrics.listen", Shape::List),
    ("service.user", Shape::Text),
    ("service.network_user", Shape::Text),
    ("state.directory", Shape::Text),
    ("log.level", Shape::Text),
    ("log.access", Shape::Flag),
];

/// A whole configuration as written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Spec {
    pub(super) listen: ListenSpec,
    pub(super) tls: TlsSpec,
    pub(super) auth: AuthSpec,
    pub(super) proxy: ProxySpec,
    pub(super) comfyui: ComfyuiSpec,
    pub(super) gpu: GpuSpec,
    pub(super) metrics: MetricsSpec,
    pub(super) service: ServiceSpec,
    pub(super) state: StateSpec,
    pub(super) log: LogSpec,
}

/// `[listen]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ListenSpec {
    pub(super) https: Vec<Address>,
    pub(super) http_redirect: Vec<Address>,
}

impl Default for ListenSpec {
    fn default() -> Self {
        let everywhere = (std::net::Ipv6Addr::UNSPECIFIED, 443).into();
        Self { https: vec![Address(everywhere)], http_redirect: Vec::new() }
    }
}

/// `[tls]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsSpec {
    pub(super) certificate: Option<FilePath>,
    pub(super) private_key: Option<FilePath>,
    pub(super) names: Vec<CertificateName>,
}

/// `[auth]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuthSpec {
    pub(super) enabled: bool,
    pub(super) key_file: FilePath,
    pub(super) anonymous_websocket: AnonymousWebsocket,
    pub(super) allowed_origins: Vec<Origin>,
    pub(super) frame_ancestors: Vec<Origin>,
    pub(super) session_lifetime: Span,
    pub(super) browser_session_lifetime: Span,
    pub(super) exempt: ExemptSpec,
}

impl Default for AuthSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            key_file: FilePath("/etc/comfy-guard/key".into()),
            anonymous_websocket: AnonymousWebsocket::default(),
            allowed_origins: Vec::new(),
            frame_ancestors: Vec::new(),
            session_lifetime: Span::from_secs(30 * 86_400),
            browser_session_lifetime: Span::from_secs(12 * 3_600),
            exempt: ExemptSpec::default(),
        }
    }
}

/// `[auth.exempt]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ExemptSpec {
    pub(super) trees: Vec<Tree>,
    pub(super) suffixes: Vec<Suffix>,
    pub(super) never: Vec<ApiPath>,
}

impl Default for ExemptSpec {
    fn default() -> Self {
        Self { trees: default_trees(), suffixes: default_suffixes(), never: default_never() }
    }
}

/// `[proxy]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ProxySpec {
    pub(super) trusted: Vec<Network>,
    pub(super) max_upload: Bytes,
    pub(super) websocket_idle: Span,
}

impl Default for ProxySpec {
    fn default() -> Self {
        // ComfyUI sends no ping, so a silent socket is a healthy one: no limit unless asked for.
        Self { trusted: Vec::new(), max_upload: Bytes(100 << 20), websocket_idle: Span::from_secs(0) }
    }
}

/// `[comfyui]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ComfyuiSpec {
    pub(super) directory: Option<FilePath>,
    pub(super) external: Option<Address>,
    pub(super) python: FilePath,
    pub(super) arguments: Vec<Argument>,
    pub(super) environment: BTreeMap<VariableName, Argument>,
    pub(super) port: Port,
    pub(super) user: Account,
    pub(super) groups: Vec<Account>,
    pub(super) stop_timeout: Span,
    pub(super) sandbox: Cage,
    pub(super) writable: Vec<FilePath>,
    pub(super) readable: Vec<FilePath>,
    pub(super) limits: LimitsSpec,
}

impl Default for ComfyuiSpec {
    fn default() -> Self {
        Self {
            directory: None,
            external: None,
            python: FilePath("venv/bin/python".into()),
            arguments: vec![Argument("--disable-auto-launch".to_owned())],
            environment: BTreeMap::new(),
            port: Port(8188),
            user: Account("comfyui".to_owned()),
            groups: ["video", "render"].map(|group| Account(group.to_owned())).into(),
            stop_timeout: Span::from_secs(15),
            sandbox: Cage::default(),
            writable: Vec::new(),
            readable: Vec::new(),
            limits: LimitsSpec::default(),
        }
    }
}

/// `[gpu]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GpuSpec {
    pub(super) library: Option<FilePath>,
    pub(super) required: Option<bool>,
    pub(super) hot: Option<Degrees>,
    pub(super) vram_pressure: Percent,
    pub(super) foreign_processes: ForeignProcesses,
    pub(super) shared_with: Vec<Owner>,
}

impl Default for GpuSpec {
    fn default() -> Self {
        Self {
            library: None,
            required: None,
            hot: None,
            vram_pressure: Percent(97),
            foreign_processes: ForeignProcesses::default(),
            shared_with: Vec::new(),
        }
    }
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MetricsSpec {
    pub(super) listen: Vec<Local>,
}

/// `[comfyui.limits]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsSpec {
    pub(super) memory: Option<Bytes>,
    pub(super) cpus: Option<Processors>,
    pub(super) tasks: u32,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        // A ComfyUI at work has 30 to 300 threads, on a machine with many processors some more.
        Self { memory: None, cpus: None, tasks: 4096 }
    }
}

/// `[service]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ServiceSpec {
    pub(super) user: Account,
    pub(super) network_user: Account,
}

impl Default for ServiceSpec {
    fn default() -> Self {
        Self { user: Account("comfy-guard".to_owned()), network_user: Account("comfy-guard-net".to_owned()) }
    }
}

/// `[state]`
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct StateSpec {
    pub(super) directory: FilePath,
}

impl Default for StateSpec {
    fn default() -> Self {
        Self { directory: FilePath("/var/lib/comfy-guard".into()) }
    }
}

/// `[log]`
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogSpec {
    pub(super) level: LogLevel,
    pub(super) access: bool,
}
