//! Counting the bytes of a guest's connection, inside TLS: heads, bodies and tunnels pass here alike, over HTTP/1.1 and HTTP/2.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::telemetry::metrics::{ByteCounter, Metrics};

/// A connection whose bytes are counted.
pub(crate) struct Metered<S> {
    inner: S,
    received: ByteCounter,
    sent: ByteCounter,
}

impl<S> Metered<S> {
    /// Counts from now on.
    pub(crate) fn new(inner: S, metrics: &Metrics) -> Self {
        Self { inner, received: metrics.received.clone(), sent: metrics.sent.clone() }
    }

    fn note(&self, written: &io::Result<usize>) {
        if let Ok(count) = written {
            self.sent.inc_by(*count as u64);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.received.inc_by((buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        self.note(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, bytes));
        self.note(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn every_byte_is_counted_once_each_way() {
        let metrics = Metrics::new();
        let (near, mut far) = duplex(64);
        let mut near = Metered::new(near, &metrics);
        let (sent, got) = tokio::join!(
            async {
                near.write_all(&[7; 1000]).await.unwrap();
                near.read_exact(&mut [0; 30]).await.unwrap();
            },
            async {
                far.read_exact(&mut [0; 1000]).await.unwrap();
                far.write_all(&[1; 30]).await.unwrap();
            }
        );
        let ((), ()) = (sent, got);
        assert_eq!((metrics.sent.get(), metrics.received.get()), (1000, 30));
    }
}
