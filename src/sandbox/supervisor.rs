//! The supervisor's sandbox, which everything that it starts inherits: so it is a wide list, of what the supervisor does, what its
//! roles do until theirs is closed, and what ComfyUI, Python, torch, CUDA and the tools that custom nodes call do.
//!
//! What is not listed does not exist (ENOSYS): a newer C library then falls back to an older call. What is known and refused is EPERM.
//!
//! No Landlock here: a fence would be inherited too, and hold ComfyUI and each later reload to what the configuration named at the
//! start. The unit's ProtectSystem= and the permissions of users stand there.

use super::{Confinement, SandboxError};
use crate::os::arguments::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, CLONE_NAMESPACES, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK, TIOCLINUX, TIOCSTI,
};
use crate::os::memory;
use crate::os::privilege;
use crate::os::seccomp::Refusal::{NotImplemented, NotPermitted};
use crate::os::seccomp::{
    Errno, Filter, Policy, Rule, allow, allow_all, allow_when, bits, is, is_not, refuse, refuse_all,
};

/// The calls of the whole tree of processes.
pub(super) const POLICY: Policy = Policy { unlisted: NotImplemented, rules: RULES };

const RULES: &[Rule] = &[
    // Files.
    allow_all(&["read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close", "close_range"], "files"),
    allow_all(
        &["preadv", "pwritev", "preadv2", "pwritev2", "openat", "openat2", "fstat", "newfstatat", "statx"],
        "files",
    ),
    allow_all(&["faccessat", "faccessat2", "readlinkat", "getdents64", "getcwd", "chdir", "fchdir", "umask"], "files"),
    allow_all(
        &["mkdirat", "unlinkat", "renameat2", "linkat", "symlinkat", "truncate", "ftruncate", "fallocate"],
        "files",
    ),
    allow_all(&["renameat", "fchmodat2", "cachestat"], "files; of some architectures and kernels").legacy(),
    allow_all(&["fchmod", "fchmodat", "fchown", "fchownat", "utimensat", "flock", "statfs", "fstatfs"], "files"),
    allow_all(
        &["fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "fadvise64", "readahead"],
        "keys and pictures to disk",
    ),
    allow_all(&["copy_file_range", "sendfile", "splice", "tee", "vmsplice"], "copies"),
    allow_all(
        &["getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr"],
        "copies with attributes",
    ),
    allow_all(&["setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"], "the same"),
    allow_all(&["inotify_init1", "inotify_add_watch", "inotify_rm_watch"], "models that appear"),
    allow_all(&["io_setup", "io_submit", "io_getevents", "io_pgetevents", "io_cancel", "io_destroy"], "large models"),
    allow_all(&["open", "creat", "stat", "lstat", "access", "readlink", "getdents", "mkdir", "rmdir"], "files, older")
        .legacy(),
    allow_all(&["unlink", "rename", "link", "symlink", "chmod", "chown", "lchown", "utime", "utimes"], "files, older")
        .legacy(),
    allow_all(&["futimesat", "inotify_init", "dup2", "pipe"], "files, older").legacy(),
    allow_all(&["fcntl", "dup", "dup3", "pipe2", "memfd_create"], "descriptors"),
    allow_when(
        "mknodat",
        &[
            &[bits(2, S_IFMT, S_IFIFO)],
            &[bits(2, S_IFMT, S_IFSOCK)],
            &[bits(2, S_IFMT, S_IFREG)],
            &[bits(2, S_IFMT, 0)],
        ],
        NotPermitted,
        "pipes with names; no devices",
    ),
    allow_when(
        "mknod",
        &[
            &[bits(1, S_IFMT, S_IFIFO)],
            &[bits(1, S_IFMT, S_IFSOCK)],
            &[bits(1, S_IFMT, S_IFREG)],
            &[bits(1, S_IFMT, 0)],
        ],
        NotPermitted,
        "the same, older",
    )
    .legacy(),
    allow_when(
        "ioctl",
        &[&[is_not(1, TIOCSTI), is_not(1, TIOCLINUX)]],
        NotPermitted,
        "the GPU, terminals; no typing into the terminal that the guard was started from",
    ),
    // Memory.
    allow_all(&["mmap", "munmap", "mremap", "mprotect", "brk", "madvise", "msync", "mincore", "membarrier"], "memory"),
    allow_all(&["mlock", "mlock2", "munlock", "mlockall", "munlockall"], "keys out of swap; memory that the GPU reads"),
    allow_all(&["mbind", "get_mempolicy", "set_mempolicy", "move_pages"], "memory near the GPU"),
    allow_all(&["pkey_alloc", "pkey_free", "pkey_mprotect"], "code that is made at run time"),
    allow_all(
        &["shmget", "shmat", "shmdt", "shmctl", "semget", "semop", "semtimedop", "semctl"],
        "between ComfyUI's processes",
    ),
    allow_all(&["msgget", "msgsnd", "msgrcv", "msgctl"], "the same"),
    allow_all(&["mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"], "the same"),
    allow_all(&["process_madvise", "map_shadow_stack", "mseal"], "memory, in newer kernels").legacy(),
    // Processes and threads.
    allow_when("clone", &[&[bits(0, CLONE_NAMESPACES, 0)]], NotPermitted, "children and threads; no namespaces"),
    refuse(
        "clone3",
        Errno::NotImplemented,
        "its flags lie in memory, where no filter sees them; the C library then uses clone",
    ),
    allow_all(&["fork", "vfork"], "children, older").legacy(),
    allow_all(&["execve", "execveat", "exit", "exit_group", "wait4", "waitid"], "children"),
    allow_all(&["kill", "tkill", "tgkill", "pidfd_open", "pidfd_send_signal"], "their ends"),
    allow_all(&["getpid", "getppid", "gettid", "getpgid", "setpgid", "getsid", "setsid", "capget"], "who it is"),
    allow("getpgrp", "who it is, older").legacy(),
    allow_all(&["getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups"], "who it is"),
    allow_all(
        &["setresuid", "setresgid", "setgroups", "capset"],
        "children become other users and give up capabilities",
    ),
    allow_all(
        &["setuid", "setgid", "setreuid", "setregid", "setfsuid", "setfsgid"],
        "programs that give up rights; nobody below has any",
    ),
    allow("prctl", "names, no_new_privs, the end with the parent"),
    allow_all(
        &["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
        "sandboxes within",
    ),
    allow_all(&["set_tid_address", "set_robust_list", "get_robust_list", "rseq", "futex", "futex_waitv"], "threads"),
    allow_all(&["futex_wait", "futex_wake", "futex_requeue"], "threads, in newer kernels").legacy(),
    allow("arch_prctl", "threads' own memory").legacy(),
    allow_all(&["sched_yield", "sched_getaffinity", "sched_setaffinity", "getcpu"], "threads near the GPU"),
    allow_all(&["sched_getscheduler", "sched_setscheduler", "sched_getparam", "sched_setparam"], "their order"),
    allow_all(&["sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval"], "their order"),
    allow_all(
        &["sched_getattr", "sched_setattr", "getpriority", "setpriority", "ioprio_get", "ioprio_set"],
        "their order",
    ),
    allow_all(&["prlimit64", "getrlimit", "setrlimit", "getrusage", "times", "sysinfo", "uname"], "what there is"),
    allow_all(&["getrandom", "restart_syscall"], "chance; a call that goes on after a stop"),
    // Time and signals.
    allow_all(&["nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday"], "time"),
    allow_all(&["setitimer", "getitimer", "timer_create", "timer_settime", "timer_gettime"], "timers"),
    allow_all(&["timer_getoverrun", "timer_delete", "timerfd_create", "timerfd_settime", "timerfd_gettime"], "timers"),
    allow_all(&["alarm", "time", "pause"], "time, older").legacy(),
    allow_all(&["rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigtimedwait"], "signals"),
    allow_all(&["rt_sigqueueinfo", "rt_tgsigqueueinfo", "rt_sigsuspend", "sigaltstack", "signalfd4"], "signals"),
    allow("signalfd", "signals, older").legacy(),
    // Waiting and sockets.
    allow_all(
        &["ppoll", "pselect6", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "eventfd2"],
        "waiting",
    ),
    allow_all(&["poll", "select", "epoll_create", "epoll_wait", "eventfd"], "waiting, older").legacy(),
    allow_when(
        "socket",
        &[&[is(0, AF_UNIX)], &[is(0, AF_INET)], &[is(0, AF_INET6)], &[is(0, AF_NETLINK)]],
        NotPermitted,
        "the service manager, the network, addresses of interfaces; no raw packets, hypervisor, kernel cryptography",
    ),
    allow_when("socketpair", &[&[is(0, AF_UNIX)]], NotPermitted, "channels to the roles"),
    allow_all(&["bind", "connect", "listen", "accept", "accept4", "shutdown", "getsockname", "getpeername"], "sockets"),
    allow_all(&["sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg"], "sockets"),
    allow_all(&["getsockopt", "setsockopt"], "sockets"),
    // Known and refused; with EPERM, that nobody takes it for an old kernel and tries another way.
    refuse_all(
        &["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"],
        Errno::NotPermitted,
        "the guard's memory, descriptors and course, where everything runs as one user",
    ),
    refuse_all(
        &["mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsmount", "mount_setattr"],
        Errno::NotPermitted,
        "another view of the file system",
    ),
    refuse_all(
        &["unshare", "setns"],
        Errno::NotPermitted,
        "a root of one's own, and the kernel's least tried code with it",
    ),
    refuse_all(
        &["bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl"],
        Errno::NotPermitted,
        "interfaces by which the kernel is attacked",
    ),
    refuse_all(
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        Errno::NotPermitted,
        "calls past every filter",
    ),
    refuse_all(
        &["init_module", "finit_module", "delete_module", "kexec_load", "reboot", "swapon", "swapoff", "acct"],
        Errno::NotPermitted,
        "the whole machine",
    ),
    refuse_all(
        &["settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "syslog"],
        Errno::NotPermitted,
        "the clock, by which sessions and certificates end; an administrator's calls",
    ),
    refuse_all(&["open_by_handle_at", "fanotify_init"], Errno::NotPermitted, "files around their paths"),
    refuse("personality", Errno::NotPermitted, "addresses that can be foretold"),
];

/// Before any thread or child exists. The supervisor holds keys, and is the one process with privileges left.
pub(crate) fn close() -> Result<Confinement, SandboxError> {
    privilege::harden_self()?;
    let memory = memory::lock_all();
    let filter = Filter::compile(&POLICY)?;
    filter.enter().map_err(SandboxError::FilterRefused)?;
    Ok(Confinement { calls: filter.calls(), landlock: None, memory: Some(memory) })
}
