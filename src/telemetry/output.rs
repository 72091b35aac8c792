//! Logging in the supervisor and the commands: to the journal with fields where stderr is the journal, else to stderr.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;

use crate::config::LogLevel;
use crate::os::systemd;
use crate::wire::line::{self, Line};

/// The target of ComfyUI's own lines, and their identifier in the journal.
pub(crate) const COMFYUI: &str = "comfyui";

/// The identifier of the guard's own lines in the journal.
pub(crate) const GUARD: &str = "comfy-guard";

/// Installs the supervisor's log.
pub(crate) fn install(level: LogLevel) {
    let installed = match journal(level) {
        Some(installed) => installed,
        None => tracing::subscriber::set_global_default(
            tracing_subscriber::registry().with(stderr_layer().with_filter(filter(level))),
        ),
    };
    if let Err(error) = installed {
        tracing::error!(%error, "the log was installed twice");
    }
}

/// The journal, with ComfyUI's lines under an identifier of their own; none where stderr is not the journal.
fn journal(level: LogLevel) -> Option<Result<(), tracing::subscriber::SetGlobalDefaultError>> {
    if !systemd::stderr_is_journal() {
        return None;
    }
    let guard = tracing_journald::layer().ok()?.with_syslog_identifier(GUARD.to_owned());
    let comfyui = tracing_journald::layer().ok()?.with_syslog_identifier(COMFYUI.to_owned());
    let subscriber = tracing_subscriber::registry()
        .with(guard.with_filter(filter_fn(|facts| facts.target() != COMFYUI)).with_filter(filter(level)))
        .with(comfyui.with_filter(filter_fn(|facts| facts.target() == COMFYUI)));
    Some(tracing::subscriber::set_global_default(subscriber))
}

fn stderr_layer<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal())
}

/// The guard's own events from `level` up; those of libraries from `warn` up.
pub(crate) fn filter(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("comfy_guard", own)
        .with_target("gateway", own)
        .with_target("sensor", own)
        .with_target(COMFYUI, LevelFilter::INFO)
}

/// tracing's level as it goes over the wire.
pub(crate) fn level_of(level: Level) -> line::Level {
    match level {
        Level::ERROR => line::Level::Error,
        Level::WARN => line::Level::Warn,
        Level::INFO => line::Level::Info,
        Level::DEBUG => line::Level::Debug,
        Level::TRACE => line::Level::Trace,
    }
}

/// Writes a role's line as an event whose target is the role's name.
macro_rules! relay {
    ($name:ident, $target:literal) => {
        /// Writes a line of this role.
        pub(crate) fn $name(line: &Line) {
            let text = line::printable(&line.text);
            match line.level {
                line::Level::Error => tracing::error!(target: $target, "{text}"),
                line::Level::Warn => tracing::warn!(target: $target, "{text}"),
                line::Level::Info => tracing::info!(target: $target, "{text}"),
                line::Level::Debug => tracing::debug!(target: $target, "{text}"),
                line::Level::Trace => tracing::trace!(target: $target, "{text}"),
            }
        }
    };
}

relay!(relay_gateway, "gateway");
relay!(relay_sensor, "sensor");
