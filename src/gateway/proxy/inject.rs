//! The guide's script goes into ComfyUI's page as it streams through: one tag, first thing in the head.

mod head;
#[cfg(test)]
mod tests;
mod validators;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use head::{Found, Reader};

/// What is put in. Not `defer` or `async`: it must have wrapped `fetch` before ComfyUI's scripts run.
const TAG: &str = "<script src=\"/auth_inject.js\"></script>";

/// How far into the page the head is looked for, in bytes, and so the most that waits here.
const WINDOW: usize = 64 * 1024;

/// What a guest asked for who asked for the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The page.
    Page,
    /// Its head only: ComfyUI is asked for the page all the same, as the length cannot be known without it.
    HeadOfPage,
}

/// Readies a request for handing on if it asks for ComfyUI's page; `None`: it does not, and was not touched.
///
/// After this the request is a GET without conditions but our own.
pub(crate) fn prepare<B>(request: &mut Request<B>) -> Option<Asked> {
    if !matches!(request.uri().path(), "/" | "/index.html") {
        return None;
    }
    let asked = match *request.method() {
        Method::GET => Asked::Page,
        Method::HEAD => Asked::HeadOfPage,
        _ => return None,
    };
    *request.method_mut() = Method::GET;
    validators::ask_for_whole_page(request.headers_mut());
    Some(asked)
}

/// Puts the tag into ComfyUI's answer to a [`prepare`]d request, if that is a page with a head.
///
/// Reads up to the head's end, 64 KiB at most, before it returns; the rest streams.
///
/// # Errors
/// Those of the body, while the head is read.
pub(crate) async fn inject<B: Body<Data = Bytes> + Unpin>(
    response: Response<B>,
    asked: Asked,
) -> Result<Response<Injected<B>>, B::Error> {
    let (mut parts, body) = response.into_parts();
    let body = match parts.status {
        StatusCode::OK if is_readable_page(&parts.headers) => {
            let mut body = Injected::gather(body).await?;
            if let Some(at) = body.place_of_tag() {
                body.insert(at);
                validators::tell_of_tag(&mut parts.headers, TAG.len());
            }
            body
        }
        StatusCode::NOT_MODIFIED => {
            validators::tell_of_version(&mut parts.headers);
            Injected::untouched(body)
        }
        _ => Injected::untouched(body),
    };
    let body = if asked == Asked::HeadOfPage { Injected::empty() } else { body };
    Ok(Response::from_parts(parts, body))
}

/// HTML in plain bytes. ComfyUI was asked for those; what it encodes all the same is not taken apart.
fn is_readable_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is_html = essence.eq_ignore_ascii_case(b"text/html");
    let is_plain = headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding == "identity");
    if is_html && !is_plain {
        tracing::warn!("ComfyUI sent its page encoded, unasked; auth_inject.js is not put into it");
    }
    is_html && is_plain
}

/// The body of a page: what was read ahead, then the rest as it comes.
#[derive(Debug)]
pub(crate) struct Injected<B> {
    front: Bytes,
    rest: Option<B>,
    /// Came while the front was read.
    trailers: Option<HeaderMap>,
}

impl<B> Injected<B> {
    fn untouched(body: B) -> Self {
        Self { front: Bytes::new(), rest: Some(body), trailers: None }
    }

    fn empty() -> Self {
        Self { front: Bytes::new(), rest: None, trailers: None }
    }

    /// The offset of the tag; `None`: no head, or the page brings the script itself.
    fn place_of_tag(&self) -> Option<usize> {
        let window = self.front.get(..WINDOW).unwrap_or(&self.front);
        let Some(Found::At(at)) = Reader::default().read(window) else { return None };
        let (_, head) = window.split_at_checked(at)?;
        let head = end_of_head(head).and_then(|end| head.get(..end)).unwrap_or(head);
        (!brings_script(head)).then_some(at)
    }

    fn insert(&mut self, at: usize) {
        let (before, after) = self.front.split_at(at.min(self.front.len()));
        self.front = [before, TAG.as_bytes(), after].concat().into();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Injected<B> {
    /// Reads until the head has ended, or cannot come, or the window is full.
    async fn gather(mut body: B) -> Result<Self, B::Error> {
        let (mut front, mut reader, mut head) = (Vec::new(), Reader::default(), None);
        while front.len() < WINDOW && !body.is_end_stream() {
            let data = match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => data,
                Some(Err(other)) => {
                    return Ok(Self { front: front.into(), rest: Some(body), trailers: other.into_trailers().ok() });
                }
                None => break,
            };
            // Where the end of the head is looked for: it may have begun in what came before.
            let mut from = front.len().saturating_sub(END_OF_HEAD.len());
            front.extend_from_slice(&data);
            if head.is_none() {
                head = reader.read(&data);
                from = 0;
            }
            let is_decided = match head {
                None => false,
                Some(Found::Nowhere) => true,
                Some(Found::At(at)) => front.get(at.max(from)..).is_some_and(|rest| end_of_head(rest).is_some()),
            };
            if is_decided {
                break;
            }
        }
        Ok(Self { front: front.into(), rest: Some(body), trailers: None })
    }
}

const END_OF_HEAD: &[u8] = b"</head";

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(END_OF_HEAD.len()).position(|window| window.eq_ignore_ascii_case(END_OF_HEAD))
}

/// Whether a `src` names the script, as in a page that was patched by hand after the guide.
fn brings_script(head: &[u8]) -> bool {
    const NAME: &[u8] = b"auth_inject.js";
    let is_path = |byte: &u8| matches!(byte, b'.' | b'/' | b'"' | b'\'' | b' ');
    head.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).any(|(at, _)| {
        let before = head.split_at(at).0;
        let end = before.iter().rposition(|byte| !is_path(byte)).map_or(0, |last| last + 1);
        let attribute = before.split_at(end).0;
        attribute.len() >= 4 && attribute.split_at(attribute.len() - 4).1.eq_ignore_ascii_case(b"src=")
    })
}

impl<B: Body<Data = Bytes> + Unpin> Body for Injected<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.front.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.front)))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        if frame.is_none() {
            self.rest = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty() && self.trailers.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let front = u64::try_from(self.front.len()).unwrap_or(u64::MAX);
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut whole = SizeHint::new();
        whole.set_lower(rest.lower().saturating_add(front));
        if let Some(upper) = rest.upper() {
            whole.set_upper(upper.saturating_add(front));
        }
        whole
    }
}
