//! The system: the only room with `unsafe`, nix, libc and capabilities. Everything it exports is safe to call.
#![allow(unsafe_code, reason = "system calls without a safe wrapper live here and nowhere else")]

pub(crate) mod arguments;
pub(crate) mod cgroup;
pub(crate) mod clock;
pub(crate) mod descriptors;
pub(crate) mod files;
pub(crate) mod landlock;
pub(crate) mod limits;
pub(crate) mod local;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod packet;
pub(crate) mod privilege;
pub(crate) mod process;
pub(crate) mod seccomp;
pub(crate) mod spawn;
pub(crate) mod systemd;
#[cfg(test)]
pub(crate) mod trial;
pub(crate) mod users;
