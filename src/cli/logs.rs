//! `comfy-guard logs`: what guard and ComfyUI say, from the journal where it goes there, else from the running guard.

use std::ffi::OsString;

use clap::Args as ClapArgs;

use crate::cli::control::{self, AskError};
use crate::cli::out::{Reader, print};
use crate::cli::settings::settings;
use crate::cli::{Exit, Failure, Global};
use crate::os::process;
use crate::os::systemd;
use crate::telemetry::output::{COMFYUI, GUARD};
use crate::wire::control::{Answer, Request};

/// The package's unit, where no guard runs that could name its own.
const UNIT: &str = "comfy-guard.service";

/// Show what guard and ComfyUI wrote last
///
/// Where the guard logs to the journal this becomes `journalctl`. Else (a guard that was started in a terminal) it shows ComfyUI's
/// lines, of which the guard keeps the last 500; the guard's own stand where it was started.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Go on with each new line, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// So many lines
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 50)]
    lines: usize,
    /// ComfyUI's only
    #[arg(long, group = "whose")]
    comfyui: bool,
    /// The guard's only
    #[arg(long, group = "whose")]
    guard: bool,
}

/// Shows them.
pub(crate) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let config = settings(global)?;
    let request = Request::Logs { lines: args.lines, follow: args.follow };
    let shown = control::block_on(async {
        let mut answers = match control::ask(&config, &request).await {
            Ok(answers) => answers,
            // What it said before it ended is in the journal still.
            Err(AskError::NotRunning(_)) if systemd::manages_this_machine() => {
                eprintln!("No guard runs. From the journal of {UNIT}:");
                return Ok(Some(UNIT.to_owned()));
            }
            Err(error) => return Err(error.into()),
        };
        show(&mut answers, args).await
    })?;
    match shown {
        Some(unit) => become_journalctl(&unit, args),
        None => Ok(()),
    }
}

/// Prints the lines; the unit (empty: unknown) where they are in the journal instead.
async fn show(answers: &mut control::Answers, args: &Args) -> Result<Option<String>, Failure> {
    let mut first = true;
    while let Some(answer) = answers.next(None).await? {
        if first && !matches!(answer, Answer::Journal { .. }) {
            whose(args)?;
        }
        first = false;
        let reader = match answer {
            Answer::Journal { unit } => return Ok(Some(unit.unwrap_or_default())),
            Answer::Line(line) => print(&format!("{line}\n"))?,
            Answer::Lost(count) => {
                eprintln!("({count} lines are missing here: they came faster than they were read)");
                Reader::Listens
            }
            other => return Err(AskError::Strange(other.line()).into()),
        };
        if reader == Reader::Gone {
            return Ok(None);
        }
    }
    if first {
        whose(args)?;
    }
    if args.follow {
        eprintln!("The guard has ended.");
    }
    Ok(None)
}

/// Without a journal the guard's own lines are nowhere but on its stderr.
fn whose(args: &Args) -> Result<(), Failure> {
    const ELSEWHERE: &str =
        "this guard does not log to the journal; its own lines are on the stderr of where it was started";
    if args.guard {
        return Err(Failure::new(Exit::Unavailable, ELSEWHERE));
    }
    if !args.comfyui {
        eprintln!("ComfyUI's lines ({ELSEWHERE}):");
    }
    Ok(())
}

fn become_journalctl(unit: &str, args: &Args) -> Result<(), Failure> {
    let error = process::become_program("journalctl", &journalctl(unit, args));
    Err(Failure::new(Exit::Unavailable, format!("journalctl cannot be started: {error}; the log is in the journal")))
}

/// What journalctl(1) is told.
fn journalctl(unit: &str, args: &Args) -> Vec<OsString> {
    let mut line = vec!["--no-pager".to_owned(), "-n".to_owned(), args.lines.to_string()];
    if args.follow {
        line.push("-f".to_owned());
    }
    if !unit.is_empty() {
        line.extend(["-u".to_owned(), unit.to_owned()]);
    }
    // With a unit and nobody asked for, also what the service manager says of it: that it was started, or that it failed.
    let whose: &[&str] = match (args.comfyui, args.guard) {
        (true, _) => &[COMFYUI],
        (_, true) => &[GUARD],
        _ if unit.is_empty() => &[GUARD, COMFYUI],
        _ => &[],
    };
    line.extend(whose.iter().flat_map(|name| ["-t".to_owned(), (*name).to_owned()]));
    line.into_iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journalctl_is_told_what_was_asked() {
        let args = |follow, comfyui, guard| Args { follow, lines: 7, comfyui, guard };
        let table = [
            ("g.service", args(false, false, false), "--no-pager -n 7 -u g.service"),
            ("g.service", args(true, true, false), "--no-pager -n 7 -f -u g.service -t comfyui"),
            ("g.service", args(false, false, true), "--no-pager -n 7 -u g.service -t comfy-guard"),
            ("", args(false, false, false), "--no-pager -n 7 -t comfy-guard -t comfyui"),
            ("", args(false, true, false), "--no-pager -n 7 -t comfyui"),
        ];
        for (unit, args, line) in table {
            let told: Vec<String> =
                journalctl(unit, &args).into_iter().filter_map(|one| one.into_string().ok()).collect();
            assert_eq!(told.join(" "), line);
        }
    }
}
