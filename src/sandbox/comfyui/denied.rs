//! `standard`: the system calls that ComfyUI and its nodes have no business with. Everything else is let through: what torch, CUDA and
//! Triton call tomorrow, nobody can list.

use crate::os::arguments::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, NETLINK_ROUTE, PER_CURRENT, PER_LINUX, TIOCLINUX, TIOCSTI,
};
use crate::os::seccomp::denials::{Denial, deny, deny_when};
use crate::os::seccomp::{bits, is, is_not};

/// What is refused, and what it would be misused for.
pub(super) const STANDARD: &[Denial] = &[
    deny(&["ptrace", "process_vm_readv", "process_vm_writev"], "other processes' memory and course"),
    deny(&["pidfd_getfd", "kcmp"], "other processes' descriptors"),
    deny(
        &[
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "fsopen",
            "fsconfig",
            "fsmount",
            "fspick",
            "open_tree",
            "move_mount",
        ],
        "another view of the file system, where a path means another file",
    ),
    deny(&["mount_setattr"], "the same, by attributes of mounts"),
    deny(&["unshare", "setns"], "namespaces: a root of one's own, and with it the kernel's least tried code"),
    deny_when(
        &["clone"],
        &[
            &[bits(0, CLONE_NEWNS, CLONE_NEWNS)],
            &[bits(0, CLONE_NEWCGROUP, CLONE_NEWCGROUP)],
            &[bits(0, CLONE_NEWUTS, CLONE_NEWUTS)],
            &[bits(0, CLONE_NEWIPC, CLONE_NEWIPC)],
            &[bits(0, CLONE_NEWUSER, CLONE_NEWUSER)],
            &[bits(0, CLONE_NEWPID, CLONE_NEWPID)],
            &[bits(0, CLONE_NEWNET, CLONE_NEWNET)],
        ],
        "the same by clone; processes and threads stay possible",
    ),
    deny(&["clone3"], "its flags lie in memory, where no filter sees them; the C library then uses clone").as_unknown(),
    deny(&["bpf", "perf_event_open", "userfaultfd"], "interfaces by which the kernel itself is attacked"),
    deny(&["io_uring_setup", "io_uring_enter", "io_uring_register"], "a second way to make calls, past every filter"),
    deny(&["add_key", "request_key", "keyctl"], "the kernel's key rings, which are not of one's own namespace"),
    deny(&["init_module", "finit_module", "delete_module"], "code in the kernel"),
    deny(&["kexec_load", "reboot", "swapon", "swapoff"], "the whole machine"),
    deny(&["kexec_file_load"], "the whole machine"),
    deny(
        &["settimeofday", "clock_settime", "adjtimex", "clock_adjtime"],
        "the clock, by which sessions and certificates end",
    ),
    deny(&["sethostname", "setdomainname", "syslog", "acct", "quotactl", "quotactl_fd"], "an administrator's calls"),
    deny(&["vhangup", "nfsservctl", "lookup_dcookie"], "an administrator's calls").legacy(),
    deny(&["open_by_handle_at", "fanotify_init", "fanotify_mark"], "files around their paths"),
    deny(&["iopl", "ioperm", "modify_ldt"], "ports of the hardware, segments of the processor").legacy(),
    deny(&["ustat", "sysfs", "_sysctl", "uselib"], "relics with a history of holes").legacy(),
    deny_when(
        &["personality"],
        &[&[is_not(0, PER_LINUX), is_not(0, PER_CURRENT)]],
        "addresses that can be foretold, memory that can always be executed",
    ),
    deny_when(
        &["ioctl"],
        &[&[is(1, TIOCSTI)], &[is(1, TIOCLINUX)]],
        "typing into the terminal from which the guard was started",
    ),
    deny_when(
        &["socket"],
        &[
            &[is_not(0, AF_UNIX), is_not(0, AF_INET), is_not(0, AF_INET6), is_not(0, AF_NETLINK)],
            // Addresses of interfaces are asked for there; nftables, audit, and uevents are others' business.
            &[is(0, AF_NETLINK), is_not(2, NETLINK_ROUTE)],
        ],
        "families that ComfyUI does not speak: raw packets, the hypervisor, kernel cryptography, buses",
    ),
];

/// Where Landlock cannot tell TCP ports apart yet, `strict` keeps its word by no connection at all, to UNIX sockets neither.
pub(super) const CONNECTIONS: &[Denial] = &[deny(&["connect"], "every way out")];
