//! The channel: one packet, one message; bounded, and wiped after use because a packet may carry a key.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zeroize::Zeroizing;

use crate::os::packet;

/// The largest message in bytes. A certificate chain and a list of origins fit; a flood does not.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

/// Why a message did not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    /// The socket failed.
    #[error("the channel failed: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not a message.
    #[error("a message could not be read: {0}")]
    Undecodable(postcard::Error),
    /// Bytes are left behind the message.
    #[error("{0} bytes stand behind a message")]
    Trailing(usize),
    /// The message cannot be written.
    #[error("a message of {length} bytes is over the limit of {MAX_MESSAGE}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// The message cannot be written.
    #[error("a message could not be written: {0}")]
    Unencodable(postcard::Error),
}

/// One end of the socket pair between the supervisor and a role.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: AsyncFd<OwnedFd>,
}

impl Channel {
    /// Takes a non-blocking `SOCK_SEQPACKET` socket over. Needs a running tokio reactor.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: packet::register(socket)? })
    }

    /// Sends a message; waits while the peer is behind.
    pub(crate) async fn send<T: Serialize>(&self, message: &T) -> Result<(), ChannelError> {
        self.send_with(message, &[]).await
    }

    /// Sends a message with descriptors.
    pub(crate) async fn send_with<T: Serialize>(
        &self,
        message: &T,
        with: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let bytes = encode(message)?;
        let sent = self.socket.async_io(Interest::WRITABLE, |socket| packet::send(socket.as_fd(), &bytes, with)).await;
        sent.map_err(ChannelError::Io)
    }

    /// The next message and its descriptors; none when the peer has gone.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> Result<Option<(T, Vec<OwnedFd>)>, ChannelError> {
        let mut buffer = Zeroizing::new(vec![0u8; MAX_MESSAGE]);
        let received =
            self.socket.async_io(Interest::READABLE, |socket| packet::receive(socket.as_fd(), &mut buffer)).await;
        let (length, descriptors) = match received {
            // A peer that was killed with our message still unread shows as a reset: the same end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            other => other?,
        };
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        Ok(Some((decode(bytes)?, descriptors)))
    }
}

/// A message as bytes.
fn encode<T: Serialize>(message: &T) -> Result<Zeroizing<Vec<u8>>, ChannelError> {
    let bytes = Zeroizing::new(postcard::to_stdvec(message).map_err(ChannelError::Unencodable)?);
    if bytes.len() > MAX_MESSAGE {
        return Err(ChannelError::TooLong { length: bytes.len() });
    }
    Ok(bytes)
}

/// Bytes as a message, whole.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ChannelError> {
    let (message, rest) = postcard::take_from_bytes(bytes).map_err(ChannelError::Undecodable)?;
    if !rest.is_empty() {
        return Err(ChannelError::Trailing(rest.len()));
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::secret::Secret;
    use crate::wire::condition::{Condition, TABLE};
    use crate::wire::line::MAX_TEXT;
    use crate::wire::message::{FromGateway, FromSensor, ToGateway, Verdict};
    use crate::wire::overview::{ComfyuiFacts, GuardFacts, LINE, LINES, Overview};
    use proptest::prelude::*;
    use std::time::SystemTime;

    #[test]
    fn a_message_reads_back_as_written() {
        let question = FromGateway::Judge { ticket: 7, key: Secret::new(b"key".to_vec()) };
        let back: FromGateway = decode(&encode(&question).unwrap()).unwrap();
        assert!(matches!(back, FromGateway::Judge { ticket: 7, key } if key == Secret::new(b"key".to_vec())));
    }

    #[test]
    fn bytes_behind_a_message_are_refused() {
        let mut bytes = encode(&Verdict::Right).unwrap().to_vec();
        bytes.push(0);
        assert!(matches!(decode::<Verdict>(&bytes), Err(ChannelError::Trailing(1))));
    }

    #[test]
    fn a_message_over_the_limit_is_not_sent() {
        let message = FromGateway::Judge { ticket: 0, key: Secret::new(vec![0; MAX_MESSAGE]) };
        assert!(matches!(encode(&message), Err(ChannelError::TooLong { .. })));
    }

    #[test]
    fn an_overview_fits_whatever_comfyui_prints() {
        let held = TABLE.iter().map(|row| Condition {
            name: row.0,
            since: SystemTime::UNIX_EPOCH,
            cause: "😀".repeat(125), // as supervisor/conditions.rs cuts it
        });
        let overview = Overview {
            conditions: held.collect(),
            guard: GuardFacts {
                sandbox: vec![("supervisor".to_owned(), "x".repeat(MAX_TEXT)); 4],
                ..GuardFacts::default()
            },
            comfyui: ComfyuiFacts { last_lines: vec!["😀".repeat(LINE / 4); LINES], ..ComfyuiFacts::default() },
        };
        let bytes = encode(&ToGateway::Overview(Box::new(overview))).unwrap();
        assert!(bytes.len() < MAX_MESSAGE * 3 / 4, "{}", bytes.len());
    }

    #[tokio::test]
    async fn the_end_of_a_peer_is_no_message() {
        let (a, b) = packet::pair(MAX_MESSAGE).unwrap();
        let (a, b) = (Channel::new(a).unwrap(), Channel::new(b).unwrap());
        a.send(&FromSensor::Ready).await.unwrap();
        drop(a);
        assert!(matches!(b.receive::<FromSensor>().await, Ok(Some((FromSensor::Ready, _)))));
        assert!(matches!(b.receive::<FromSensor>().await, Ok(None)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _gateway = decode::<FromGateway>(&bytes);
            let _sensor = decode::<FromSensor>(&bytes);
        }
    }
}
