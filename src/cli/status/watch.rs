//! `--watch`: the screen again every second, in place; whatever ends it, the terminal is as before.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::{fetch, look, render};
use crate::cli::control::{self, AskError};
use crate::cli::out::{Reader, print};
use crate::cli::{Exit, Failure};
use crate::config::Config;

const PACE: Duration = Duration::from_secs(1);
/// The other screen of the terminal (its scrollback stays as it is), no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Until Ctrl-C or SIGTERM, or until nobody reads any longer.
pub(super) fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let terminal = io::stdout().is_terminal() && !json;
    if terminal {
        print(ENTER)?;
    }
    let done = control::block_on(watch(config, json, terminal));
    if terminal {
        print(LEAVE)?;
    }
    done
}

async fn watch(config: &Config, json: bool, terminal: bool) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::System, format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = pace.tick() => {}
        }
        // A guard that hangs must not hold Ctrl-C back.
        let text = tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            text = one(config, json) => text?,
        };
        let text = if terminal { in_place(&text, height()) } else { text + if json { "" } else { "\n" } };
        if print(&text)? == Reader::Gone {
            return Ok(());
        }
    }
}

/// A guard that is being restarted is waited for; one who may not ask will not be allowed to in a second either.
async fn one(config: &Config, json: bool) -> Result<String, Failure> {
    match fetch(config).await {
        Ok(status) if json => {
            let text = serde_json::to_string(&status);
            text.map(|text| text + "\n").map_err(|error| Failure::new(Exit::Software, error))
        }
        Ok(status) => Ok(render::screen(&status, look())),
        Err(error @ (AskError::NotRunning(_) | AskError::Silent | AskError::Refused(_))) if !json => {
            Ok(format!("{error}\n"))
        }
        Err(error) => Err(error.into()),
    }
}

fn height() -> usize {
    terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0))
}

/// From the top left, each line wiped behind its end, then all below: nothing flickers. A line in the last row would scroll the rest.
fn in_place(text: &str, height: usize) -> String {
    let lines: String = text.lines().take(height.saturating_sub(1)).map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shorter_screen_wipes_the_longer_one() {
        assert_eq!(in_place("one\ntwo\n", 24), "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
    }

    #[test]
    fn a_longer_one_does_not_scroll() {
        assert_eq!(in_place("one\ntwo\nthree\n", 3), "\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J");
    }
}
