//! Which group a process of somebody else's is in: with systemd the unit, container or session that it belongs to.
//!
//! `/proc/PID/cgroup` would say it, but a unit with ProtectProc=invisible does not show it; the tree of groups is there for all to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::place;

/// A machine with many containers has some hundreds; a tree that goes on for ever is not walked for ever.
const MOST_GROUPS: usize = 5_000;
/// systemd nests slices a few levels deep, a container's own systemd as many more.
const DEEPEST: usize = 16;

/// The groups of these processes below the hierarchy's root, as `system.slice/cron.service`, in one walk for all of them. One that is
/// not there has ended, or is in a hierarchy that is not to be seen from here.
pub(crate) fn groups_of(pids: &BTreeSet<u32>) -> BTreeMap<u32, PathBuf> {
    place::hierarchy().map_or_else(BTreeMap::new, |root| find(&root, pids))
}

fn find(root: &Path, pids: &BTreeSet<u32>) -> BTreeMap<u32, PathBuf> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(root.to_owned(), 0)];
    let mut seen = 0;
    while let Some((group, depth)) = waiting.pop() {
        seen += 1;
        if seen > MOST_GROUPS || found.len() == pids.len() {
            return found;
        }
        let members = place::members(&group).unwrap_or_default();
        for pid in members.into_iter().filter(|pid| pids.contains(pid)) {
            found.insert(pid, group.strip_prefix(root).unwrap_or(&group).to_owned());
        }
        let Ok(entries) = fs::read_dir(&group) else { continue };
        let below = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        if depth < DEEPEST {
            waiting.extend(below.map(|entry| (entry.path(), depth + 1)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn processes_are_found_however_deep_they_are() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("system.slice/docker-1.scope/inner");
        fs::create_dir_all(&deep).unwrap();
        for (group, members) in [(root.path(), "1\n"), (deep.as_path(), "77\n78\n")] {
            fs::write(group.join("cgroup.procs"), members).unwrap();
        }
        let found = find(root.path(), &BTreeSet::from([1, 7, 78]));
        let expected = [(1, PathBuf::new()), (78, PathBuf::from("system.slice/docker-1.scope/inner"))];
        assert_eq!(found, BTreeMap::from(expected));
        assert!(find(root.path(), &BTreeSet::new()).is_empty());
    }
}
