//! The system: the only room with `unsafe`, nix, libc and capabilities. Everything it exports is safe to call.
#![allow(unsafe_code, reason = "system calls without a safe wrapper live here and nowhere else")]

pub(crate) mod descriptors;
pub(crate) mod files;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod packet;
pub(crate) mod privilege;
pub(crate) mod process;
pub(crate) mod spawn;
pub(crate) mod systemd;
pub(crate) mod users;
