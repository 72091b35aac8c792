//! What each process may still do once it works: tables with a reason on every line, one file per process. How they are enforced is
//! in `os`; what they come to is in docs/sandbox.md, which a test holds to the truth.
//!
//! There is no switch to go without: a sandbox that cannot be closed ends the process. Only Landlock may be missing, because stock
//! kernels of 2021 have none; then the log says so.

pub(crate) mod comfyui;
pub(crate) mod gateway;
pub(crate) mod sensor;
pub(crate) mod supervisor;

#[cfg(test)]
mod misbehaviour;

use std::fmt;
use std::io;

use crate::os::landlock::{Fence, InForce, LandlockError, Rules};
use crate::os::memory::Locked;
use crate::os::privilege::PrivilegeError;
use crate::os::seccomp::{Filter, Policy, SeccompError};

/// Why a sandbox is not closed. The process ends then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// A capability, or the memory of it, is left.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// A defect of a table.
    #[error(transparent)]
    Filter(#[from] SeccompError),
    /// The filter cannot be entered.
    #[error(
        "the kernel refuses the system call filter ({0}); it needs CONFIG_SECCOMP_FILTER, and a surrounding sandbox must allow seccomp(2). Without it the guard does not start"
    )]
    FilterRefused(io::Error),
    /// The fence cannot be prepared.
    #[error(transparent)]
    Fence(#[from] LandlockError),
    /// The fence cannot be entered.
    #[error("the kernel has Landlock and refuses the fence around files and ports: {0}")]
    FenceRefused(io::Error),
    /// A limit cannot be set.
    #[error("the limit on new processes cannot be set: {0}")]
    Limit(io::Error),
}

/// What holds a process: the line for the log and for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confinement {
    /// How many system calls are let through.
    calls: usize,
    /// Files and ports, where the process has a fence.
    landlock: Option<InForce>,
    /// Whether its memory stays out of swap, where it holds keys.
    memory: Option<Locked>,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seccomp {} calls", self.calls)?;
        if let Some(landlock) = &self.landlock {
            write!(f, ", {landlock}")?;
        }
        match &self.memory {
            Some(memory) => write!(f, ", {memory}"),
            None => Ok(()),
        }
    }
}

/// Enters a fence in this thread and the threads that it will start.
fn fence_in(rules: &Rules) -> Result<InForce, SandboxError> {
    let fence = Fence::prepare(rules)?;
    fence.enter().map_err(SandboxError::FenceRefused)?;
    let in_force = fence.in_force().clone();
    if in_force.kinds.is_empty() {
        tracing::warn!(
            "this kernel has no Landlock: only users, permissions and system call filters hold this process"
        );
    }
    Ok(in_force)
}

/// Enters a filter in every thread of this process; how many calls it lets through.
fn filter_all_threads(policy: &Policy) -> Result<usize, SandboxError> {
    let filter = Filter::compile(policy)?;
    filter.enter_all_threads().map_err(SandboxError::FilterRefused)?;
    Ok(filter.calls())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_in_force_and_what_is_not() {
        let landlock = InForce { abi: 7, kinds: vec!["files", "TCP"] };
        let all = Confinement { calls: 78, landlock: Some(landlock), memory: Some(Locked::Yes) };
        assert_eq!(all.to_string(), "seccomp 78 calls, Landlock ABI 7 (files, TCP), memory locked");
        let least = Confinement {
            calls: 300,
            landlock: Some(InForce { abi: 0, kinds: vec![] }),
            memory: Some(Locked::Limited(8 << 20)),
        };
        assert_eq!(
            least.to_string(),
            "seccomp 300 calls, no Landlock, memory not locked (limit 8192 KiB; LimitMEMLOCK=infinity in the unit)"
        );
    }
}
