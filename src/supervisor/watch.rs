//! Files that change under a running guard: seen by their identity and times once a second, so that `set-key` and
//! certbot need tell nobody.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::os::files::{self, Signature};

/// A set of files that are read together.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<(PathBuf, Option<Signature>)>,
}

impl Watch {
    /// Takes the files as they are now.
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        Self { files: paths.into_iter().map(|path| (path.to_owned(), files::signature(path))).collect() }
    }

    /// When the first of them was written last, as it was seen last; none: it was not there.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        self.files.first()?.1.as_ref()?.modified()
    }

    /// Whether any of them is another file than at the last call.
    pub(crate) fn changed(&mut self) -> bool {
        let mut changed = false;
        for (path, known) in &mut self.files {
            let now = files::signature(path);
            if now != *known {
                *known = now;
                changed = true;
            }
        }
        changed
    }
}
