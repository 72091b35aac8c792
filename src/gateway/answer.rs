//! The gateway's own answers: JSON for programs, a page for browsers, always with what to do.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde_json::json;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::auth::refusal::Refusal;
use super::pages::Language;
use super::proxy::body::UpstreamBody;

/// Whatever can go wrong while a body flows.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// The body of an answer.
pub(crate) enum Body {
    /// The gateway's own.
    Own(Full<Bytes>),
    /// ComfyUI's, as it comes.
    Upstream(UpstreamBody),
    /// axum's.
    Axum(axum::body::Body),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Axum(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Axum(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Axum(body) => body.size_hint(),
        }
    }
}

/// An answer of the guard's own: what it is, in a word for programs and in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    /// The status code.
    pub(crate) status: StatusCode,
    /// A word that programs can compare.
    pub(crate) error: &'static str,
    /// What happened and what to do.
    pub(crate) message: String,
    /// After how many seconds to try again.
    pub(crate) retry_after: Option<u32>,
}

/// Whether whoever asks is a browser that shows a page: a navigation that accepts HTML. Decides the form of an answer,
/// never its status.
pub(crate) fn wants_page(method: &http::Method, headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    method == http::Method::GET && accepts.is_some_and(|value| value.contains("text/html"))
}

impl From<Refusal> for Own {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.message().to_owned();
        Self { status: refusal.status(), error: refusal.code(), message, retry_after: None }
    }
}

impl Own {
    /// As JSON, or as a page where a person looks.
    pub(crate) fn respond(&self, page: bool) -> Response<Body> {
        let page = page.then(|| super::pages::notice(Language::English, self, &[]));
        let (kind, body, policy) = match page {
            Some(page) => ("text/html; charset=utf-8", page.html, Some(page.policy)),
            None => ("application/json", self.json(), None),
        };
        let mut response = Response::new(Body::Own(Full::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(policy) = policy {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // Bearer first, and no bare Basic: a browser would pop its own window up.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ComfyUI\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn json(&self) -> String {
        json!({ "error": self.error, "message": self.message }).to_string()
    }
}

/// JSON that is no error.
pub(crate) fn json_body(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::Own(Full::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
