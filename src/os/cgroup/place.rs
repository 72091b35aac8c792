//! Which group this process is in, and whether it was handed over to it.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why there is no group of its own for ComfyUI.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoGroup {
    /// No cgroup2 file system is mounted that shows this process.
    #[error("no cgroup (version 2) is to be seen")]
    Nowhere,
    /// The root of the hierarchy.
    #[error("this process is in the root cgroup")]
    Root,
    /// A group that belongs to somebody else.
    #[error("the cgroup {} was not handed over (Delegate=yes in the unit does so)", .0.display())]
    NotHandedOver(PathBuf),
    /// Others are in it too.
    #[error("other processes are in the cgroup {}", .0.display())]
    NotAlone(PathBuf),
    /// The kernel refused.
    #[error("cannot {step} the cgroup {}: {source}", path.display())]
    Refused {
        /// What was being done.
        step: &'static str,
        /// To which group or file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What is known about the group that this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    /// Whether the service manager marked it (`trusted.delegate`, `user.delegate`).
    marked: bool,
    /// Whose it is.
    owner: u32,
    /// Whose the group above it is.
    above: u32,
    /// Whose this process is.
    own: u32,
    /// The processes in it are this one alone.
    alone: bool,
}

/// The directory of the group that was handed over to this process.
pub(super) fn handed_over() -> Result<PathBuf, NoGroup> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let path = own_group(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))?;
    let refused = |source| NoGroup::Refused { step: "look at", path: path.clone(), source };
    let owner = |path: &Path| fs::metadata(path).map(|facts| facts.uid()).map_err(refused);
    let facts = Facts {
        marked: is_marked(&path),
        owner: owner(&path)?,
        above: owner(path.parent().ok_or(NoGroup::Root)?)?,
        own: nix::unistd::geteuid().as_raw(),
        alone: members(&path).map_err(refused)? == [std::process::id()],
    };
    judge(&facts, &path)?;
    Ok(path)
}

/// Handed over is what the service manager marked as such, or a group of this user's below one that is not: the top of what
/// somebody with more rights gave away. A group inside a user's session is below others of that user's, and the session's.
fn judge(facts: &Facts, path: &Path) -> Result<(), NoGroup> {
    let given = facts.own != 0 && facts.owner == facts.own && facts.above != facts.own;
    if !(facts.marked || given) {
        return Err(NoGroup::NotHandedOver(path.to_owned()));
    }
    if !facts.alone {
        return Err(NoGroup::NotAlone(path.to_owned()));
    }
    Ok(())
}

/// The group's directory, from the process' line of version 2 and the place where that hierarchy is mounted.
fn own_group(cgroup: &str, mountinfo: &str) -> Result<PathBuf, NoGroup> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::")).ok_or(NoGroup::Nowhere)?;
    // proc_pid_mountinfo(5): root and mount point are the fourth and fifth field, the type stands behind " - ".
    let seen = mountinfo.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let below = Path::new(own).strip_prefix(root).ok()?;
        kind.starts_with("cgroup2 ").then(|| (Path::new(point).join(below), own == "/"))
    });
    match seen {
        None => Err(NoGroup::Nowhere),
        // In a container's namespace the container's own group looks like the root; it is the container's.
        Some((_, true)) => Err(NoGroup::Root),
        Some((path, false)) => Ok(path),
    }
}

/// Where the hierarchy of version 2 is mounted.
pub(super) fn hierarchy() -> Option<PathBuf> {
    mounted(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| fields.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The processes that are in this group itself, not in one below it.
pub(super) fn members(path: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(path.join("cgroup.procs"))?;
    Ok(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// systemd.resource-control(5), Delegate=: `trusted.delegate` is seen by root only, `user.delegate` (since 251) by all.
fn is_marked(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    [c"trusted.delegate", c"user.delegate"].into_iter().any(|name| {
        let mut value = [0_u8; 8];
        // SAFETY: two C strings, and a buffer with its length; the kernel writes at most that much.
        let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        length == 1 && value.first() == Some(&b'1')
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MODERN: &str = "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n31 22 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    const INNER: &str = "31 22 0:27 /machine/box /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_own_group_is_found_where_it_is_mounted() {
        let unit = "0::/system.slice/comfy-guard.service\n";
        let both = "4:memory:/user\n1:name=systemd:/a\n0::/given\n";
        let table = [
            (unit, MODERN, Some("/sys/fs/cgroup/system.slice/comfy-guard.service")),
            (both, HYBRID, Some("/sys/fs/cgroup/unified/given")),
            ("0::/machine/box/unit\n", INNER, Some("/sys/fs/cgroup/unit")),
            // Outside of what is mounted, or of the namespace; no version 2 at all.
            ("0::/other\n", INNER, None),
            ("0::/../other\n", INNER, None),
            ("4:memory:/user\n", HYBRID, None),
            (unit, "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n", None),
            ("", "", None),
        ];
        for (cgroup, mountinfo, expected) in table {
            assert_eq!(own_group(cgroup, mountinfo).ok().as_deref(), expected.map(Path::new), "{cgroup}");
        }
        assert!(matches!(own_group("0::/\n", MODERN), Err(NoGroup::Root)));
    }

    #[test]
    fn the_hierarchy_is_found() {
        assert_eq!(mounted(HYBRID).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mounted("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), None);
    }

    #[test]
    fn only_what_was_handed_over_is_used() {
        let facts = |marked, owner, above, own, alone| Facts { marked, owner, above, own, alone };
        let path = Path::new("/sys/fs/cgroup/x");
        let given = [
            // A unit with Delegate=yes, without and with User=; and a group that root gave away by hand.
            facts(true, 0, 0, 0, true),
            facts(true, 999, 0, 999, true),
            facts(false, 999, 0, 999, true),
        ];
        for facts in given {
            assert!(judge(&facts, path).is_ok(), "{facts:?}");
        }
        let foreign = [
            // root in a session or in a unit without Delegate=; another user's; a scope of the own session.
            facts(false, 0, 0, 0, true),
            facts(false, 0, 0, 999, true),
            facts(false, 1000, 0, 999, true),
            facts(false, 1000, 1000, 1000, true),
        ];
        for facts in foreign {
            assert!(matches!(judge(&facts, path), Err(NoGroup::NotHandedOver(_))), "{facts:?}");
        }
        // A delegated session: the shell is in it too.
        assert!(matches!(judge(&facts(true, 1000, 1000, 1000, false), path), Err(NoGroup::NotAlone(_))));
    }
}
