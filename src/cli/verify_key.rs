//! `comfy-guard verify-key`: says whether a key is the right one.

use std::io;

use clap::Args as ClapArgs;

use crate::cli::key_input::{Asking, KeyInput};
use crate::cli::settings::settings;
use crate::cli::{Exit, Failure, Global};
use crate::config::Config;
use crate::credential::key_file::{self, KeyFileError};
use crate::os::users::{self, Uid};

/// Say whether a key is the right one (exit 0: it is, 1: it is not)
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    input: KeyInput,
}

/// Carries the command out.
pub(crate) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let config = settings(global)?;
    let stored = key_file::read(&config.auth.key_file, &owners(&config))
        .map_err(|error| Failure::new(exit_of(&error), error))?;
    let key = args.input.read(Asking::Once)?;
    if !stored.verify(&key) {
        return Err(Failure::new(Exit::No, "this is not the key"));
    }
    eprintln!("This is the key.");
    Ok(())
}

/// Those that the guard itself believes: root, itself, its user where there is one.
pub(super) fn owners(config: &Config) -> Vec<Uid> {
    let caller = users::effective_uid();
    let service = users::lookup_user(&config.service.user).ok().filter(|_| caller.is_root());
    [Uid::ROOT, caller].into_iter().chain(service.map(|account| account.uid)).collect()
}

fn exit_of(error: &KeyFileError) -> Exit {
    match error {
        KeyFileError::Missing { .. } => Exit::NoInput,
        KeyFileError::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            Exit::NoPermission
        }
        KeyFileError::Unreadable { .. } => Exit::NoInput,
        _ => Exit::Config,
    }
}
