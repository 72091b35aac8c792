//! Files that must be right: opened once and judged by descriptor, replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::{self, Mode};
use nix::sys::statvfs::statvfs;
use nix::unistd::{self, UnlinkatFlags};
use zeroize::Zeroizing;

use super::users::{Gid, Uid, effective_uid};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file with content.
    Regular,
    /// A directory.
    Directory,
    /// A pipe with a name.
    Fifo,
    /// A socket, a device.
    Other,
}

/// What the system knows about an open file; true of the descriptor, whatever happens to the path meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// What it is.
    pub(crate) kind: Kind,
    /// Whose it is.
    pub(crate) owner: Uid,
    /// The permission bits (the lower twelve).
    pub(crate) mode: u32,
    /// How many names it has.
    pub(crate) links: u64,
    /// When its content was last written.
    pub(crate) changed: SystemTime,
}

/// Whether the last part of a path may be a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Certificates: tools that renew them keep a link to the newest.
    Follow,
    /// Everything else: a link would let somebody else choose the file.
    Refuse,
}

/// Opens for reading and asks the descriptor what it is.
///
/// Never waits (a FIFO without a writer opens at once, and shows itself in the facts). A refused symbolic link is `ELOOP`: see
/// [`is_symlink_refusal`].
pub(crate) fn open(path: &Path, links: Links) -> io::Result<(File, Facts)> {
    let nofollow = if links == Links::Refuse { libc::O_NOFOLLOW } else { 0 };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nofollow | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let facts = facts(&file)?;
    Ok((file, facts))
}

/// Whether [`open`] failed because the path is a symbolic link.
pub(crate) fn is_symlink_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

fn facts(file: &File) -> io::Result<Facts> {
    let metadata = file.metadata()?;
    let kind = match metadata.file_type() {
        kind if kind.is_file() => Kind::Regular,
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_fifo() => Kind::Fifo,
        _ => Kind::Other,
    };
    Ok(Facts {
        kind,
        owner: Uid(metadata.uid()),
        mode: metadata.mode() & 0o7777,
        links: metadata.nlink(),
        changed: metadata.modified()?,
    })
}

/// Reads to the end, or says `None` when there are more than `limit` bytes.
///
/// The buffer has its final size from the start, so that no reallocation leaves a copy of a secret behind.
pub(crate) fn read_at_most(from: &mut impl Read, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut content = Zeroizing::new(vec![0; limit.saturating_add(1)]);
    let mut filled = 0;
    while let Some(room) = content.get_mut(filled..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok((filled <= limit).then_some(content))
}

/// A temporary of this age was left by a writer that was killed.
const STALE: Duration = Duration::from_secs(60);

/// Replaces the content of `path`, atomically and durably: at any moment, also after a crash or a full disk, a reader finds the old
/// file or the new one, whole.
///
/// The new file has exactly this mode from its first byte on, and this owner if one is given. A symbolic link at `path` is replaced,
/// not followed.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    let (directory, name) = split(path)?;
    let directory_file = File::open(directory)?;
    sweep(directory, name);
    let temporary = format!("{}{:016x}{TEMPORARY}", temporary_prefix(name), random_number()?);

    let written = write_new(&directory_file, &temporary, content, mode, owner)
        .and_then(|()| Ok(fcntl::renameat(&directory_file, temporary.as_str(), &directory_file, name)?));
    if let Err(error) = written {
        // The first failure is the one to tell; a temporary that cannot be removed either is swept by a later write.
        unistd::unlinkat(&directory_file, temporary.as_str(), UnlinkatFlags::NoRemoveDir).ok();
        return Err(error);
    }
    // Without this the rename itself may be lost when the power fails.
    directory_file.sync_all()
}

const TEMPORARY: &str = ".new";

fn temporary_prefix(name: &str) -> String {
    format!(".{name}.")
}

fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::EINVAL)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok((directory, name))
}

fn write_new(directory: &File, name: &str, content: &[u8], mode: u32, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mode = Mode::from_bits_truncate(mode);
    let mut file = File::from(fcntl::openat(directory, name, flags, mode)?);
    if let Some((uid, gid)) = owner {
        unistd::fchown(&file, Some(unistd::Uid::from_raw(uid.0)), Some(unistd::Gid::from_raw(gid.0)))?;
    }
    // The mode given at creation was narrowed by the umask; after fchown it is set exactly.
    stat::fchmod(&file, mode)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Removes what killed writers left. Best effort: a name that is never used again harms nobody.
fn sweep(directory: &Path, name: &str) {
    let prefix = temporary_prefix(name);
    let is_ours = |candidate: &str| {
        candidate
            .strip_prefix(&prefix)
            .and_then(|rest| rest.strip_suffix(TEMPORARY))
            .is_some_and(|middle| middle.len() == 16 && middle.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let stale = || {
            entry
                .metadata()
                .and_then(|found| found.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE))
        };
        if entry.file_name().to_str().is_some_and(is_ours) && stale() {
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Random, so that a name left by a killed writer, or taken by somebody, cannot make this write fail.
fn random_number() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

/// A directory of this owner (none: of the caller) that nobody else may write to, made if it is missing (with its parents).
///
/// An existing one is taken over only while it is empty: with a mistyped path, changing owner and mode would lock a whole system out
/// of its own `/etc`.
pub(crate) fn private_directory(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC).open(path)?;
    let facts = facts(&directory)?;
    let wanted = owner.map_or_else(effective_uid, |(uid, _)| uid);
    if facts.owner == wanted && facts.mode & 0o022 == 0 {
        return Ok(());
    }
    if fs::read_dir(path)?.next().is_some() || !(facts.owner == wanted || facts.owner.is_root()) {
        return Err(io::Error::other(format!(
            "it belongs to {} with mode {:04o}, and must belong to {wanted} and be writable by nobody else: `chown {wanted} {path} && chmod 700 {path}`, or name another",
            facts.owner,
            facts.mode,
            path = path.display(),
        )));
    }
    if let Some((uid, gid)) = owner {
        unistd::fchown(&directory, Some(unistd::Uid::from_raw(uid.0)), Some(unistd::Gid::from_raw(gid.0)))?;
    }
    Ok(stat::fchmod(&directory, Mode::S_IRWXU)?)
}

/// What tells two states of a file apart. Two equal signatures: nothing was written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    /// When it was written last.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.modified;
        let seconds = Duration::from_secs(u64::try_from(seconds).ok()?);
        Some(SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
    }
}

/// The signature of the file at `path` (links followed); none: there is no such file, or it cannot be asked.
pub(crate) fn signature(path: &Path) -> Option<Signature> {
    let found = fs::metadata(path).ok()?;
    Some(Signature {
        device: found.dev(),
        inode: found.ino(),
        size: found.size(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

/// The bytes of the file system at `path` (statvfs(3)): all, and those that others than root may still write.
pub(crate) fn space(path: &Path) -> io::Result<(u64, u64)> {
    let found = statvfs(path)?;
    let block = found.fragment_size();
    Ok((found.blocks().saturating_mul(block), found.blocks_available().saturating_mul(block)))
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
