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
#[cfg(test)]
pub(crate) const SOCK_DGRAM: u32 = libc::SOCK_DGRAM as u32;

/// `getsockopt(2)` and `setsockopt(2)`, argument 1: the socket itself.
pub(crate) const SOL_SOCKET: u32 = libc::SOL_SOCKET as u32;
/// Argument 2: how a connection ended or began.
pub(crate) const SO_ERROR: u32 = libc::SO_ERROR as u32;
/// Argument 1: TCP.
pub(crate) const SOL_TCP: u32 = libc::SOL_TCP as u32;
/// Argument 2: small packets at once.
pub(crate) const TCP_NODELAY: u32 = libc::TCP_NODELAY as u32;

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

/// The bits that every thread's `clone` has: one memory, one process.
pub(crate) const CLONE_AS_THREAD: u32 = (libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD) as u32;

/// `fcntl(2)`, argument 1: the flags of a descriptor.
pub(crate) const F_GETFD: u32 = libc::F_GETFD as u32;
/// To set them.
pub(crate) const F_SETFD: u32 = libc::F_SETFD as u32;
/// The flags of what is open.
pub(crate) const F_GETFL: u32 = libc::F_GETFL as u32;
/// To set them.
pub(crate) const F_SETFL: u32 = libc::F_SETFL as u32;
/// A second descriptor, closed on exec.
pub(crate) const F_DUPFD_CLOEXEC: u32 = libc::F_DUPFD_CLOEXEC as u32;

/// `futex(2)`, argument 1: the bits that are the command (without "private" and "which clock").
pub(crate) const FUTEX_COMMAND: u32 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u32;
/// To wait.
pub(crate) const FUTEX_WAIT: u32 = libc::FUTEX_WAIT as u32;
/// To wake.
pub(crate) const FUTEX_WAKE: u32 = libc::FUTEX_WAKE as u32;
/// To wait with a mask.
pub(crate) const FUTEX_WAIT_BITSET: u32 = libc::FUTEX_WAIT_BITSET as u32;
/// To wake with a mask.
pub(crate) const FUTEX_WAKE_BITSET: u32 = libc::FUTEX_WAKE_BITSET as u32;

/// `ioctl(2)`, argument 1: the bits that say whose command it is (`_IOC_TYPE`).
pub(crate) const IOCTL_TYPE: u32 = 0xff00;
/// NVIDIA's kernel driver: `NV_IOCTL_MAGIC`, 'F'.
pub(crate) const IOCTL_NVIDIA: u32 = 0x4600;
/// `ioctl(2)`, argument 1: non-blocking on or off.
pub(crate) const FIONBIO: u32 = libc::FIONBIO as u32;
/// Close-on-exec.
pub(crate) const FIOCLEX: u32 = libc::FIOCLEX as u32;
/// Types into a terminal what its owner has not typed.
pub(crate) const TIOCSTI: u32 = libc::TIOCSTI as u32;
/// The same by pasting on a console.
pub(crate) const TIOCLINUX: u32 = libc::TIOCLINUX as u32;

/// `mmap(2)` and `mprotect(2)`, argument 2: memory that can be executed.
pub(crate) const PROT_EXEC: u32 = libc::PROT_EXEC as u32;
/// `mmap(2)`, argument 3: no file.
pub(crate) const MAP_ANONYMOUS: u32 = libc::MAP_ANONYMOUS as u32;
/// `madvise(2)`, argument 2: these pages are not needed now.
pub(crate) const MADV_DONTNEED: u32 = libc::MADV_DONTNEED as u32;
/// They may be taken when memory is short.
pub(crate) const MADV_FREE: u32 = libc::MADV_FREE as u32;
/// A forked child finds zeros: states of random generators.
pub(crate) const MADV_WIPEONFORK: u32 = libc::MADV_WIPEONFORK as u32;

/// `open(2)`: the bits that say for what (read, write, both).
pub(crate) const O_ACCMODE: u32 = libc::O_ACCMODE as u32;
/// To read.
pub(crate) const O_RDONLY: u32 = libc::O_RDONLY as u32;
/// To read and write.
pub(crate) const O_RDWR: u32 = libc::O_RDWR as u32;
/// And make it if it is missing.
pub(crate) const O_CREAT: u32 = libc::O_CREAT as u32;

/// `mknod(2)`: the bits of a mode that are the kind.
pub(crate) const S_IFMT: u32 = libc::S_IFMT;
/// A file.
pub(crate) const S_IFREG: u32 = libc::S_IFREG;
/// A pipe with a name.
pub(crate) const S_IFIFO: u32 = libc::S_IFIFO;
/// A socket with a name.
pub(crate) const S_IFSOCK: u32 = libc::S_IFSOCK;

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
