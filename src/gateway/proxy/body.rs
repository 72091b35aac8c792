//! Bodies in transit: streamed both ways with the slower side's pace, never gathered.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use super::pool::Lease;

/// A guest's request body on its way to ComfyUI.
///
/// When ComfyUI answers without having read it to the end (413, say), the rest is read and dropped, for a while: a
/// connection that is closed with unread bytes is reset, and the guest would never see the answer.
pub(crate) struct GuestBody {
    inner: Option<Incoming>,
    sent: Rc<Cell<bool>>,
    unread: mpsc::UnboundedSender<Incoming>,
}

impl GuestBody {
    /// `sent` becomes true when the whole body has been taken.
    pub(crate) fn new(inner: Incoming, sent: Rc<Cell<bool>>, unread: mpsc::UnboundedSender<Incoming>) -> Self {
        sent.set(inner.is_end_stream());
        Self { inner: Some(inner), sent, unread }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || inner.is_end_stream() {
            self.sent.set(!matches!(frame, Some(Err(_))));
            self.inner = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream())
            && self.unread.send(inner).is_err()
        {
            tracing::debug!("the worker is ending");
        }
    }
}

/// ComfyUI's answer on its way to a guest. Read to its end, its connection is used again.
pub(crate) struct UpstreamBody {
    inner: Incoming,
    lease: Option<Lease>,
}

impl UpstreamBody {
    /// An answer and the connection that it came on.
    pub(crate) fn new(inner: Incoming, lease: Lease) -> Self {
        let mut body = Self { inner, lease: Some(lease) };
        body.give_back_at_end();
        body
    }

    /// An answer whose connection is not to be used again.
    pub(crate) fn alone(inner: Incoming) -> Self {
        Self { inner, lease: None }
    }

    fn give_back_at_end(&mut self) {
        if self.inner.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match frame {
            Some(Ok(_)) => self.give_back_at_end(),
            None => {
                if let Some(lease) = self.lease.take() {
                    lease.give_back();
                }
            }
            // A connection that failed is not used again.
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
