//! A directory of the guard's own: nobody else looks into it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use super::users::{Gid, Uid};

/// Makes sure that `path` is a directory of mode 0700 that belongs to `owner`, parents included.
///
/// An existing one that is open to others is closed. A symbolic link is refused: it would say where the keys lie.
pub(crate) fn make_private(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let directory = File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)?;
    if let Some((Uid(uid), Gid(gid))) = owner {
        fchown(&directory, Some(uid), Some(gid))?;
    }
    directory.set_permissions(Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_made_closed_and_a_link_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        make_private(&path, None).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        make_private(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(make_private(&link, None).is_err());
    }
}
