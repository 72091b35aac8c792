//! For tests: one act in a child process of its own, as a sandbox would see it, and what became of it.

pub(crate) mod acts;

use std::io;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// What became of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The kernel did it.
    Done,
    /// It was refused with this errno.
    Errno(i32),
    /// The process was killed by this signal.
    Killed(i32),
    /// The sandbox could not be entered.
    NotEntered(i32),
}

impl Outcome {
    /// SIGSYS.
    pub(crate) const KILLED_BY_FILTER: Self = Self::Killed(libc::SIGSYS);
    /// SIGABRT.
    pub(crate) const ABORTED: Self = Self::Killed(libc::SIGABRT);
    /// EPERM.
    pub(crate) const NOT_PERMITTED: Self = Self::Errno(libc::EPERM);
    /// EACCES.
    pub(crate) const ACCESS_DENIED: Self = Self::Errno(libc::EACCES);
    /// ENOSYS.
    pub(crate) const NO_SUCH_CALL: Self = Self::Errno(libc::ENOSYS);
    /// EBADF: let through, and the kernel itself looked at a descriptor that is not open.
    pub(crate) const BAD_DESCRIPTOR: Self = Self::Errno(libc::EBADF);
}

/// One system call by its name, with arguments of which none is an address but null; what became of it.
#[allow(clippy::unwrap_used, reason = "a trial that cannot be made is a failed test")]
pub(crate) fn call(enter: impl FnOnce() -> io::Result<()>, name: &str, arguments: [i64; 4]) -> Outcome {
    let number = i64::from(name.parse::<syscalls::Sysno>().unwrap().id());
    let [a, b, c, d] = arguments;
    // SAFETY: the child ends after it, and no argument is an address of this process.
    in_child(enter, || unsafe { libc::syscall(number, a, b, c, d) })
}

/// Something to try; negative when it failed.
pub(crate) type Act = fn() -> libc::c_long;

/// What filters and fences ask for before they can be entered.
pub(crate) fn no_new_privs() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

const NOT_ENTERED: i32 = 200;

/// Forks; the child enters a sandbox, acts, and leaves by exit_group(2) alone. Both closures run between fork and the end of the
/// child: they must neither allocate nor lock.
#[allow(clippy::unwrap_used, reason = "a trial that cannot be made is a failed test")]
pub(crate) fn in_child(enter: impl FnOnce() -> io::Result<()>, act: impl FnOnce() -> libc::c_long) -> Outcome {
    // SAFETY: the child makes system calls only, and never returns from this block.
    let child = match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let code = match enter() {
                Ok(()) if act() >= 0 => 0,
                Ok(()) => io::Error::last_os_error().raw_os_error().unwrap_or(NOT_ENTERED),
                Err(_) => NOT_ENTERED,
            };
            // SAFETY: ends the child at once, without the destructors of its parent's objects.
            unsafe { libc::_exit(code) }
        }
    };
    match waitpid(child, None).unwrap() {
        WaitStatus::Exited(_, 0) => Outcome::Done,
        WaitStatus::Exited(_, code) if code >= NOT_ENTERED => Outcome::NotEntered(code),
        WaitStatus::Exited(_, code) => Outcome::Errno(code),
        WaitStatus::Signaled(_, signal, _) => Outcome::Killed(signal as i32),
        other => unreachable!("{other:?}"),
    }
}
