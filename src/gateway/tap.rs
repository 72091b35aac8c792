//! The head as it came, beside hyper: some of what hyper tolerates it also hides (a `Content-Length` beside
//! `Transfer-Encoding`, a second equal `Content-Length`, a fragment), and what is hidden may be another request to
//! somebody else in the chain (RFC 9112, 6.3 and 11.2). Here it is seen, by hyper's own parser, and refused.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::auth::refusal::Refusal;

/// As many fields as the connection takes.
pub(crate) const MOST_FIELDS: usize = 128;

/// What a head means for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// It may go on.
    GoesOn,
    /// It ends with the answer: after a chunked body, or what was to be an upgrade, nobody counts bytes here any more.
    Ends,
}

/// Looks on while hyper reads a connection.
#[derive(Debug, Clone)]
pub(crate) struct Tap(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    /// The next head, as far as it has come, and perhaps more.
    Head(Vec<u8>),
    /// A body of which so much is still to come.
    Body(u64),
    /// Nothing is looked at any more.
    Off,
}

impl Tap {
    /// Before the first head.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::Head(Vec::new()))))
    }

    /// The head of the request that hyper has just handed over.
    pub(crate) fn inspect(&self) -> Result<Connection, Refusal> {
        let mut state = self.state();
        let State::Head(bytes) = &*state else { return Err(Refusal::BadContentLength) };
        let seen = look(bytes)?;
        let behind = bytes.get(seen.head..).map(<[u8]>::to_vec).unwrap_or_default();
        match seen.body {
            Some(length) => {
                *state = State::Body(length);
                state.feed(&behind);
                Ok(Connection::GoesOn)
            }
            None => {
                *state = State::Off;
                Ok(Connection::Ends)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands in a head.
struct Seen {
    /// Its length in bytes.
    head: usize,
    /// The body's length; none where it cannot be counted.
    body: Option<u64>,
}

fn look(bytes: &[u8]) -> Result<Seen, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // hyper has parsed these very bytes; if they read otherwise here, the count is lost.
    let Ok(httparse::Status::Complete(head)) = request.parse(bytes) else { return Err(Refusal::BadContentLength) };
    if request.path.is_none_or(|target| target.contains('#')) {
        return Err(Refusal::BadPath);
    }
    let (mut length, mut chunked, mut upgrade) = (None, false, false);
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse::<u64>().ok());
            if length.replace(number.ok_or(Refusal::BadContentLength)?).is_some() {
                return Err(Refusal::BadContentLength);
            }
        }
        chunked |= field.name.eq_ignore_ascii_case("transfer-encoding");
        upgrade |= field.name.eq_ignore_ascii_case("upgrade");
    }
    match (chunked, length) {
        (true, Some(_)) => Err(Refusal::TwoLengths),
        (true, None) => Ok(Seen { head, body: None }),
        _ if upgrade => Ok(Seen { head, body: None }),
        (false, length) => Ok(Seen { head, body: Some(length.unwrap_or(0)) }),
    }
}

impl State {
    fn feed(&mut self, bytes: &[u8]) {
        match self {
            Self::Head(head) => head.extend_from_slice(bytes),
            Self::Body(left) => {
                let body = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= body as u64;
                if *left == 0 {
                    *self = Self::Head(bytes.get(body..).unwrap_or_default().to_vec());
                }
            }
            Self::Off => {}
        }
    }
}

/// A stream with a tap on what is read.
#[derive(Debug)]
pub(crate) struct Tapped<S> {
    inner: S,
    tap: Tap,
}

impl<S> Tapped<S> {
    /// Puts the tap on.
    pub(crate) fn new(inner: S, tap: Tap) -> Self {
        Self { inner, tap }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.tap.state().feed(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn head(fields: &str) -> Result<Option<u64>, Refusal> {
        look(format!("POST /prompt HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()).map(|seen| seen.body)
    }

    #[test]
    fn what_hyper_hides_is_refused() {
        assert_eq!(head("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), Err(Refusal::TwoLengths));
        assert_eq!(head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), Err(Refusal::TwoLengths));
        assert_eq!(head("Content-Length: 3\r\nContent-Length: 3\r\n"), Err(Refusal::BadContentLength));
        assert_eq!(head("Content-Length: +3\r\n"), Ok(Some(3)), "hyper has refused a sign already");
        let fragment = look(b"GET /queue#.json HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(fragment.err(), Some(Refusal::BadPath));
    }

    #[test]
    fn after_a_body_that_is_not_counted_the_connection_ends() {
        assert_eq!(head("Transfer-Encoding: chunked\r\n"), Ok(None));
        assert_eq!(head("Connection: upgrade\r\nUpgrade: websocket\r\n"), Ok(None));
        let tap = Tap::new();
        tap.state().feed(b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n");
        assert_eq!(tap.inspect(), Ok(Connection::Ends));
        assert_eq!(tap.inspect(), Err(Refusal::BadContentLength));
    }

    proptest! {
        #[test]
        fn each_of_many_requests_is_found_however_they_are_cut(
            bodies in proptest::collection::vec(0usize..50, 1..8),
            cut in 1usize..40,
        ) {
            let stream: Vec<u8> = bodies.iter().enumerate().flat_map(|(n, length)| {
                let mut request = format!("POST /{n} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes();
                request.extend(std::iter::repeat_n(b'#', *length));
                request
            }).collect();
            let tap = Tap::new();
            let mut found = 0;
            for piece in stream.chunks(cut) {
                tap.state().feed(piece);
                loop {
                    let whole = match &*tap.state() {
                        State::Head(bytes) => look(bytes).is_ok(),
                        _ => false,
                    };
                    if !whole { break; }
                    prop_assert_eq!(tap.inspect(), Ok(Connection::GoesOn));
                    found += 1;
                }
            }
            prop_assert_eq!(found, bodies.len());
        }
    }
}
