//! Limits that a process sets itself (setrlimit(2)).

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};

/// No core is ever written: it would hold the keys.
pub(crate) fn no_core() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// Memory may be locked without limit, by this process and what it starts; root only.
pub(crate) fn no_limit_on_locked_memory() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?)
}

/// No further thread or process is started, whatever the user's other processes do. Root is not held by it.
pub(crate) fn no_more_processes() -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NPROC, 0, 0)?)
}
