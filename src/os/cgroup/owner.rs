//! Which group a process of somebody else's is in: with systemd the unit, container or session that it belongs to.
//!
//! `/proc/PID/cgroup` would say it, but a unit with ProtectProc=invisible does not show it; the tree of groups is there for all to read.

use std::fs;
use std::path::{Path, PathBuf};

use super::place;

/// No machine has more groups; a tree that goes on for ever is not walked for ever.
const MOST_GROUPS: usize = 20_000;
/// systemd nests slices a few levels deep, a container's own systemd as many more.
const DEEPEST: usize = 16;

/// The group of this process below the hierarchy's root, as `system.slice/cron.service`; none: it has ended, or is in a hierarchy
/// that is not to be seen from here.
pub(crate) fn group_of(pid: u32) -> Option<PathBuf> {
    let root = place::hierarchy()?;
    let found = find(&root, pid)?;
    found.strip_prefix(&root).ok().map(Path::to_owned)
}

fn find(root: &Path, pid: u32) -> Option<PathBuf> {
    let mut waiting = vec![(root.to_owned(), 0)];
    let mut seen = 0;
    while let Some((group, depth)) = waiting.pop() {
        seen += 1;
        if seen > MOST_GROUPS {
            return None;
        }
        if place::members(&group).is_ok_and(|members| members.contains(&pid)) {
            return Some(group);
        }
        let Ok(entries) = fs::read_dir(&group) else { continue };
        let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        if depth < DEEPEST {
            waiting.extend(below.map(|entry| (entry.path(), depth + 1)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_is_found_however_deep_it_is() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("system.slice/docker-1.scope/inner");
        fs::create_dir_all(&deep).unwrap();
        for (group, members) in [(root.path(), "1\n"), (deep.as_path(), "77\n78\n")] {
            fs::write(group.join("cgroup.procs"), members).unwrap();
        }
        assert_eq!(find(root.path(), 78), Some(deep));
        assert_eq!(find(root.path(), 7), None);
    }
}
