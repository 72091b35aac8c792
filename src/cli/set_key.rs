//! `comfy-guard set-key`: takes a key and stores its hash.

use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use clap::Args as ClapArgs;
use zeroize::Zeroizing;

use crate::cli::key_input::{Asking, KeyInput};
use crate::cli::settings::settings;
use crate::cli::{Exit, Failure, Global};
use crate::credential::key_file::{self, KeyFileError};
use crate::credential::phc::Phc;
use crate::credential::strength;
use crate::os::users::{self, Gid, Uid, UserError};
use crate::secret::Secret;

/// The length of a generated key, in bytes before it is written in hex.
const GENERATED_BYTES: usize = 32;

/// Set the API key (only a hash of it is stored)
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    input: KeyInput,
    /// Make a random key of 256 bits and print it, once, on standard output
    #[arg(long, group = "source")]
    generate: bool,
    /// Take a key that is short or can be guessed
    #[arg(long)]
    allow_weak: bool,
}

/// Carries the command out.
pub(crate) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let config = settings(global)?;
    let path = &config.auth.key_file;
    let key = if args.generate { generate()? } else { args.input.read(Asking::Twice)? };
    judge(&key, args.allow_weak)?;
    let phc = Phc::hash(&key).map_err(|error| Failure::new(Exit::System, error))?;

    make_directory(path)?;
    let owner = owner(&config.service.user)?;
    key_file::write(path, &phc, owner).map_err(|error| cannot_write(&error))?;
    if args.generate {
        print_once(&key)?;
    }
    tell(path, &key, args);
    Ok(())
}

/// Hexadecimal, as `openssl rand -hex 32` prints: base64 has characters that break clients which put the key into a URL.
fn generate() -> Result<Secret<Vec<u8>>, Failure> {
    let mut random = Zeroizing::new([0u8; GENERATED_BYTES]);
    getrandom::fill(random.as_mut_slice())
        .map_err(|error| Failure::new(Exit::System, format!("no random bytes from the system: {error}")))?;
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).map_or(b'0', |digit| digit as u8);
    Ok(Secret::new(random.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()))
}

fn judge(key: &Secret<Vec<u8>>, allow_weak: bool) -> Result<(), Failure> {
    match strength::judge(key.expose()) {
        Ok(()) => Ok(()),
        Err(weakness) if !weakness.may_be_allowed() => {
            Err(Failure::new(Exit::Data, format!("{weakness}; nothing was changed")))
        }
        Err(weakness) if allow_weak => {
            eprintln!("warning: {weakness}");
            Ok(())
        }
        Err(weakness) => Err(Failure::new(
            Exit::Data,
            format!("{weakness}; nothing was changed (--generate makes a good key, --allow-weak takes this one)"),
        )),
    }
}

/// Whose the file shall be: run by root, the guard's own user; else the caller.
fn owner(service_user: &str) -> Result<Option<(Uid, Gid)>, Failure> {
    if !users::effective_uid().is_root() {
        return Ok(None);
    }
    match users::lookup_user(service_user) {
        Ok(account) => Ok(Some((account.uid, account.gid))),
        Err(UserError::NoUser { name }) => {
            eprintln!("note: there is no user \"{name}\" (service.user), so the key file belongs to root");
            Ok(None)
        }
        Err(error) => Err(Failure::new(Exit::System, error)),
    }
}

/// Makes the folder of the key file, but not the folders above it: a path that was mistyped shall fail.
fn make_directory(key_file: &Path) -> Result<(), Failure> {
    let Some(directory) = key_file.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    match std::fs::DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::new(write_exit(&error), format!("cannot make the directory {}: {error}", directory.display())))
        }
        _ => Ok(()),
    }
}

fn cannot_write(error: &KeyFileError) -> Failure {
    let exit = match error {
        KeyFileError::Unwritable { source, .. } => write_exit(source),
        _ => Exit::CannotCreate,
    };
    Failure::new(exit, error)
}

fn write_exit(error: &io::Error) -> Exit {
    if error.kind() == io::ErrorKind::PermissionDenied { Exit::NoPermission } else { Exit::CannotCreate }
}

/// After the hash is stored: a key that is printed is one that works.
fn print_once(key: &Secret<Vec<u8>>) -> Result<(), Failure> {
    let mut line = Zeroizing::new(key.expose().clone());
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).map_err(|error| {
        Failure::new(Exit::CannotCreate, format!("the new key is set, but cannot be printed: {error}; set another"))
    })
}

fn tell(path: &Path, key: &Secret<Vec<u8>>, args: &Args) {
    eprintln!("The key's hash is in {}. A running guard takes the new key by itself within seconds.", path.display());
    if args.generate {
        eprintln!("The key stands on standard output and nowhere else: keep it in a password manager.");
    } else if strength::needs_escapes_in_url(key.expose()) {
        eprintln!("hint: in a URL (?api_key=) write this key percent-encoded: %2B for +, %2F for /, %3D for =.");
    }
    if let Some(file) = args.input.from_file.as_ref().filter(|file| file.is_file()) {
        eprintln!("hint: {} still holds the key itself; remove it when it is not needed.", file.display());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_generated_key_is_64_hex_digits_and_strong() {
        let key = generate().unwrap();
        assert_eq!(key.expose().len(), 64);
        assert!(key.expose().iter().all(|byte| b"0123456789abcdef".contains(byte)));
        assert!(judge(&key, false).is_ok());
        assert_ne!(key, generate().unwrap());
    }

    #[test]
    fn a_weak_key_needs_to_be_allowed_and_an_impossible_one_cannot_be() {
        let judged =
            |key: &str, allow| judge(&Secret::new(key.as_bytes().to_vec()), allow).map_err(|failure| failure.exit);
        assert_eq!(judged("changeme", false), Err(Exit::Data));
        assert_eq!(judged("changeme", true), Ok(()));
        for impossible in ["", "two\nlines", " space", "$argon2id$v=19$"] {
            assert_eq!(judged(impossible, true), Err(Exit::Data), "{impossible:?}");
        }
    }

    #[test]
    fn only_the_last_folder_is_made() {
        let place = tempfile::tempdir().unwrap();
        assert!(make_directory(&place.path().join("etc/key")).is_ok());
        assert!(place.path().join("etc").is_dir());
        assert_eq!(make_directory(&place.path().join("a/b/key")).unwrap_err().exit, Exit::CannotCreate);
    }
}
