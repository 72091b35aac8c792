//! UNIX sockets with a name: bound where nobody can slip in between, a dead one's name taken over, a living one's never.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd;

use super::users::{Gid, Uid, effective_uid};

/// Owner and group read and write; nobody else connects.
const MODE: u32 = 0o660;

/// A listening socket at `path`, mode 0660 from its first moment. To be called before there are threads: the mode is made by the umask, which all
/// threads share.
///
/// # Errors
/// `AddrInUse` where somebody listens there, `AlreadyExists` where something else than a socket lies there.
pub(crate) fn listen_at(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<OwnedFd> {
    remove_dead(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = UnixAddr::new(path)?;
    let before = umask(Mode::from_bits_truncate(!MODE & 0o777));
    let bound = bind(listener.as_raw_fd(), &address);
    umask(before);
    bound?;
    if let Some((uid, gid)) = owner {
        unistd::fchownat(
            nix::fcntl::AT_FDCWD,
            path,
            Some(unistd::Uid::from_raw(uid.0)),
            Some(unistd::Gid::from_raw(gid.0)),
            nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
    }
    listen(&listener, Backlog::new(64).unwrap_or(Backlog::MAXCONN))?;
    Ok(listener)
}

/// Takes the name of a socket away on which nobody listens any more.
fn remove_dead(path: &Path) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else than a socket lies there"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("a process of the user with id {} listens there", metadata.uid()),
        )),
    }
}

/// Removes the name of a socket that this process made; one that is not there any more is no failure.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.file_type().is_socket() && metadata.uid() == effective_uid().0 => {
            std::fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is another's by now")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_closed_to_others_and_a_dead_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        let first = listen_at(&path, None).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(listen_at(&path, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = listen_at(&path, None).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        remove(&path).unwrap();
        assert!(!path.exists());
        remove(&path).unwrap();
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "kept").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert_eq!(listen_at(path, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert!(remove(path).is_err());
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }
}
