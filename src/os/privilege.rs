//! Who this process is: from root to the service user with three capabilities, and nothing more.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, geteuid, getresgid, getresuid, setgroups, setresgid, setresuid};

use super::limits;

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
    /// A role has what none may have.
    #[error("this process has capabilities ({}) that it must not have; it is started by `comfy-guard run`, not by hand", found.join(", "))]
    Left {
        /// Which.
        found: Vec<String>,
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
    lock_securebits()?;
    caps::set(None, CapSet::Permitted, &kept).map_err(capability("give up all but three capabilities"))?;
    caps::set(None, CapSet::Effective, &kept).map_err(capability("keep three capabilities in effect"))?;
    verify(uid, gid)
}

/// Forbids this process and all its descendants to gain anything by executing a file (`PR_SET_NO_NEW_PRIVS`), and to
/// leave a core or be read by processes of the same user. What it has, no executed file inherits.
pub(crate) fn harden_self() -> Result<(), PrivilegeError> {
    prctl::set_no_new_privs().map_err(system("set no_new_privs"))?;
    prctl::set_dumpable(false).map_err(system("switch off core dumps"))?;
    limits::no_core().map_err(|source| PrivilegeError::System { step: "limit core dumps to nothing", source })?;
    caps::clear(None, CapSet::Ambient).map_err(capability("clear the ambient capabilities"))?;
    caps::clear(None, CapSet::Inheritable).map_err(capability("clear the inheritable capabilities"))
}

/// The same for a role, as the first thing it does, because execve has made it dumpable again; fails if it has a capability.
pub(crate) fn harden_role() -> Result<(), PrivilegeError> {
    harden_self()?;
    let mut found = Vec::new();
    for set in [CapSet::Effective, CapSet::Permitted] {
        let held = caps::read(None, set).map_err(capability("read the capabilities"))?;
        found.extend(held.iter().map(ToString::to_string));
    }
    if found.is_empty() { Ok(()) } else { Err(PrivilegeError::Left { found }) }
}

/// From here on user 0 is a user like others, also for descendants: executing a file as it gives no capability, and none can be made
/// ambient (capabilities(7), "The securebits flags"). Ends the keeping of capabilities too.
///
/// Needs CAP_SETPCAP: under systemd the unit does it.
fn lock_securebits() -> Result<(), PrivilegeError> {
    const NOROOT: libc::c_ulong = 1 | 1 << 1;
    const NO_SETUID_FIXUP: libc::c_ulong = 1 << 2 | 1 << 3;
    const NO_KEEP_CAPS: libc::c_ulong = 1 << 5;
    caps::raise(None, CapSet::Effective, Capability::CAP_SETPCAP)
        .map_err(capability("take CAP_SETPCAP for the securebits"))?;
    // SAFETY: PR_SET_SECUREBITS takes a number and touches no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_SECUREBITS, NOROOT | NO_SETUID_FIXUP | NO_KEEP_CAPS, 0, 0, 0) };
    nix::errno::Errno::result(result).map_err(system("lock the securebits"))?;
    caps::drop(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(capability("give CAP_SETPCAP back"))
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
