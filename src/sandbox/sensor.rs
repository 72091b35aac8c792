//! The sensor's sandbox: it asks NVIDIA's driver, through a library that nobody here can read.
//!
//! So what is not listed fails instead of killing (a driver that tries something new shall cost a reading, not the sensor), and acts
//! that no driver's library has business with kill. The library is to be loaded before the sandbox is closed: afterwards nothing can
//! be made executable.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Confinement, SandboxError, fence_in, filter_all_threads};
use crate::os::arguments::{
    CLONE_AS_THREAD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FIOCLEX, FIONBIO, IOCTL_NVIDIA, IOCTL_TYPE,
    O_ACCMODE, O_CREAT, O_RDONLY, O_RDWR, PROT_EXEC,
};
use crate::os::landlock::{Access, Grant, InForce, Rules};
use crate::os::privilege;
use crate::os::seccomp::Refusal::NotPermitted;
use crate::os::seccomp::{
    Errno, Policy, Rule, allow, allow_all, allow_when, bits, is, is_own_process, kill, refuse, refuse_all,
};

/// The calls of a sensor that works.
pub(super) const POLICY: Policy = Policy { unlisted: NotPermitted, rules: RULES };

const RULES: &[Rule] = &[
    // The driver.
    allow_when(
        "openat",
        &[&[bits(2, O_ACCMODE | O_CREAT, O_RDONLY)], &[bits(2, O_ACCMODE | O_CREAT, O_RDWR)]],
        NotPermitted,
        "devices, /proc and /sys; the fence says which. Nothing is made",
    ),
    allow_when(
        "open",
        &[&[bits(1, O_ACCMODE | O_CREAT, O_RDONLY)], &[bits(1, O_ACCMODE | O_CREAT, O_RDWR)]],
        NotPermitted,
        "the same, older",
    )
    .legacy(),
    allow_all(
        &["newfstatat", "fstat", "statx", "faccessat", "readlinkat", "getdents64", "lseek", "pread64"],
        "the same",
    ),
    allow_all(&["stat", "lstat", "access", "readlink", "getdents"], "the same, older").legacy(),
    allow_when(
        "ioctl",
        &[&[bits(1, IOCTL_TYPE, IOCTL_NVIDIA)], &[is(1, FIONBIO)], &[is(1, FIOCLEX)]],
        NotPermitted,
        "the driver's own commands",
    ),
    allow_when(
        "mmap",
        &[&[bits(2, PROT_EXEC, 0)]],
        NotPermitted,
        "the allocator's memory, the driver's pages; no code",
    ),
    allow_when("mprotect", &[&[bits(2, PROT_EXEC, 0)]], NotPermitted, "the allocator's heaps grow by it"),
    allow_all(&["munmap", "mremap", "brk", "madvise"], "the allocator's"),
    allow_all(&["poll", "ppoll"], "the driver's events").legacy(),
    allow_all(&["getuid", "geteuid", "getgid", "getegid", "uname", "sysinfo"], "the library looks where it is"),
    allow_all(&["sched_getaffinity", "sched_yield", "getcpu", "get_mempolicy"], "which processor is near the GPU"),
    // The supervisor, and the reactor.
    allow_all(&["recvmsg", "sendmsg", "read", "write", "close"], "the channel; wake-ups; a panic's last words"),
    allow_all(&["epoll_ctl", "epoll_pwait", "futex"], "waiting"),
    allow("epoll_wait", "the same, older").legacy(),
    allow_when(
        "fcntl",
        &[&[is(1, F_GETFD)], &[is(1, F_SETFD)], &[is(1, F_GETFL)], &[is(1, F_SETFL)], &[is(1, F_DUPFD_CLOEXEC)]],
        NotPermitted,
        "flags of descriptors",
    ),
    allow_when("clone", &[&[bits(0, CLONE_AS_THREAD, CLONE_AS_THREAD)]], NotPermitted, "threads; no processes"),
    refuse("clone3", Errno::NotImplemented, "its flags lie in memory; the C library then uses clone"),
    allow_all(&["set_robust_list", "rseq", "gettid", "getpid"], "threads begin and end"),
    allow_all(&["clock_gettime", "clock_nanosleep", "restart_syscall", "getrandom"], "timers; hash seeds"),
    // Ends.
    allow_all(
        &["exit", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"],
        "the end, abort",
    ),
    allow_when("tgkill", &[&[is_own_process(0)]], NotPermitted, "abort signals its thread"),
    // What the library tries and does without.
    refuse_all(
        &["execve", "socket", "mknodat", "mkdirat", "unlinkat", "fchmodat"],
        Errno::NotPermitted,
        "it would start nvidia-modprobe, talk to nvidia-persistenced, make its own device nodes: the system's work",
    ),
    refuse_all(&["fork", "vfork", "mknod", "mkdir", "unlink", "chmod"], Errno::NotPermitted, "the same, older")
        .legacy(),
    // What nobody tries.
    kill(&["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"], "other processes"),
    kill(&["mount", "umount2", "pivot_root", "chroot", "unshare", "setns"], "another view of the system"),
    kill(&["setuid", "setgid", "setresuid", "setresgid", "setgroups", "capset"], "another user"),
    kill(&["init_module", "finit_module", "delete_module", "kexec_load", "reboot"], "the kernel itself"),
    kill(&["bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key"], "ways to attack the kernel"),
    kill(&["io_uring_setup", "io_uring_enter", "io_uring_register"], "calls past the filter"),
    kill(&["execveat", "memfd_create"], "programs that are in no file"),
    kill(&["bind", "listen", "accept", "accept4", "connect"], "the network"),
];

/// What the library reads beside the device nodes.
const READ: &[(&str, &str)] = &[
    ("/usr/lib", "the libraries that it needs, while it is loaded"),
    ("/usr/lib64", "the same"),
    ("/lib", "the same"),
    ("/lib64", "the same"),
    ("/etc/ld.so.cache", "where they are"),
    ("/proc/driver/nvidia", "version, parameters, GPUs, MIG"),
    ("/proc/driver/nvidia-caps", "MIG"),
    ("/proc/devices", "major numbers"),
    ("/proc/modules", "whether the driver is loaded"),
    ("/proc/sys/vm", "overcommit mode, asked for by the allocator"),
    ("/proc/cpuinfo", "what the processor is"),
    ("/proc/meminfo", "how much memory there is"),
    ("/sys/bus/pci", "the list of PCI devices"),
    ("/sys/devices", "those devices, processors, memory nodes"),
    ("/sys/module/nvidia", "the driver's version"),
];

/// First of all: execve has made the process dumpable again.
pub(crate) fn begin() -> Result<(), SandboxError> {
    Ok(privilege::harden_role()?)
}

/// Step one, before there are threads and before the library is loaded.
pub(crate) fn fence(library: Option<&Path>) -> Result<InForce, SandboxError> {
    fence_in(&rules(library))
}

/// Step two, once the library is loaded: nothing becomes executable from here on.
pub(crate) fn close(landlock: InForce) -> Result<Confinement, SandboxError> {
    let calls = filter_all_threads(&POLICY)?;
    Ok(Confinement { calls, landlock: Some(landlock), memory: None })
}

pub(super) fn rules(library: Option<&Path>) -> Rules {
    let grant = |path: PathBuf, access| Grant { path, access };
    let own = library.and_then(Path::parent).map(|directory| grant(directory.to_owned(), Access::Read));
    let read = READ.iter().map(|(path, _)| grant(PathBuf::from(path), Access::Read));
    let grants =
        own.into_iter().chain(read).chain(devices().into_iter().map(|path| grant(path, Access::Device))).collect();
    Rules { files: Some(grants), connect: Some(Vec::new()), bind: Some(Vec::new()), scoped: true }
}

/// NVIDIA's nodes that are there now. A driver that is loaded later is seen by the next sensor.
fn devices() -> Vec<PathBuf> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("nvidia"));
    ours.map(|entry| entry.path()).collect()
}
