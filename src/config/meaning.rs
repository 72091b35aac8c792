//! From what was written to what it means: paths from the root, one ComfyUI, `"0s"` as never.

use std::path::{Path, PathBuf};

use super::exempt::{Suffix, Tree, all_never};
use super::file::{AuthSpec, ComfyuiSpec, GpuSpec, ListenSpec, ProxySpec, Spec, TlsSpec};
use super::layers::absolute;
use super::report::{Finding, Findings, Place, Places};
use super::values::{Address, Degrees, FilePath};
use super::{
    Auth, Comfyui, Config, Exempt, Gpu, Limits, Listen, Log, Metrics, OwnedComfyui, PemPair, Proxy, Service, State, Tls,
};
use crate::units::Span;

/// What the text means, once `rules` found nothing wrong with it.
///
/// # Errors
/// Only if `rules` let something pass that means nothing.
pub(super) fn mean(spec: Spec, places: &Places) -> Result<Config, Findings> {
    let paths = Paths { places };
    Ok(Config {
        listen: listen(spec.listen),
        tls: tls(spec.tls, &paths),
        auth: auth(spec.auth, &paths),
        proxy: proxy(spec.proxy),
        comfyui: comfyui(spec.comfyui, &paths)?,
        gpu: gpu(spec.gpu, &paths),
        metrics: Metrics { listen: spec.metrics.listen.into_iter().map(|address| address.0).collect() },
        service: Service { user: spec.service.user.0, network_user: spec.service.network_user.0 },
        state: State { directory: paths.resolve("state.directory", &spec.state.directory) },
        log: Log { level: spec.log.level, access: spec.log.access },
    })
}

/// Where each path was written, which is what it is relative to.
struct Paths<'a> {
    places: &'a Places,
}

impl Paths<'_> {
    /// Relative to the file that it stands in; from the environment or a flag, to the current directory.
    fn resolve(&self, key: &str, FilePath(path): &FilePath) -> PathBuf {
        match self.places.get(key) {
            Some(Place::File(document, _)) => document.path.parent().unwrap_or(Path::new("/")).join(path),
            _ => absolute(path),
        }
    }

    /// Each element of a list.
    fn resolve_all(&self, key: &str, list: &[FilePath]) -> Vec<PathBuf> {
        list.iter().enumerate().map(|(index, path)| self.resolve(&format!("{key}.{index}"), path)).collect()
    }
}

fn listen(written: ListenSpec) -> Listen {
    let addresses = |list: Vec<Address>| list.into_iter().map(|address| address.0).collect();
    Listen { https: addresses(written.https), http_redirect: addresses(written.http_redirect) }
}

fn tls(written: TlsSpec, paths: &Paths<'_>) -> Tls {
    let identity = written.certificate.zip(written.private_key).map(|(certificate, private_key)| PemPair {
        certificate: paths.resolve("tls.certificate", &certificate),
        private_key: paths.resolve("tls.private_key", &private_key),
    });
    Tls { identity, names: written.names.into_iter().map(|name| name.0).collect() }
}

fn auth(written: AuthSpec, paths: &Paths<'_>) -> Auth {
    Auth {
        enabled: written.enabled,
        key_file: paths.resolve("auth.key_file", &written.key_file),
        anonymous_websocket: written.anonymous_websocket,
        allowed_origins: written.allowed_origins,
        frame_ancestors: written.frame_ancestors,
        session_lifetime: written.session_lifetime,
        browser_session_lifetime: written.browser_session_lifetime,
        exempt: Exempt {
            trees: written.exempt.trees.into_iter().map(|Tree(tree)| tree).collect(),
            suffixes: written.exempt.suffixes.into_iter().map(|Suffix(suffix)| suffix).collect(),
            never: all_never(written.exempt.never),
        },
    }
}

fn proxy(written: ProxySpec) -> Proxy {
    Proxy {
        trusted: written.trusted.into_iter().map(|network| network.0).collect(),
        max_upload: written.max_upload,
        websocket_idle: Some(written.websocket_idle).filter(|idle| *idle != Span::from_secs(0)),
    }
}

fn gpu(written: GpuSpec, paths: &Paths<'_>) -> Gpu {
    Gpu {
        library: written.library.map(|library| paths.resolve("gpu.library", &library)),
        required: written.required,
        hot: written.hot.map(|Degrees(degrees)| degrees),
        vram_pressure: written.vram_pressure.0,
        foreign_processes: written.foreign_processes,
        shared_with: written.shared_with.into_iter().map(|owner| owner.0).collect(),
    }
}

fn comfyui(written: ComfyuiSpec, paths: &Paths<'_>) -> Result<Comfyui, Findings> {
    let directory = match (&written.directory, written.external) {
        (Some(directory), None) => paths.resolve("comfyui.directory", directory),
        (None, Some(Address(address))) => return Ok(Comfyui::External(address)),
        _ => {
            let message = "exactly one of comfyui.directory and comfyui.external is needed".to_owned();
            return Err(Findings(vec![Finding { place: Place::Nowhere, message }]));
        }
    };
    Ok(Comfyui::Owned(Box::new(OwnedComfyui {
        python: directory.join(&written.python.0),
        directory,
        arguments: written.arguments.into_iter().map(|argument| argument.0).collect(),
        environment: written.environment.into_iter().map(|(name, value)| (name.0, value.0)).collect(),
        port: written.port.0,
        user: written.user.0,
        groups: written.groups.into_iter().map(|group| group.0).collect(),
        stop_timeout: written.stop_timeout,
        cage: written.sandbox,
        writable: paths.resolve_all("comfyui.writable", &written.writable),
        readable: paths.resolve_all("comfyui.readable", &written.readable),
        limits: Limits { memory: written.limits.memory, cpus: written.limits.cpus, tasks: written.limits.tasks },
    })))
}
