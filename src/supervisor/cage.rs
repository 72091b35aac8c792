//! Around ComfyUI: the command line that closes its cage, its cgroup, and what of the limits is in force.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::config::{Limits, OwnedComfyui};
use crate::os::cgroup::{Ceiling, Group, Held, NoGroup};
use crate::os::users::{Gid, Uid};
use crate::sandbox::comfyui::Places;

/// The executable that the hidden command is one of.
pub(super) const SELF: &str = "/proc/self/exe";

/// ComfyUI's own cgroup, where this guard was handed one; why not stands in the log.
///
/// Call before any thread or process is started. `owner`: to whom it is to belong, where this process is root still.
pub(super) fn divide_group(owner: Option<(Uid, Gid)>) -> Option<Group> {
    match Group::divide(owner) {
        Ok(group) => {
            tracing::info!(cgroup = %group.path().display(), "ComfyUI gets a cgroup of its own");
            Some(group)
        }
        // Handed over, and not to be used: somebody meant it to work.
        Err(why @ NoGroup::Refused { .. }) => {
            tracing::warn!("ComfyUI gets no cgroup of its own: {why}; its processes are found by their parentage");
            None
        }
        Err(why) => {
            tracing::info!("ComfyUI gets no cgroup of its own: {why}; its processes are found by their parentage");
            None
        }
    }
}

/// Sets the limits of the configuration; tells those that do not hold.
pub(super) fn limit(group: Option<&Group>, limits: Limits, own_user: bool) -> Option<Held> {
    let ceiling = Ceiling {
        memory: limits.memory.map(|memory| memory.0),
        cpu: limits.cpus.map(|cpus| cpus.0),
        tasks: limits.tasks,
    };
    let held = group.map(|group| group.limit(ceiling));
    let lacking = lacking(limits, own_user, held);
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        tracing::warn!(
            "not in force: {lacking}; it takes a cgroup with that controller, as Delegate=yes in a unit gives"
        );
    }
    held
}

/// The keys whose limits nothing holds.
fn lacking(limits: Limits, own_user: bool, held: Option<Held>) -> Vec<&'static str> {
    let held = held.unwrap_or(Held { memory: false, cpu: false, tasks: false });
    [
        ("comfyui.limits.memory", limits.memory.is_some() && !held.memory),
        ("comfyui.limits.cpus", limits.cpus.is_some() && !held.cpu),
        ("comfyui.limits.tasks", !held.tasks && !own_user),
    ]
    .into_iter()
    .filter_map(|(key, lacks)| lacks.then_some(key))
    .collect()
}

/// The limits that hold, for the log.
pub(super) fn describe(limits: Limits, own_user: bool, held: Option<Held>) -> String {
    let lacks = lacking(limits, own_user, held);
    let say = |key: &str, text: Option<String>| text.filter(|_| !lacks.contains(&key));
    let by_user = if held.is_some_and(|held| held.tasks) { "" } else { " (of its user)" };
    [
        say("comfyui.limits.memory", limits.memory.map(|memory| format!("memory {memory}"))),
        say("comfyui.limits.cpus", limits.cpus.map(|cpus| format!("cpus {cpus}"))),
        say("comfyui.limits.tasks", Some(format!("tasks {}{by_user}", limits.tasks))),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}

/// The hidden command that closes the cage and becomes ComfyUI (`cli/cage.rs` reads it).
pub(super) fn command_line(settings: &OwnedComfyui, places: &Places, arguments: Vec<OsString>) -> Vec<OsString> {
    let lists: [(&str, &[PathBuf]); 5] = [
        ("--make", &places.made),
        ("--provide", &places.provided),
        ("--write", &places.written),
        ("--read", &places.read),
        ("--execute", &places.executed),
    ];
    let port = settings.port.to_string();
    let one = |name: &str, value: &OsStr| [OsString::from(name), value.to_owned()];
    let many = lists.iter().flat_map(|(name, paths)| paths.iter().flat_map(|path| one(name, path.as_os_str())));
    std::iter::once(OsString::from("cage"))
        .chain(one("--level", settings.cage.name().as_ref()))
        .chain(one("--port", port.as_ref()))
        .chain(one("--directory", settings.directory.as_ref()))
        .chain(many)
        .chain(one("--", settings.python.as_ref()))
        .chain(arguments)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, Processors};

    const LIMITS: Limits = Limits { memory: Some(Bytes(1 << 30)), cpus: Some(Processors(1500)), tasks: 100 };

    #[test]
    fn what_is_not_in_force_is_named() {
        let held = |memory, cpu, tasks| Some(Held { memory, cpu, tasks });
        let table = [
            (held(true, true, true), true, vec![], "memory 1GB, cpus 1.5, tasks 100"),
            (held(false, true, true), false, vec!["comfyui.limits.memory"], "cpus 1.5, tasks 100"),
            (held(true, false, false), true, vec!["comfyui.limits.cpus"], "memory 1GB, tasks 100 (of its user)"),
            (None, true, vec!["comfyui.limits.memory", "comfyui.limits.cpus"], "tasks 100 (of its user)"),
            (None, false, vec!["comfyui.limits.memory", "comfyui.limits.cpus", "comfyui.limits.tasks"], ""),
        ];
        for (held, own_user, lacks, told) in table {
            assert_eq!(lacking(LIMITS, own_user, held), lacks);
            assert_eq!(describe(LIMITS, own_user, held), told);
        }
        let none = Limits { memory: None, cpus: None, tasks: 100 };
        assert_eq!(lacking(none, true, None), Vec::<&str>::new());
    }
}
