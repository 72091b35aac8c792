//! The gateway's sandbox: it moves bytes between sockets that it has or opens to ComfyUI, and does nothing else.
//!
//! Closed in two steps, because of threads. The fence holds only threads that are started after it. The filter is entered by all at
//! once, after their start-up, which needs more calls than their work, and before the first guest.

use super::{Confinement, SandboxError, fence_in, filter_all_threads};
use crate::os::arguments::{
    AF_INET, AF_INET6, F_GETFD, F_GETFL, F_SETFL, FIONBIO, FUTEX_COMMAND, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAKE,
    FUTEX_WAKE_BITSET, IPPROTO_TCP, MADV_DONTNEED, MADV_FREE, MADV_WIPEONFORK, MAP_ANONYMOUS, MSG_FASTOPEN, PROT_EXEC,
    SO_ERROR, SOCK_STREAM, SOCK_TYPE, SOL_SOCKET, SOL_TCP, TCP_NODELAY,
};
use crate::os::landlock::{InForce, Rules};
use crate::os::memory::{self, Locked};
use crate::os::seccomp::Refusal::{Kill, NotPermitted};
use crate::os::seccomp::{
    Errno, Policy, Rule, allow, allow_all, allow_when, bits, is, is_own_process, refuse, refuse_all,
};
use crate::os::{limits, privilege};

/// The calls of a gateway that works. All else kills it, and the supervisor starts another.
pub(super) const POLICY: Policy = Policy { unlisted: Kill, rules: RULES };

const RULES: &[Rule] = &[
    // Guests, ComfyUI, the supervisor.
    allow_all(&["accept4", "recvfrom", "recvmsg", "writev", "shutdown", "close"], "guests and ComfyUI"),
    allow_all(&["read", "write"], "wake-ups of threads; a panic's last words on stderr"),
    allow_when(
        "sendto",
        &[&[bits(3, MSG_FASTOPEN, 0)]],
        Kill,
        "answers; with that flag it would connect past the fence",
    ),
    allow_when("sendmsg", &[&[bits(2, MSG_FASTOPEN, 0)]], Kill, "messages to the supervisor; as sendto"),
    allow_when(
        "socket",
        &[
            &[is(0, AF_INET), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, 0)],
            &[is(0, AF_INET), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, IPPROTO_TCP)],
            &[is(0, AF_INET6), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, 0)],
            &[is(0, AF_INET6), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, IPPROTO_TCP)],
        ],
        Kill,
        "TCP to ComfyUI; not MPTCP, which the fence around ports does not see",
    ),
    allow("connect", "ComfyUI; the fence says to which port"),
    allow_when("getsockopt", &[&[is(1, SOL_SOCKET), is(2, SO_ERROR)]], NotPermitted, "how a connect ended"),
    allow_when("setsockopt", &[&[is(1, SOL_TCP), is(2, TCP_NODELAY)]], NotPermitted, "small answers at once"),
    allow_all(&["getsockname", "getpeername"], "who the guest is"),
    allow_when("fcntl", &[&[is(1, F_GETFD)], &[is(1, F_GETFL)], &[is(1, F_SETFL)]], NotPermitted, "non-blocking"),
    allow_when("ioctl", &[&[is(1, FIONBIO)]], NotPermitted, "non-blocking"),
    // The reactor.
    allow_all(&["epoll_ctl", "epoll_pwait"], "waiting for any of them"),
    allow("epoll_wait", "the same, older").legacy(),
    allow_when(
        "futex",
        &[
            &[bits(1, FUTEX_COMMAND, FUTEX_WAIT)],
            &[bits(1, FUTEX_COMMAND, FUTEX_WAKE)],
            &[bits(1, FUTEX_COMMAND, FUTEX_WAIT_BITSET)],
            &[bits(1, FUTEX_COMMAND, FUTEX_WAKE_BITSET)],
        ],
        Kill,
        "locks between threads; not the kinds with priorities and moved queues, where the kernel's holes were",
    ),
    allow_all(&["sched_yield", "sched_getaffinity"], "spinning locks; how many heaps the allocator makes"),
    allow_all(
        &["clock_gettime", "restart_syscall"],
        "timers where the clock is not mapped; a wait goes on after a stop",
    ),
    allow("getrandom", "TLS, session tokens"),
    // Memory, none of it executable.
    allow_when(
        "mmap",
        &[&[bits(2, PROT_EXEC, 0), bits(3, MAP_ANONYMOUS, MAP_ANONYMOUS)]],
        Kill,
        "the allocator's; no file, no code",
    ),
    allow_when("mprotect", &[&[bits(2, PROT_EXEC, 0)]], Kill, "the allocator's heaps grow by it"),
    allow_all(&["munmap", "mremap", "brk"], "the allocator's"),
    allow_when(
        "madvise",
        &[&[is(2, MADV_DONTNEED)], &[is(2, MADV_FREE)], &[is(2, MADV_WIPEONFORK)]],
        NotPermitted,
        "pages given back; the random generator's state",
    ),
    // Ends.
    allow_all(&["exit_group", "exit"], "the end"),
    allow_all(
        &["rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"],
        "abort, and the message of a stack overflow",
    ),
    allow_all(&["getpid", "gettid"], "abort names its thread"),
    allow_when("tgkill", &[&[is_own_process(0)]], Kill, "abort signals its thread"),
    // What libraries try and do without.
    refuse_all(
        &["openat", "newfstatat", "fstat", "statx", "faccessat", "readlinkat"],
        Errno::Access,
        "the allocator asks /proc for the overcommit mode, the random generator for /dev/sysgenid; nothing is opened",
    ),
    refuse_all(&["open", "stat", "lstat", "access", "readlink"], Errno::Access, "the same, older").legacy(),
    refuse("prlimit64", Errno::NotPermitted, "the size of a stack that overflowed"),
];

/// First of all: execve has made the process dumpable again.
pub(crate) fn begin() -> Result<(), SandboxError> {
    Ok(privilege::harden_role()?)
}

/// Step one, before there are threads: no file is opened from here on, and TCP goes to this port only.
pub(crate) fn fence(upstream_port: u16) -> Result<(InForce, Locked), SandboxError> {
    let memory = memory::lock_all();
    Ok((fence_in(&rules(upstream_port))?, memory))
}

pub(super) fn rules(upstream_port: u16) -> Rules {
    Rules { files: Some(Vec::new()), connect: Some(vec![upstream_port]), bind: Some(Vec::new()), scoped: true }
}

/// Step two, when all threads run and before a guest is let in.
pub(crate) fn close((landlock, memory): (InForce, Locked)) -> Result<Confinement, SandboxError> {
    limits::no_more_processes().map_err(SandboxError::Limit)?;
    let calls = filter_all_threads(&POLICY)?;
    Ok(Confinement { calls, landlock: Some(landlock), memory: Some(memory) })
}
