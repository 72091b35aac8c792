//! Descriptors: the limit, the ones passed by number, and listening sockets that outlive a worker.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};

/// Where a role finds its end of the socket pair.
pub(crate) const CHANNEL: RawFd = 3;

/// Takes over a descriptor that this process was started with, by its number; an error when nothing is there.
///
/// To be called once per number, before anything else opens descriptors: the number is the only proof of ownership.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on any number is harmless; it answers EBADF where nothing is open.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, was given to this process for this purpose, and is taken once (see above).
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: plain flag change on a descriptor that we own.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(owned)
}

/// Raises the soft limit of open descriptors to the hard one: every guest and every WebSocket takes one or two.
pub(crate) fn raise_limit() -> io::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// A listening TCP socket on `address`, non-blocking and close-on-exec.
///
/// An IPv6 address takes IPv6 only, so that `[::]:443` and `0.0.0.0:443` can stand side by side; `[::]` alone takes both,
/// as nginx and Caddy users expect.
pub(crate) fn listen_on(address: SocketAddr, dual_stack: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &!dual_stack)?;
    }
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(4096).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

/// The address that a listening socket is bound to.
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    TcpListener::from(socket.try_clone_to_owned()?).local_addr()
}
