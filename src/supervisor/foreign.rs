//! Who else computes on the GPUs: processes that the driver names and that are not ComfyUI's.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::condition::Foreign;
use crate::os::cgroup::{self, Group};
use crate::os::process::{self, Stranger};
use crate::wire::gpu::Gpu;
use crate::wire::line::printable;

/// The strangers that were found last: they are looked at anew when the driver names other processes.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    judged: BTreeSet<(u32, u32)>,
    found: Vec<Foreign>,
}

impl Strangers {
    /// What was found last.
    pub(super) fn found(&self) -> &[Foreign] {
        &self.found
    }

    /// Takes a new reading. `group`: ComfyUI's; `shared_with`: users and units that may be there too.
    pub(super) fn look(&mut self, gpus: &[Gpu], group: Option<&Group>, shared_with: &[String]) {
        let running: BTreeSet<(u32, u32)> =
            gpus.iter().flat_map(|gpu| gpu.processes.iter().map(|process| (process.pid, gpu.index))).collect();
        if running == self.judged {
            return;
        }
        let members = group.map(Group::members);
        let is_ours = |pid: u32| match &members {
            Some(members) => members.contains(&pid),
            // Where nothing can be seen of it, nothing is claimed.
            None => process::is_own(pid).unwrap_or(true),
        };
        // In a container the driver may give numbers that mean nothing there.
        let strange = running.iter().filter(|(pid, _)| !is_ours(*pid) && process::exists(*pid));
        let strange: Vec<(u32, u32)> = strange.copied().collect();
        let groups = cgroup::groups_of(&strange.iter().map(|(pid, _)| *pid).collect());
        let judged = strange.iter().filter_map(|(pid, gpu)| {
            judge(*pid, *gpu, process::stranger(*pid), groups.get(pid).map(PathBuf::as_path), shared_with)
        });
        self.found = judged.collect();
        self.judged = running;
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// None: it may be there.
fn judge(pid: u32, gpu: u32, seen: Option<Stranger>, group: Option<&Path>, shared_with: &[String]) -> Option<Foreign> {
    let user = seen.as_ref().map(|stranger| stranger.user.to_string());
    let parts = || {
        group.into_iter().flat_map(Path::components).filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
    };
    let welcome = |name: &str| shared_with.iter().any(|known| known == name);
    if user.as_deref().is_some_and(welcome) || parts().any(welcome) {
        return None;
    }
    let name = seen.map(|stranger| printable(&stranger.name));
    Some(Foreign { pid, name, user, unit: unit(parts()).map(printable), gpu })
}

/// The innermost group that systemd has a name for: a service, a scope (a session, a container), or at least a slice.
fn unit<'a>(parts: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let parts: Vec<&str> = parts.collect();
    let ending =
        |endings: &[&str]| parts.iter().rev().find(|part| endings.iter().any(|ending| part.ends_with(ending))).copied();
    ending(&[".service", ".scope"]).or_else(|| ending(&[".slice"])).or(parts.last().copied())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::os::users::Uid;

    fn seen(name: &str) -> Option<Stranger> {
        Some(Stranger { name: name.to_owned(), user: Uid(0) })
    }

    #[test]
    fn a_stranger_is_named_by_what_can_be_seen_of_it() {
        let miner = judge(7, 1, seen("xmrig\u{1b}"), Some(Path::new("system.slice/cron.service")), &[]).unwrap();
        assert_eq!(
            (miner.pid, miner.gpu, miner.user.as_deref(), miner.unit.as_deref()),
            (7, 1, Some("root"), Some("cron.service"))
        );
        assert!(miner.name.unwrap().starts_with("xmrig"));
        let hidden = judge(7, 0, None, None, &[]).unwrap();
        assert_eq!((hidden.name, hidden.user, hidden.unit), (None, None, None));
    }

    #[test]
    fn whoever_shares_the_gpu_is_no_stranger() {
        let known = ["root".to_owned(), "ollama.service".to_owned()];
        assert_eq!(judge(7, 0, seen("any"), None, &known), None);
        assert_eq!(judge(7, 0, None, Some(Path::new("system.slice/ollama.service")), &known), None);
        assert!(judge(7, 0, None, Some(Path::new("system.slice/not-ollama.service")), &known).is_some());
    }

    #[test]
    fn the_unit_is_the_innermost_that_has_a_name() {
        let of = |path: &str| unit(path.split('/')).map(str::to_owned);
        assert_eq!(of("user.slice/user-1000.slice/session-3.scope").as_deref(), Some("session-3.scope"));
        assert_eq!(of("system.slice/docker-1.scope/init").as_deref(), Some("docker-1.scope"));
        assert_eq!(of("user.slice/user-1000.slice").as_deref(), Some("user-1000.slice"));
        assert_eq!(of("docker/abc").as_deref(), Some("abc"));
    }
}
