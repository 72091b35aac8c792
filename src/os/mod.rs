//! The system: the only room with `unsafe`, nix, libc and capabilities. Everything it exports is safe to call.
#![allow(unsafe_code, reason = "system calls without a safe wrapper live here and nowhere else")]

#[allow(dead_code, reason = "the tables that use it come next")]
pub(crate) mod arguments;
pub(crate) mod cgroup;
pub(crate) mod descriptors;
pub(crate) mod files;
#[allow(dead_code, reason = "the tables that use it come next")]
pub(crate) mod landlock;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod packet;
pub(crate) mod privilege;
pub(crate) mod process;
#[allow(dead_code, reason = "the tables that use it come next")]
pub(crate) mod seccomp;
pub(crate) mod spawn;
pub(crate) mod systemd;
#[cfg(test)]
pub(crate) mod trial;
pub(crate) mod users;
