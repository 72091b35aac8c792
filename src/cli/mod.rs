//! What a person types: one file per command, one place where errors are printed, one exit path.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a person at a terminal reads these")]

mod ca;
mod cage;
mod check;
mod control;
mod doctor;
mod documents;
mod failure;
mod key_input;
mod logs;
mod out;
mod restart;
mod run;
mod sessions;
mod set_key;
mod settings;
mod status;
mod verify_key;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{gateway, sensor};
pub(crate) use failure::{Exit, Failure};

/// Guards a ComfyUI: TLS, a key, and its process.
#[derive(Debug, Parser)]
#[command(name = "comfy-guard", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Read this file instead of /etc/comfy-guard/config.toml (conf.d beside it is read too)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    SetKey(set_key::Args),
    VerifyKey(verify_key::Args),
    /// Check the configuration and what it names; start nothing
    Check,
    Status(status::Args),
    Logs(logs::Args),
    Restart(restart::Args),
    Doctor(doctor::Args),
    Ca(ca::Args),
    Sessions(sessions::Args),
    #[command(hide = true)]
    Documents(documents::Args),
    /// A role of `run`; started by the supervisor only
    #[command(hide = true)]
    Gateway,
    /// A role of `run`; started by the supervisor only
    #[command(hide = true)]
    Sensor,
    /// The last step before ComfyUI; started by the supervisor only
    #[command(hide = true)]
    Cage(cage::Args),
}

/// The program. Every command and every role of the guard comes through here.
pub fn main() -> ExitCode {
    let Arguments { global, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    let done = match command {
        Command::Run(args) => run::run(&global, args),
        Command::SetKey(args) => set_key::run(&global, &args),
        Command::VerifyKey(args) => verify_key::run(&global, &args),
        Command::Check => check::run(&global),
        Command::Status(args) => status::run(&global, &args),
        Command::Logs(args) => logs::run(&global, &args),
        Command::Restart(args) => restart::run(&global, &args),
        Command::Doctor(args) => doctor::run(&global, &args),
        Command::Ca(args) => ca::run(&global, &args),
        Command::Sessions(args) => sessions::run(&global, &args),
        Command::Documents(args) => documents::run(&args),
        Command::Gateway => gateway::run().map_err(|error| Failure::new(Exit::Software, error)),
        Command::Cage(args) => cage::run(args),
        Command::Sensor => sensor::run().map_err(|error| Failure::new(Exit::Software, error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("comfy-guard: {}", failure.message);
            }
            failure.exit.into()
        }
    }
}

/// Help and version are no misuse; the rest has the code of sysexits.h instead of clap's 2.
fn misused(error: &clap::Error) -> ExitCode {
    if let Err(unprinted) = error.print() {
        return Failure::new(Exit::System, unprinted).exit.into();
    }
    if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}
