//! The gateway's own answers: JSON for programs, a page for browsers, always with what to do.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use serde_json::json;

use super::auth::caller::Caller;
use super::auth::refusal::Refusal;
use super::pages::{self, Language, Page, language};
use super::proxy::body::UpstreamBody;
use super::proxy::inject::Injected;
use crate::wire::message::GatewaySettings;

/// Whatever can go wrong while a body flows.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// The body of an answer.
pub(crate) enum Body {
    /// The gateway's own.
    Own(Full<Bytes>),
    /// ComfyUI's, as it comes.
    Upstream(UpstreamBody),
    /// ComfyUI's page, with our script in it.
    Page(Box<Injected<UpstreamBody>>),
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
            Self::Page(body) => Pin::new(body.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::Axum(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Page(body) => body.is_end_stream(),
            Self::Axum(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Page(body) => body.size_hint(),
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

/// The form of an answer: decided by who asks, never by what is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// For programs.
    Json,
    /// For a browser that goes to a page.
    Page(Language),
}

impl Look {
    /// What suits the sender of this request.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        match Caller::of(request.method(), request.headers()) {
            Caller::Navigation => Self::Page(language(request.headers().get(header::ACCEPT_LANGUAGE))),
            Caller::Program => Self::Json,
        }
    }
}

impl From<Refusal> for Own {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.message().to_owned();
        Self { status: refusal.status(), error: refusal.code(), message, retry_after: None }
    }
}

/// The error that an answer names, for those who count: kept beside the answer, as nobody parses its body again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedError(pub(crate) &'static str);

impl Own {
    /// In the form that suits who asked.
    pub(crate) fn respond_as(&self, look: Look, settings: &GatewaySettings) -> Response<Body> {
        match look {
            Look::Json => self.respond(),
            Look::Page(language) => {
                let shown = page(self.status, pages::notice(language, self, &settings.auth.frame_ancestors));
                self.with_fields(shown)
            }
        }
    }

    /// As JSON.
    pub(crate) fn respond(&self) -> Response<Body> {
        let body = json!({ "error": self.error, "message": self.message }).to_string();
        self.with_fields(json_body(self.status, body))
    }

    /// What the status owes besides a body.
    fn with_fields(&self, mut response: Response<Body>) -> Response<Body> {
        response.extensions_mut().insert(NamedError(self.error));
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            // Bearer first, and no bare Basic: a browser would pop its own window up.
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ComfyUI\""));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A page of ours under its own policy. Nobody keeps it: what it says depends on who asks.
pub(crate) fn page(status: StatusCode, page: Page) -> Response<Body> {
    let mut response = Response::new(Body::Own(Full::from(page.html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, page.policy);
    for (name, value) in PAGE_FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

const PAGE_FIELDS: [(header::HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CACHE_CONTROL, "no-store"),
    (header::VARY, "accept-language, cookie"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
];

/// JSON for programs. Nobody keeps it, and no browser takes it for anything else.
pub(crate) fn json_body(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::Own(Full::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
