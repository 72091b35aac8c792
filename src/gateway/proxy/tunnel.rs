//! WebSockets: after the upgrade, bytes both ways. Frames, compression and close codes are ComfyUI's and the guest's own.
//!
//! A tunnel that is silent holds no buffer: each thread has one, borrowed while bytes are there.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

use super::forward::Admission;
use crate::gateway::sessions::one_of;
use crate::gateway::shared::Shared;
use crate::units::Span;

/// Large enough for a preview picture in one read.
const SCRATCH: usize = 128 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Carries bytes until both sides have ended, the key that the tunnel rests on changes, the gateway ends, or nothing has
/// moved for `idle`.
pub(crate) async fn carry<G, U>(guest: G, upstream: U, shared: &Shared, admission: Admission, idle: Option<Span>)
where
    G: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut key, mut draining, mut ends) =
        (shared.key.subscribe(), shared.draining.subscribe(), shared.sessions.ends());
    let moved = Rc::new(Cell::new(Instant::now()));
    let (guest_read, guest_write) = tokio::io::split(guest);
    let (upstream_read, upstream_write) = tokio::io::split(upstream);
    let both = async {
        let up = Direction::new(guest_read, upstream_write, moved.clone());
        let down = Direction::new(upstream_read, guest_write, moved.clone());
        // The end of one side lets the other go on; a failure of one ends both, or the peer of a guest that vanished
        // would never know.
        tokio::try_join!(up.run(), down.run())
    };
    let why = tokio::select! {
        result = both => {
        if let Err(error) = result {
            tracing::debug!(%error, "a WebSocket broke off");
        }
        return;
    }
    _ = key.changed(), if admission != Admission::Everybody => "the key was changed",
    () = one_of(&mut ends, |session| admission == Admission::Session(*session)),
        if matches!(admission, Admission::Session(_)) => "its session has ended",
        _ = draining.wait_for(|draining| *draining) => "the gateway is ending",
        () = silence(moved.clone(), idle) => "it was silent for too long",
    };
    tracing::debug!("a WebSocket was ended: {why}");
}

/// Ends when nothing has moved for `idle`; never where there is no limit.
async fn silence(moved: Rc<Cell<Instant>>, idle: Option<Span>) {
    let Some(idle) = idle else { return std::future::pending().await };
    loop {
        let end = moved.get() + idle.0;
        if Instant::now() >= end {
            return;
        }
        sleep_until(end).await;
    }
}

/// One direction: read, write, flush; at the end of the source the sink is shut, and the other direction goes on.
struct Direction<R, W> {
    source: R,
    sink: W,
    /// What was read and not yet taken by the sink.
    waiting: Vec<u8>,
    written: usize,
    unflushed: bool,
    moved: Rc<Cell<Instant>>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Direction<R, W> {
    fn new(source: R, sink: W, moved: Rc<Cell<Instant>>) -> Self {
        Self { source, sink, waiting: Vec::new(), written: 0, unflushed: false, moved }
    }

    fn run(mut self) -> impl Future<Output = io::Result<()>> {
        poll_fn(move |cx| self.poll(cx))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_waiting(cx))?;
            match self.poll_pass(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Pin::new(&mut self.sink).poll_shutdown(cx),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // Nothing more to read now: what the sink holds back must go.
                    if self.unflushed {
                        ready!(Pin::new(&mut self.sink).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Writes what waits; the buffer is given back as soon as it is empty.
    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(Pin::new(&mut self.sink).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unflushed = true;
        }
        self.waiting = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads into the thread's buffer and writes from it; what the sink does not take is kept. False at the end.
    fn poll_pass(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.source).poll_read(cx, &mut read))?;
            let mut bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.moved.set(Instant::now());
            self.unflushed = true;
            while !bytes.is_empty() {
                match Pin::new(&mut self.sink).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(count)) => bytes = bytes.get(count..).unwrap_or_default(),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        self.waiting = bytes.to_vec();
                        break;
                    }
                }
            }
            Poll::Ready(Ok(true))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn direction<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(source: R, sink: W) -> Direction<R, W> {
        Direction::new(source, sink, Rc::new(Cell::new(Instant::now())))
    }

    #[tokio::test]
    async fn every_byte_arrives_through_a_narrow_sink() {
        let (mut near, source) = duplex(300_000);
        let (sink, mut far) = duplex(1000);
        let sent: Vec<u8> = (0..250_000u32).map(|n| n.to_le_bytes().iter().fold(0, |a, b| a ^ b)).collect();
        near.write_all(&sent).await.unwrap();
        drop(near);
        let mut got = Vec::new();
        let (ended, read) = tokio::join!(direction(source, sink).run(), far.read_to_end(&mut got));
        ended.unwrap();
        read.unwrap();
        assert_eq!(got, sent);
    }

    #[tokio::test]
    async fn an_end_is_passed_on_and_a_silent_direction_holds_nothing() {
        let (near, source) = duplex(10);
        let (sink, mut far) = duplex(10);
        let waiting = direction(source, sink);
        assert_eq!(waiting.waiting.capacity(), 0);
        drop(near);
        waiting.run().await.unwrap();
        assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
