//! Sockets in the file system that only their owner can open, or its group too (unix(7)).

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd;

use super::users::{Gid, Uid};

/// Connections that the kernel holds for a listener that is busy.
const WAITING: i32 = 16;

/// A listening stream socket at `path`, mode 0600 from its first moment, non-blocking and close-on-exec. A socket that an earlier
/// process left there is replaced; the caller sees to it that no living one is.
///
/// Call while this process has one thread: the umask is every thread's.
///
/// # Errors
/// `AlreadyExists` when something other than a socket stands there; whatever the kernel says, `ENAMETOOLONG` from 108 bytes on.
pub(crate) fn listen_private(path: &Path) -> io::Result<UnixListener> {
    remove_socket(path)?;
    let socket = bind_at(path, 0o177)?;
    listen(&socket, Backlog::new(WAITING).unwrap_or(Backlog::MAXCONN))?;
    Ok(UnixListener::from(socket))
}

/// The same with mode 0660 and another owner, where one is given. A living process's socket is never replaced.
///
/// # Errors
/// As for [`listen_private`], and `AddrInUse` where somebody listens there.
pub(crate) fn listen_with_group(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<OwnedFd> {
    match UnixStream::connect(path) {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        // Nobody listens there any more, or something else than a socket lies there, which the removal says.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => remove_socket(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = bind_at(path, 0o117)?;
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (unistd::Uid::from_raw(uid.0), unistd::Gid::from_raw(gid.0));
        unistd::fchownat(AT_FDCWD, path, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    listen(&socket, Backlog::new(WAITING).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

/// A bound socket, closed to who is in `mask` from its first moment.
fn bind_at(path: &Path, mask: u32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    let before = umask(Mode::from_bits_truncate(mask));
    let bound = bind(socket.as_raw_fd(), &address);
    umask(before);
    bound?;
    Ok(socket)
}

/// Removes a socket; that there is none is no error.
pub(crate) fn remove_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => fs::remove_file(path),
        Ok(_) => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket stands there; remove it"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_the_owners_alone_and_the_umask_is_as_before() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control");
        let before = umask(Mode::from_bits_truncate(0o022));
        let listener = listen_private(&path).unwrap();
        assert_eq!(umask(before), Mode::from_bits_truncate(0o022));
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        UnixStream::connect(&path).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn what_a_dead_process_left_is_replaced_and_nothing_else_is() {
        let place = tempfile::tempdir().unwrap();
        let (path, file) = (place.path().join("control"), place.path().join("file"));
        drop(listen_private(&path).unwrap());
        assert!(UnixStream::connect(&path).is_err() && path.exists(), "it is a dead one");
        let listener = listen_private(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(listener);
        remove_socket(&path).unwrap();
        remove_socket(&path).unwrap();
        fs::write(&file, "somebody's").unwrap();
        assert_eq!(listen_private(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's");
    }

    #[test]
    fn one_for_the_group_takes_no_living_ones_place() {
        let place = tempfile::tempdir().unwrap();
        let (path, file, link) = (place.path().join("metrics"), place.path().join("file"), place.path().join("link"));
        let first = listen_with_group(&path, None).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        assert_eq!(listen_with_group(&path, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = listen_with_group(&path, None).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(second);
        fs::write(&file, "somebody's").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert_eq!(listen_with_group(path, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's");
    }
}
