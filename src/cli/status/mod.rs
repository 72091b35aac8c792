//! `comfy-guard status`: one screen that answers "is it well, and if not, why".

mod render;
mod watch;
mod words;

use std::io::{self, IsTerminal};

use clap::Args as ClapArgs;

use crate::cli::control::{self, AskError};
use crate::cli::out::print;
use crate::cli::settings::settings;
use crate::cli::{Exit, Failure, Global};
use crate::config::Config;
use crate::telemetry::status::Status;
use crate::wire::control::{Answer, Request};
pub(crate) use words::{Look, Tone, size};

/// Show whether all is well and, if not, why and what to do (exit 0: guests are served, 1: they are not)
///
/// 69: no guard runs. 77: you may not ask; only root and the guard's own user may.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// As JSON: sizes in bytes, times in seconds since 1970
    #[arg(long)]
    json: bool,
    /// Again every second, until Ctrl-C. With --json: one line each
    #[arg(long)]
    watch: bool,
}

/// Asks the running guard and shows what it says.
pub(crate) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let config = settings(global)?;
    if args.watch {
        return watch::run(&config, args.json);
    }
    let status = control::block_on(async { Ok(fetch(&config).await?) })?;
    let text = if args.json { pretty(&status)? } else { render::screen(&status, look()) };
    print(&text)?;
    if status.healthy { Ok(()) } else { Err(Failure::silent(Exit::No)) }
}

/// The document.
pub(crate) async fn fetch(config: &Config) -> Result<Status, AskError> {
    match control::ask_once(config, &Request::Status).await? {
        Answer::Status(status) => serde_json::from_value(status).map_err(|error| AskError::Strange(error.to_string())),
        other => Err(AskError::Strange(other.line())),
    }
}

fn pretty(status: &Status) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(status);
    text.map(|text| text + "\n")
        .map_err(|error| Failure::new(Exit::Software, format!("the status cannot be written as JSON: {error}")))
}

/// Of the terminal, if stdout is one; <https://no-color.org> is heard.
pub(crate) fn look() -> Look {
    let terminal = io::stdout().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    let width = terminal_size::terminal_size().map_or(Look::WIDTH, |(width, _)| usize::from(width.0));
    Look { width, colour: terminal && !plain && !dumb }
}
