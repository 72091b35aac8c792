//! Which library is loaded: by full path, and only one that root alone could have put there.

use std::io;
use std::path::{Path, PathBuf};

use crate::os::files::{self, Kind, Links};

/// Where distributions and container runtimes put it.
const PLACES: &[&str] = &[
    #[cfg(target_arch = "x86_64")]
    "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    #[cfg(target_arch = "aarch64")]
    "/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/usr/lib64/libnvidia-ml.so.1",
    "/usr/lib/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
];

/// Why no library is loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LibraryError {
    /// Nothing is there.
    #[error("there is no NVIDIA library (libnvidia-ml.so.1)")]
    Missing,
    /// It cannot be opened.
    #[error("{path} cannot be read: {source}", path = .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Somebody but root could have written it, and loading it is running it.
    #[error("{path} is not loaded, because others than root can write it (owner {owner}, mode {mode:04o}): `chown root {path} && chmod go-w {path}`", path = .path.display())]
    NotRoots { path: PathBuf, owner: String, mode: u32 },
}

/// Where the library is looked for.
pub(super) fn candidates(configured: Option<&Path>) -> Vec<PathBuf> {
    configured.map_or_else(|| PLACES.iter().map(PathBuf::from).collect(), |path| vec![path.to_owned()])
}

/// The library to load: the configured one, or the first of the usual places, with links followed to its end.
pub(super) fn find(configured: Option<&Path>) -> Result<PathBuf, LibraryError> {
    let path = match configured {
        Some(path) => path.to_owned(),
        None => candidates(None).into_iter().find(|path| path.exists()).ok_or(LibraryError::Missing)?,
    };
    let unreadable = |source: io::Error| LibraryError::Unreadable { path: path.clone(), source };
    // The file itself is judged and loaded, not a link that can be turned meanwhile.
    let real = path.canonicalize().map_err(unreadable)?;
    let (_, facts) = files::open(&real, Links::Refuse).map_err(unreadable)?;
    if facts.kind != Kind::Regular || !facts.owner.is_root() || facts.mode & 0o022 != 0 {
        return Err(LibraryError::NotRoots { path: real, owner: facts.owner.to_string(), mode: facts.mode });
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_library_that_others_can_write_is_not_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("libnvidia-ml.so.1");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o775)).unwrap();
        let told = find(Some(&path)).unwrap_err().to_string();
        assert!(told.contains("chmod go-w"), "{told}");
    }

    #[test]
    fn a_missing_library_is_named() {
        let told = find(Some(Path::new("/nonexistent/libnvidia-ml.so.1"))).unwrap_err().to_string();
        assert!(told.contains("/nonexistent/libnvidia-ml.so.1"), "{told}");
    }
}
