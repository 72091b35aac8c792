//! `comfy-guard cage`, hidden: the last step on the way from the supervisor to ComfyUI. Its arguments are the supervisor's.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Exit, Failure};
use crate::config::Cage;
use crate::sandbox::comfyui::{CageError, Places, Stage, enter};

/// What `sandbox::comfyui::Stage` needs to know.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_parser = level)]
    level: Cage,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    directory: PathBuf,
    #[arg(long)]
    make: Vec<PathBuf>,
    #[arg(long)]
    provide: Vec<PathBuf>,
    #[arg(long)]
    write: Vec<PathBuf>,
    #[arg(long)]
    read: Vec<PathBuf>,
    #[arg(long)]
    execute: Vec<PathBuf>,
    /// Python, and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

fn level(name: &str) -> Result<Cage, String> {
    let levels = [Cage::Off, Cage::Standard, Cage::Strict];
    levels.into_iter().find(|level| level.name() == name).ok_or_else(|| format!("no level \"{name}\""))
}

/// Becomes ComfyUI.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let mut command = args.command.into_iter();
    let stage = Stage {
        cage: args.level,
        places: Places {
            made: args.make,
            provided: args.provide,
            written: args.write,
            read: args.read,
            executed: args.execute,
        },
        port: args.port,
        directory: args.directory,
        program: command.next().map(PathBuf::from).unwrap_or_default(),
        arguments: command.collect(),
    };
    // What is said goes the way of ComfyUI's own lines.
    let Err(error) = enter(&stage, |line| eprintln!("comfy-guard: {line}"));
    let exit = match error {
        CageError::Directory { .. } | CageError::Program(_) => Exit::Config,
        CageError::Filter(_) => Exit::Software,
        CageError::Fence(_) | CageError::Refused { .. } => Exit::System,
    };
    Err(Failure::new(exit, error))
}
