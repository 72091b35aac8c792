//! A lock between processes, held on a file that exists for nothing else.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd;

use super::users::{Gid, Uid};

/// Between two tries. A holder reads and writes one small file, which takes a few milliseconds.
const PAUSE: Duration = Duration::from_millis(5);

/// Held until it is dropped; the kernel lets go of it too when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Flock<File>,
}

/// Takes the lock (`flock(2)`, exclusive) on the file at `path`, which is made if it is missing, mode 0600, of this owner if one
/// is given.
///
/// Tries for as long as `patience` and never longer: a holder that was stopped must not stop this process as well.
///
/// # Errors
/// `WouldBlock` when somebody else held it all the time; `ELOOP` when a symbolic link stands there.
pub(crate) fn take(path: &Path, owner: Option<(Uid, Gid)>, patience: Duration) -> io::Result<Lock> {
    let mut file = open(path, owner)?;
    let started = Instant::now();
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(Lock { _held: held }),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) if started.elapsed() < patience => file,
            Err((_, errno)) => return Err(errno.into()),
        };
        #[allow(
            clippy::disallowed_methods,
            reason = "a second at most, and only while a person's command holds the lock"
        )]
        sleep(PAUSE);
    }
}

fn open(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<File> {
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY);
        options
    };
    match options().create_new(true).open(path) {
        Ok(made) => {
            // Only a file that was made here is given away: root handing over whatever stands at a path of the service user
            // would hand that user any file on the machine.
            if let Some((uid, gid)) = owner {
                unistd::fchown(&made, Some(unistd::Uid::from_raw(uid.0)), Some(unistd::Gid::from_raw(gid.0)))?;
            }
            Ok(made)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options().open(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn one_at_a_time_and_nobody_waits_for_ever() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        let held = take(&path, None, SHORT).unwrap();
        let started = Instant::now();
        assert_eq!(take(&path, None, SHORT).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(started.elapsed() >= SHORT && started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || take(&path, None, Duration::from_secs(20)).map(drop)
        });
        sleep(SHORT);
        drop(held);
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn the_file_is_private_and_a_link_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        take(&path, None, SHORT).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let link = place.path().join("link");
        std::os::unix::fs::symlink(place.path().join("elsewhere"), &link).unwrap();
        assert_eq!(take(&link, None, SHORT).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert!(!place.path().join("elsewhere").exists());
    }

    #[test]
    fn only_a_file_made_here_changes_its_owner() {
        if !super::super::users::effective_uid().is_root() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let (made, found) = (place.path().join("made"), place.path().join("found"));
        std::fs::write(&found, "").unwrap();
        for path in [&made, &found] {
            take(path, Some((Uid(4242), Gid(4242))), SHORT).unwrap();
        }
        let owner = |path| std::fs::metadata(path).unwrap().uid();
        assert_eq!((owner(&made), owner(&found)), (4242, 0));
    }
}
