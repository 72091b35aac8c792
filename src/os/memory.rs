//! Memory: what is no longer needed goes back to the system, what holds keys stays out of swap.

use std::fmt;
use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Gives freed memory back to the kernel.
///
/// glibc raises its threshold for separate mappings after the first large block is freed; from then on the 19 MiB of an argon2 run
/// come from the heap and may stay resident for as long as the process lives.
#[cfg(target_env = "gnu")]
pub(crate) fn give_back_freed() {
    // SAFETY: malloc_trim(3) takes any padding, is thread-safe, and touches only memory that is free already.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries give large blocks back when they are freed.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back_freed() {}

/// Whether this process' memory can reach a swap device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// It cannot.
    Yes,
    /// It can: so many bytes may be locked, and with a limit a later allocation would fail.
    Limited(u64),
    /// It can: the kernel refused, with this errno.
    Refused(i32),
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("memory locked"),
            Self::Limited(bytes) => {
                write!(f, "memory not locked (limit {} KiB; LimitMEMLOCK=infinity in the unit)", bytes / 1024)
            }
            Self::Refused(errno) => write!(f, "memory not locked ({})", io::Error::from_raw_os_error(*errno)),
        }
    }
}

/// Keeps all memory of this process, present and future, out of swap (mlockall(2)); pages count from when they are first used.
///
/// Only where the limit is infinite: all later mappings count against it, unused ones too, and fail when it is reached. A child
/// does not inherit it.
pub(crate) fn lock_all() -> Locked {
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(_, hard)| hard);
    if limit != RLIM_INFINITY {
        return Locked::Limited(limit);
    }
    if let Err(errno) = setrlimit(Resource::RLIMIT_MEMLOCK, limit, limit) {
        return Locked::Refused(errno as i32);
    }
    // SAFETY: mlockall(2) takes flags and changes no memory, only whether it may be paged out.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 { Locked::Yes } else { Locked::Refused(io::Error::last_os_error().raw_os_error().unwrap_or(0)) }
}
