//! `comfy-guard restart`: ComfyUI, and it alone.

use clap::Args as ClapArgs;

use crate::cli::control::{self, AskError};
use crate::cli::settings::settings;
use crate::cli::{Failure, Global};
use crate::wire::control::{Answer, Request};

/// Stop and start ComfyUI, and it alone: the guard stays, guests wait, jobs that wait or run are lost
///
/// Returns when the stop is under way. ComfyUI gets comfyui.stop_timeout to end by itself. One that was given up is tried again.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {}

/// Asks the running guard.
pub(crate) fn run(global: &Global, _: &Args) -> Result<(), Failure> {
    let config = settings(global)?;
    control::block_on(async {
        match control::ask_once(&config, &Request::Restart).await? {
            Answer::Done(said) => {
                eprintln!("{said}. `comfy-guard status` tells when it serves.");
                Ok(())
            }
            other => Err(AskError::Strange(other.line()).into()),
        }
    })
}
