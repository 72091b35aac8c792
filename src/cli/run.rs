//! `comfy-guard run`: the daemon, in the foreground.

use std::path::PathBuf;

use super::{Exit, Failure, Global};
use crate::config::{self, Sources};
use crate::credential::phc::{HashError, Phc};
use crate::os::systemd;
use crate::secret::Secret;
use crate::supervisor::{self, KeySource, Orders, StartError};
use crate::telemetry::output;

const KEY_VARIABLE: &str = "COMFYUI_API_KEY";
/// The name under which the service manager may give the key: images are provisioned with it before anybody can log in.
const CREDENTIAL: &str = "comfy-guard.key";

/// Start ComfyUI and guard it, in the foreground, until a signal ends it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take the key from this file: a plain key, or the hash that `set-key` writes. Mode 0600
    #[arg(long, value_name = "FILE", group = "key")]
    api_key_file: Option<PathBuf>,
    /// Take this key. Other users of this machine can read it in the list of processes: prefer a file
    #[arg(long, value_name = "KEY", group = "key")]
    api_key: Option<String>,
    /// Let everybody in. Refused on any address but loopback
    #[arg(long, group = "key")]
    no_auth: bool,
}

/// Runs until a signal ends it.
pub(crate) fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let mut sources = Sources::of_process(global.config.clone(), Vec::new());
    if args.no_auth {
        sources.overrides.push(("auth.enabled".to_owned(), toml::Value::Boolean(false)));
    }
    let load = move || config::load(&sources).map(|loaded| loaded.config);
    let config = load().map_err(|findings| Failure::new(Exit::Config, findings))?;
    output::install(config.log.level);
    if !config.auth.enabled {
        tracing::warn!("authentication is off: whoever reaches the address runs code on this machine");
    }
    let key_source = key_source(args)?;
    let orders = Orders { config, load: Box::new(load), key_source };
    supervisor::run(orders).map_err(|error| Failure::new(exit_of(&error), &error))
}

/// The key's place: what the command line says, then the environment, then the configuration.
fn key_source(args: Args) -> Result<KeySource, Failure> {
    if let Some(path) = args.api_key_file {
        return Ok(KeySource::File(path));
    }
    if let Some(key) = args.api_key {
        tracing::warn!(
            "--api-key shows the key to every user of this machine in the list of processes; prefer set-key"
        );
        return given(key.into_bytes(), "--api-key");
    }
    match std::env::var_os(KEY_VARIABLE) {
        Some(key) => given(std::os::unix::ffi::OsStringExt::into_vec(key), KEY_VARIABLE),
        None => Ok(KeySource::Configured { credential: systemd::credential(CREDENTIAL) }),
    }
}

fn given(key: Vec<u8>, place: &str) -> Result<KeySource, Failure> {
    let hashed = Phc::hash(&Secret::new(key));
    hashed.map(KeySource::Given).map_err(|error: HashError| Failure::new(Exit::Data, format!("{place}: {error}")))
}

fn exit_of(error: &StartError) -> Exit {
    match error {
        StartError::User(_) => Exit::NoUser,
        StartError::Privilege(_) => Exit::NoPermission,
        StartError::Sandbox(_)
        | StartError::Listen { .. }
        | StartError::ListenLocally { .. }
        | StartError::PassedSockets(_)
        | StartError::System { .. } => Exit::System,
        StartError::StateInUse { .. } => Exit::Unavailable,
        StartError::SocketName(_) | StartError::OpenMetrics(_) => Exit::Config,
        StartError::State { .. } => Exit::CannotCreate,
        StartError::Identity(_) | StartError::Authority(_) | StartError::Key(_) => Exit::Data,
    }
}
