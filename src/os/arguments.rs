//! The numbers that tables of system calls compare arguments with: commands, flags, families.
#![allow(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "bits, as the kernel takes them")]

/// `socket(2)`, argument 0: IPv4.
pub(crate) const AF_INET: u32 = libc::AF_INET as u32;
/// IPv6.
pub(crate) const AF_INET6: u32 = libc::AF_INET6 as u32;
/// Local sockets.
pub(crate) const AF_UNIX: u32 = libc::AF_UNIX as u32;
/// The kernel's own talk (addresses of interfaces).
pub(crate) const AF_NETLINK: u32 = libc::AF_NETLINK as u32;

/// `socket(2)`, argument 1: the bits that are the type.
pub(crate) const SOCK_TYPE: u32 = 0xf;
/// A stream.
pub(crate) const SOCK_STREAM: u32 = libc::SOCK_STREAM as u32;
/// Single packets.
pub(crate) const SOCK_DGRAM: u32 = libc::SOCK_DGRAM as u32;

/// `clone(2)`, argument 0: every kind of namespace.
pub(crate) const CLONE_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
/// The same one by one, for what refuses each: mounts.
pub(crate) const CLONE_NEWNS: u32 = libc::CLONE_NEWNS as u32;
/// Control groups.
pub(crate) const CLONE_NEWCGROUP: u32 = libc::CLONE_NEWCGROUP as u32;
/// Host names.
pub(crate) const CLONE_NEWUTS: u32 = libc::CLONE_NEWUTS as u32;
/// System V IPC.
pub(crate) const CLONE_NEWIPC: u32 = libc::CLONE_NEWIPC as u32;
/// Users.
pub(crate) const CLONE_NEWUSER: u32 = libc::CLONE_NEWUSER as u32;
/// Process ids.
pub(crate) const CLONE_NEWPID: u32 = libc::CLONE_NEWPID as u32;
/// The network.
pub(crate) const CLONE_NEWNET: u32 = libc::CLONE_NEWNET as u32;
/// A thread of the same process.
pub(crate) const CLONE_THREAD: u32 = libc::CLONE_THREAD as u32;

/// `ioctl(2)`, argument 1: non-blocking on or off.
pub(crate) const FIONBIO: u32 = libc::FIONBIO as u32;
/// Close-on-exec.
pub(crate) const FIOCLEX: u32 = libc::FIOCLEX as u32;
/// How many bytes wait.
pub(crate) const FIONREAD: u32 = libc::FIONREAD as u32;
/// Types into a terminal what its owner has not typed.
pub(crate) const TIOCSTI: u32 = libc::TIOCSTI as u32;
/// The same by pasting on a console.
pub(crate) const TIOCLINUX: u32 = libc::TIOCLINUX as u32;

/// `mmap(2)` and `mprotect(2)`, argument 2: memory that can be executed.
pub(crate) const PROT_EXEC: u32 = libc::PROT_EXEC as u32;
/// `mmap(2)`, argument 3: no file.
pub(crate) const MAP_ANONYMOUS: u32 = libc::MAP_ANONYMOUS as u32;

/// `socket(2)`, argument 2, of the kernel's own talk: addresses and routes.
pub(crate) const NETLINK_ROUTE: u32 = libc::NETLINK_ROUTE as u32;
/// `socket(2)`, argument 2: TCP by name; 0 means it too.
pub(crate) const IPPROTO_TCP: u32 = libc::IPPROTO_TCP as u32;
/// `send(2)` and its kin, flags: connect and send in one.
pub(crate) const MSG_FASTOPEN: u32 = libc::MSG_FASTOPEN as u32;

/// `personality(2)`, argument 0: an ordinary process.
pub(crate) const PER_LINUX: u32 = 0;
/// A question about the present one.
pub(crate) const PER_CURRENT: u32 = u32::MAX;
