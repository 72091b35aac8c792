//! Who this process is: from root to the service user with three capabilities, and nothing more.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, geteuid, getresgid, getresuid, setgroups, setresgid, setresuid};

/// What the supervisor keeps: to start children as other users, and to be able to end them.
///
/// Without CAP_KILL a parent cannot signal a child that has changed its user, not even by pidfd.
const KEPT: [Capability; 3] = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_KILL];

/// A step on the way from root to the service user that the kernel refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrivilegeError {
    /// A capability set could not be read or changed.
    #[error("cannot {step}: {source}; start the guard by systemd or as root with a full capability set")]
    Capability {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: caps::errors::CapsError,
    },
    /// A plain system call failed.
    #[error("cannot {step}: {source}")]
    System {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The ids are not what was asked for.
    #[error("the change of user to {wanted} left ids {found} behind")]
    Ids {
        /// The user id wanted.
        wanted: u32,
        /// What getresuid and getresgid say.
        found: String,
    },
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether children can be started as other users.
pub(crate) fn may_switch_users() -> bool {
    [Capability::CAP_SETUID, Capability::CAP_SETGID]
        .into_iter()
        .all(|capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false))
}

/// Becomes `uid`/`gid` for good, keeping [`KEPT`] where this process has them. Call before any thread is started:
/// capability sets belong to a thread.
pub(crate) fn become_user(uid: u32, gid: u32) -> Result<(), PrivilegeError> {
    let kept: CapsHashSet = KEPT.into_iter().collect();
    shrink_bounding_set(&kept)?;
    prctl::set_keepcaps(true).map_err(system("keep capabilities over the change of user"))?;
    setgroups(&[Gid::from_raw(gid)]).map_err(system("drop supplementary groups"))?;
    let gid = Gid::from_raw(gid);
    setresgid(gid, gid, gid).map_err(system("change the group"))?;
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid).map_err(system("change the user"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(capability("give up all but three capabilities"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(capability("keep three capabilities in effect"))?;
    prctl::set_keepcaps(false).map_err(system("end the keeping of capabilities"))?;
    verify(uid, gid)
}

/// Forbids this process and all its descendants to gain anything by executing a file (`PR_SET_NO_NEW_PRIVS`), and to
/// leave a core or be read by processes of the same user.
pub(crate) fn harden_self() -> Result<(), PrivilegeError> {
    prctl::set_no_new_privs().map_err(system("set no_new_privs"))?;
    prctl::set_dumpable(false).map_err(system("switch off core dumps"))
}

/// Needs CAP_SETPCAP, which only root has here: under systemd the unit has done it.
fn shrink_bounding_set(kept: &CapsHashSet) -> Result<(), PrivilegeError> {
    for surplus in caps::runtime::thread_all_supported().difference(kept) {
        caps::drop(None, CapSet::Bounding, *surplus).map_err(capability("shrink the bounding set"))?;
    }
    Ok(())
}

fn verify(uid: Uid, gid: Gid) -> Result<(), PrivilegeError> {
    let users = getresuid().map_err(system("read the user ids"))?;
    let groups = getresgid().map_err(system("read the group ids"))?;
    let right = [users.real, users.effective, users.saved].iter().all(|id| *id == uid)
        && [groups.real, groups.effective, groups.saved].iter().all(|id| *id == gid);
    if right {
        return Ok(());
    }
    Err(PrivilegeError::Ids { wanted: uid.as_raw(), found: format!("{users:?} {groups:?}") })
}

fn system(step: &'static str) -> impl Fn(nix::Error) -> PrivilegeError {
    move |source| PrivilegeError::System { step, source: source.into() }
}

fn capability(step: &'static str) -> impl Fn(caps::errors::CapsError) -> PrivilegeError {
    move |source| PrivilegeError::Capability { step, source }
}
