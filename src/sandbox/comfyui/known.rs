//! `strict`: the system calls that Python, torch, CUDA, git and ffmpeg are known to make. Everything else fails with EPERM.

use crate::os::arguments::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, IPPROTO_TCP, MSG_FASTOPEN, NETLINK_ROUTE, SOCK_STREAM, SOCK_TYPE,
};
use crate::os::seccomp::{Policy, Refusal, Rule, allow_all, allow_when, bits, is};

/// How a call is refused whose arguments are not the ones known.
const ONLY: Refusal = Refusal::NotPermitted;

/// The whole list.
pub(super) const STRICT: Policy = Policy { unlisted: Refusal::NotPermitted, rules: RULES };

const RULES: &[Rule] = &[
    allow_all(&["read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "lseek"], "files"),
    allow_all(&["preadv2", "pwritev2", "openat", "openat2", "close", "close_range", "fstat", "statx"], "files"),
    allow_all(
        &["newfstatat", "faccessat", "faccessat2", "readlinkat", "getdents64", "getcwd", "chdir", "fchdir"],
        "files",
    ),
    allow_all(&["mkdirat", "unlinkat", "renameat2", "linkat", "symlinkat", "mknodat", "fchmod", "fchmodat"], "files"),
    allow_all(&["fchown", "fchownat", "umask", "truncate", "ftruncate", "fallocate", "utimensat"], "files"),
    allow_all(&["fadvise64", "readahead", "sync", "fsync", "fdatasync", "sync_file_range", "syncfs", "flock"], "files"),
    allow_all(
        &["fcntl", "dup", "dup3", "pipe2", "ioctl", "statfs", "fstatfs", "memfd_create"],
        "files, and the GPU by ioctl",
    ),
    allow_all(
        &["getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"],
        "copies with their attributes",
    ),
    allow_all(&["setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"], "the same"),
    allow_all(&["copy_file_range", "sendfile", "splice", "tee", "vmsplice"], "copies without a detour"),
    allow_all(&["inotify_init1", "inotify_add_watch", "inotify_rm_watch"], "models that appear"),
    allow_all(&["io_setup", "io_submit", "io_getevents", "io_pgetevents", "io_destroy", "io_cancel"], "large models"),
    allow_all(&["brk", "mmap", "munmap", "mremap", "mprotect", "msync", "madvise", "mincore", "membarrier"], "memory"),
    allow_all(&["mlock", "mlock2", "munlock", "mlockall", "munlockall"], "memory that the GPU reads"),
    allow_all(&["mbind", "get_mempolicy", "set_mempolicy", "move_pages"], "memory near the GPU"),
    allow_all(&["pkey_alloc", "pkey_free", "pkey_mprotect"], "code that is made at run time"),
    allow_all(
        &["shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl"],
        "memory between processes",
    ),
    allow_all(
        &["clone", "clone3", "execve", "execveat", "exit", "exit_group", "wait4", "waitid"],
        "threads and programs",
    ),
    allow_all(&["kill", "tkill", "tgkill", "pidfd_open", "pidfd_send_signal"], "the ends of programs"),
    allow_all(&["getpid", "getppid", "gettid", "getpgid", "setpgid", "getsid", "setsid"], "who it is"),
    allow_all(
        &["getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "capget"],
        "who it is",
    ),
    allow_all(&["prctl", "set_tid_address", "set_robust_list", "get_robust_list", "rseq", "futex"], "threads"),
    allow_all(&["futex_waitv", "sched_yield", "sched_getaffinity", "sched_setaffinity", "getcpu"], "threads"),
    allow_all(&["sched_getscheduler", "sched_setscheduler", "sched_getparam", "sched_setparam"], "threads"),
    allow_all(&["sched_get_priority_max", "sched_get_priority_min", "sched_getattr", "sched_setattr"], "threads"),
    allow_all(&["getpriority", "setpriority", "ioprio_get", "ioprio_set"], "work in the background"),
    allow_all(
        &["prlimit64", "getrlimit", "setrlimit", "getrusage", "times", "sysinfo", "uname", "personality"],
        "what there is",
    ),
    allow_all(&["getrandom", "restart_syscall"], "chance; a call that goes on after a stop"),
    allow_all(&["nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday"], "time"),
    allow_all(&["setitimer", "getitimer", "timer_create", "timer_settime", "timer_gettime"], "time"),
    allow_all(&["timer_getoverrun", "timer_delete", "timerfd_create", "timerfd_settime", "timerfd_gettime"], "time"),
    allow_all(&["rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait"], "signals"),
    allow_all(&["rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigsuspend", "sigaltstack", "signalfd4"], "signals"),
    allow_all(
        &["ppoll", "pselect6", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "eventfd2"],
        "waiting",
    ),
    allow_all(
        &["bind", "connect", "listen", "accept", "accept4", "shutdown"],
        "the server; Landlock tells which ports",
    ),
    allow_all(
        &["getsockname", "getpeername", "getsockopt", "setsockopt", "recvfrom", "recvmsg", "recvmmsg"],
        "the server",
    ),
    allow_when(
        "socket",
        &[
            &[is(0, AF_UNIX)],
            &[is(0, AF_INET), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, 0)],
            &[is(0, AF_INET), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, IPPROTO_TCP)],
            &[is(0, AF_INET6), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, 0)],
            &[is(0, AF_INET6), bits(1, SOCK_TYPE, SOCK_STREAM), is(2, IPPROTO_TCP)],
            &[is(0, AF_NETLINK), is(2, NETLINK_ROUTE)],
        ],
        ONLY,
        "the server. Each datagram is a way out, and MPTCP and SMC are none of the TCP that Landlock fences",
    ),
    allow_when("socketpair", &[&[is(0, AF_UNIX)]], ONLY, "asyncio's own wake-up"),
    allow_when("sendto", &[&[bits(3, MSG_FASTOPEN, 0)]], ONLY, "answers; but no connection without connect"),
    allow_when("sendmsg", &[&[bits(2, MSG_FASTOPEN, 0)]], ONLY, "the same"),
    allow_when("sendmmsg", &[&[bits(3, MSG_FASTOPEN, 0)]], ONLY, "the same"),
    // On older architectures only, or in newer kernels only.
    allow_all(
        &["open", "creat", "stat", "lstat", "access", "readlink", "getdents", "mkdir", "rmdir", "unlink"],
        "older names",
    )
    .legacy(),
    allow_all(
        &["rename", "renameat", "link", "symlink", "mknod", "chmod", "chown", "lchown", "utime", "utimes"],
        "older names",
    )
    .legacy(),
    allow_all(
        &["futimesat", "dup2", "pipe", "inotify_init", "fork", "vfork", "getpgrp", "arch_prctl", "time"],
        "older names",
    )
    .legacy(),
    allow_all(
        &["alarm", "pause", "signalfd", "eventfd", "poll", "select", "epoll_create", "epoll_wait"],
        "older names",
    )
    .legacy(),
    allow_all(
        &["futex_wait", "futex_wake", "futex_requeue", "fchmodat2", "map_shadow_stack", "mseal", "cachestat"],
        "newer ones",
    )
    .legacy(),
];
