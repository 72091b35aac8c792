//! Packets between two processes: a `SOCK_SEQPACKET` pair, which keeps message boundaries and carries descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, setsockopt,
    socketpair, sockopt,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most descriptors that one packet carries.
pub(crate) const MAX_DESCRIPTORS: usize = 16;

/// A connected, close-on-exec, non-blocking pair; each side's send buffer holds at least `room` bytes.
pub(crate) fn pair(room: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    for end in [&ours, &theirs] {
        setsockopt(end, sockopt::SndBuf, &room)?;
    }
    Ok((ours, theirs))
}

/// Gives a socket to the running reactor.
pub(crate) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd names the same open descriptor for as long as it lives, and it lives in the AsyncFd.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) };
    registered.map_err(io::Error::from)
}

/// Sends one packet, whole or not at all.
///
/// `MSG_NOSIGNAL`: a peer that has gone is an error to handle, not a SIGPIPE.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::EMSGSIZE.into()) }
}

/// Receives one packet into `buffer`: its length (0 when the peer has closed) and the descriptors that came with it.
///
/// A packet that was longer than the buffer, or brought more descriptors than there is room for, is `EMSGSIZE`: a
/// truncated message must never be read as a whole one.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = nix::cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel has just put these descriptors into our table and nobody else knows their numbers.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(Errno::EMSGSIZE.into());
    }
    Ok((message.bytes, descriptors))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_packet_arrives_whole_with_its_descriptors() {
        let (a, b) = pair(1 << 16).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        send(a.as_fd(), b"one", &[far.as_fd()]).unwrap();
        send(a.as_fd(), b"two", &[]).unwrap();
        let mut buffer = [0; 16];
        let (length, mut descriptors) = receive(b.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"one");
        let mut passed = UnixStream::from(descriptors.pop().unwrap());
        passed.write_all(b"through").unwrap();
        let mut text = [0; 7];
        near.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"through");
        assert_eq!(receive(b.as_fd(), &mut buffer).unwrap().0, 3);
    }

    #[test]
    fn a_packet_that_does_not_fit_is_an_error() {
        let (a, b) = pair(1 << 16).unwrap();
        send(a.as_fd(), &[7; 32], &[]).unwrap();
        let error = receive(b.as_fd(), &mut [0; 16]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EMSGSIZE as i32));
    }

    #[test]
    fn a_peer_that_has_gone_is_an_end_or_an_error_and_no_signal() {
        let (a, b) = pair(1 << 16).unwrap();
        drop(b);
        assert_eq!(send(a.as_fd(), b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(receive(a.as_fd(), &mut [0; 4]).unwrap().0, 0);
    }
}
