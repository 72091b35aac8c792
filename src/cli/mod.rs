//! What a person types: one file per command, one place where errors are printed, one exit path.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a person at a terminal reads these")]

mod ca;
mod failure;
mod key_input;
mod set_key;
mod settings;
mod verify_key;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    SetKey(set_key::Args),
    VerifyKey(verify_key::Args),
    Ca(ca::Args),
}

/// The program. Every command and every role of the guard comes through here.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
