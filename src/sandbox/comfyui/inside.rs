//! Which places lie inside of others that ComfyUI writes to. What is there now may have been put there by a hostile node: a link in
//! the place of a folder would make the next start open what the link leads to.

use std::fs;
use std::path::{Path, PathBuf};

/// The outermost of the places that ComfyUI writes to. The directories above them are not writable, so what they are is
/// the administrator's word.
#[derive(Debug)]
pub(super) struct Writable(Vec<PathBuf>);

impl Writable {
    /// Of all places that are written to.
    pub(super) fn of(places: &[&PathBuf]) -> Self {
        let outermost = |path: &&&PathBuf| !places.iter().any(|other| other != *path && path.starts_with(other));
        // One that is not there yet is made later, under the name that it has.
        let real = |path: &&PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        Self(places.iter().filter(outermost).map(real).collect())
    }

    /// Whether ComfyUI could have made, or replaced, the last or any other part of this path.
    pub(super) fn holds(&self, path: &Path) -> bool {
        // Each part by itself: one that was replaced leads all behind it astray.
        path.ancestors().skip(1).filter_map(|above| fs::canonicalize(above).ok()).any(|above| self.covers(&above))
    }

    /// Whether the path leads out of them, as a link in the place of a folder would.
    pub(super) fn is_left_by(&self, path: &Path) -> bool {
        self.holds(path) && !fs::canonicalize(path).is_ok_and(|real| self.covers(&real))
    }

    fn covers(&self, real: &Path) -> bool {
        self.0.iter().any(|place| real.starts_with(place))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_that_a_node_made_leads_nowhere() {
        let desk = tempfile::tempdir().unwrap();
        let at = |name: &str| desk.path().canonicalize().unwrap().join(name);
        for name in ["out", "out/sub", "code", "code/deep"] {
            fs::create_dir(at(name)).unwrap();
        }
        symlink(at("code"), at("out/evil")).unwrap();
        symlink(at("out"), at("link")).unwrap();
        let (out, sub) = (at("out"), at("out/sub"));
        let writable = Writable::of(&[&out, &sub]);
        // The path, whether ComfyUI could have put it there, and whether it leads out.
        let table = [
            ("out", false, false),
            ("out/sub", true, false),
            ("out/none", true, true),
            ("out/evil", true, true),
            ("out/evil/deep", true, true),
            ("link/evil", true, true),
            ("link/sub", true, false),
            // The administrator's own link.
            ("link", false, false),
            ("code", false, false),
            ("code/deep", false, false),
        ];
        for (name, holds, leaves) in table {
            assert_eq!((writable.holds(&at(name)), writable.is_left_by(&at(name))), (holds, leaves), "{name}");
        }
    }
}
