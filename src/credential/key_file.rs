//! The key file: read only when nobody but the guard can have touched it, replaced whole.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::phc::{HashError, Phc, PhcError};
use super::strength::{self, Weakness};
use crate::os::files::{self, Facts, Kind, Links};
use crate::os::users::{Gid, Uid, effective_uid};
use crate::secret::Secret;

/// The greatest size of a key file, in bytes. A PHC string has about a hundred.
const LIMIT: usize = 4096;

/// Permission bits that a key file may not have: only its owner reads it.
const NOT_OURS: u32 = 0o077;
/// The same for a credential from the service manager (systemd.exec(5), `LoadCredential=`). Its folder is closed to others and the file
/// itself says 0440, because the group bits show the mask of an access list.
const NOT_THE_MANAGERS: u32 = 0o337;

/// What `--api-key-file` holds: a hash, or a key that was hashed in memory.
#[derive(Debug, Clone)]
pub(crate) struct GivenKey {
    /// The key's hash.
    pub(crate) phc: Phc,
    /// A plain key that works but can be guessed: worth a warning.
    pub(crate) weakness: Option<Weakness>,
}

/// Why a key file is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// Nothing is there.
    #[error("there is no key file {path}; set a key with `comfy-guard set-key`", path = .path.display())]
    Missing { path: PathBuf },
    /// It cannot be opened or read.
    #[error("cannot read the key file {path}: {source}", path = .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It, or its folder, is closed to the guard.
    #[error("the key file {path} may not be read by {reader}: it must belong to {expected} (`chown {expected} {path}`), in a folder that {reader} may enter; or set the key anew: `comfy-guard set-key`", path = .path.display())]
    Forbidden { path: PathBuf, reader: Uid, expected: Uid },
    /// Somebody else could choose the file behind it.
    #[error("the key file {path} is a symbolic link; remove it and set the key anew: `rm {path} && comfy-guard set-key`", path = .path.display())]
    Symlink { path: PathBuf },
    /// A directory, a FIFO, a device.
    #[error("the key file {path} is not a regular file but {found:?}; remove it and run `comfy-guard set-key`", path = .path.display())]
    NotRegular { path: PathBuf, found: Kind },
    /// Another name of the same file stands where others may hold on to it.
    #[error("the key file {path} has {links} names (hard links); remove it and set the key anew: `rm {path} && comfy-guard set-key`", path = .path.display())]
    HardLinks { path: PathBuf, links: u64 },
    /// Whoever owns it could have written it.
    #[error("the key file {path} belongs to {found}; it must belong to {expected}: `chown {expected} {path}`", path = .path.display())]
    WrongOwner { path: PathBuf, found: Uid, expected: Uid },
    /// Group or others may read, write or execute it.
    #[error("the key file {path} has mode {mode:04o}, which opens it to group or others; `chmod 600 {path}` mends it (if somebody else may have read it, set a new key: `comfy-guard set-key`)", path = .path.display())]
    OpenToOthers { path: PathBuf, mode: u32 },
    /// No byte, or only white space.
    #[error("the key file {path} is empty; set a key with `comfy-guard set-key`", path = .path.display())]
    Empty { path: PathBuf },
    /// Over 4 KiB.
    #[error("the key file {path} is larger than {LIMIT} bytes, so it is not a key file; set a key with `comfy-guard set-key`", path = .path.display())]
    TooLarge { path: PathBuf },
    /// More than one.
    #[error("the key file {path} has more than one line; set the key anew with `comfy-guard set-key`", path = .path.display())]
    ManyLines { path: PathBuf },
    /// Not what `set-key` writes. The content is not shown: it may be a key.
    #[error("the key file {path} does not hold a hash of a key ({source}); set the key with `comfy-guard set-key`", path = .path.display())]
    NotPhc { path: PathBuf, source: PhcError },
    /// A plain key that can never work.
    #[error("the key in {path} cannot be used: {source}", path = .path.display())]
    Unusable { path: PathBuf, source: Weakness },
    /// argon2 failed.
    #[error("the key in {path} was not hashed: {source}", path = .path.display())]
    Hash { path: PathBuf, source: HashError },
    /// The new file could not be put in place; the old one is unharmed.
    #[error("cannot write the key file {path}: {source}; nothing was changed", path = .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

/// Reads the hash that `set-key` wrote. The last of `allowed_owners` is the one that a cure names: root comes before it.
pub(crate) fn read(path: &Path, allowed_owners: &[Uid]) -> Result<Phc, KeyFileError> {
    parse(path, &read_line(path, allowed_owners, NOT_OURS)?)
}

/// Reads a file named on the command line: a hash, or a plain key, which is hashed in memory.
///
/// What begins like a hash has to be a whole one: half a hash is never taken for a key.
pub(crate) fn read_plain_or_phc(path: &Path, allowed_owners: &[Uid]) -> Result<GivenKey, KeyFileError> {
    judge_plain_or_phc(path, &read_line(path, allowed_owners, NOT_OURS)?)
}

/// Reads a credential that the service manager put in place: a hash, or a plain key.
pub(crate) fn read_credential(path: &Path, allowed_owners: &[Uid]) -> Result<GivenKey, KeyFileError> {
    judge_plain_or_phc(path, &read_line(path, allowed_owners, NOT_THE_MANAGERS)?)
}

fn judge_plain_or_phc(path: &Path, line: &[u8]) -> Result<GivenKey, KeyFileError> {
    let (phc, weakness) = if line.starts_with(b"$argon2") {
        (parse(path, line)?, None)
    } else {
        let weakness = match strength::judge(line) {
            Err(source) if !source.may_be_allowed() => {
                return Err(KeyFileError::Unusable { path: path.to_owned(), source });
            }
            judged => judged.err(),
        };
        let hashed = Phc::hash(&Secret::new(line.to_vec()));
        (hashed.map_err(|source| KeyFileError::Hash { path: path.to_owned(), source })?, weakness)
    };
    Ok(GivenKey { phc, weakness })
}

/// Puts a new hash in place, mode 0600, whole or not at all.
pub(crate) fn write(path: &Path, phc: &Phc, owner: Option<(Uid, Gid)>) -> Result<(), KeyFileError> {
    let content = Zeroizing::new(format!("{}\n", phc.expose()));
    files::replace(path, content.as_bytes(), 0o600, owner)
        .map_err(|source| KeyFileError::Unwritable { path: path.to_owned(), source })
}

/// Cuts one line end, LF or CRLF, as `echo` and editors leave it.
pub(crate) fn without_line_end(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// The one line of a file that was judged and read by the same descriptor: swapping the path in between changes nothing.
fn read_line(path: &Path, allowed_owners: &[Uid], forbidden: u32) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let path_owned = || path.to_owned();
    let unreadable = |source| explain(path, allowed_owners, source);
    let (mut file, facts) = files::open(path, Links::Refuse).map_err(unreadable)?;
    admit(path, &facts, allowed_owners, forbidden)?;
    let content = files::read_at_most(&mut file, LIMIT).map_err(unreadable)?;
    let content = content.ok_or_else(|| KeyFileError::TooLarge { path: path_owned() })?;
    let line = without_line_end(&content);
    if line.iter().all(u8::is_ascii_whitespace) {
        return Err(KeyFileError::Empty { path: path_owned() });
    }
    if line.contains(&b'\n') || line.contains(&b'\r') {
        return Err(KeyFileError::ManyLines { path: path_owned() });
    }
    Ok(Zeroizing::new(line.to_vec()))
}

/// Why a file cannot be opened or read.
fn explain(path: &Path, allowed_owners: &[Uid], source: io::Error) -> KeyFileError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => KeyFileError::Missing { path },
        io::ErrorKind::PermissionDenied => {
            KeyFileError::Forbidden { path, reader: effective_uid(), expected: expected(allowed_owners) }
        }
        _ if files::is_symlink_refusal(&source) => KeyFileError::Symlink { path },
        _ => KeyFileError::Unreadable { path, source },
    }
}

/// Whether a file of these facts may be believed.
fn admit(path: &Path, facts: &Facts, allowed_owners: &[Uid], forbidden: u32) -> Result<(), KeyFileError> {
    let path = || path.to_owned();
    if facts.kind != Kind::Regular {
        return Err(KeyFileError::NotRegular { path: path(), found: facts.kind });
    }
    if facts.links > 1 {
        return Err(KeyFileError::HardLinks { path: path(), links: facts.links });
    }
    if !allowed_owners.contains(&facts.owner) {
        return Err(KeyFileError::WrongOwner { path: path(), found: facts.owner, expected: expected(allowed_owners) });
    }
    if facts.mode & forbidden != 0 {
        return Err(KeyFileError::OpenToOthers { path: path(), mode: facts.mode });
    }
    Ok(())
}

/// Whose it should be: see [`read`].
fn expected(allowed_owners: &[Uid]) -> Uid {
    allowed_owners.last().copied().unwrap_or(Uid::ROOT)
}

fn parse(path: &Path, line: &[u8]) -> Result<Phc, KeyFileError> {
    let not_phc = |source| KeyFileError::NotPhc { path: path.to_owned(), source };
    let text = std::str::from_utf8(line).map_err(|_| not_phc(PhcError::Malformed))?;
    Phc::parse(text).map_err(not_phc)
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
