//! One request: decide, ask for the key where one is needed, then answer or hand on. Every way in passes through here.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};

use super::answer::{Body, Own, json_body, wants_page};
use super::auth::credentials::{Presented, presented};
use super::auth::decide::{Decision, Head, OwnPage, decide};
use super::auth::refusal::Refusal;
use super::connection::Guest;
use super::endpoint::socket;
use super::proxy::forward::{self, Admission};
use super::proxy::origin;
use super::tap::Connection;
use crate::config::AnonymousWebsocket;
use crate::wire::message::{GatewaySettings, KeyState, Verdict};

/// Answers a request of HTTP/1.1, whose head was seen as it came.
pub(crate) async fn answer_seen(
    guest: Rc<Guest>,
    request: Request<Incoming>,
    seen: Result<Connection, Refusal>,
) -> Response<Body> {
    let mut response = match seen {
        Ok(_) => answer(guest, request).await,
        Err(refusal) => refuse(&guest, refusal, request),
    };
    if seen != Ok(Connection::GoesOn) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers a request, whatever it is.
pub(crate) async fn answer(guest: Rc<Guest>, request: Request<Incoming>) -> Response<Body> {
    let settings = guest.worker.shared.settings.load_full();
    let origins = &settings.auth.allowed_origins;
    let listed = if origins.is_empty() { None } else { origin::listed_origin(request.headers(), origins) };
    let facts = settings.log.access.then(|| (known(request.method()), request.uri().path().to_owned()));
    let head = *request.method() == Method::HEAD;
    let mut response = match preflight(&request, &settings) {
        Some(response) => response,
        None => decided(&guest, &settings, request).await,
    };
    if head {
        response = without_body(response);
    }
    if !origins.is_empty() {
        origin::answer_cors(response.headers_mut(), listed);
    }
    if let Some((method, path)) = facts {
        tracing::info!(peer = %guest.peer.ip(), method, path, status = response.status().as_u16(), "request");
    }
    response
}

/// A method for the log. An unknown one is a guest's own text, which could be anything, a key included.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// HEAD is answered as GET would be, without the body (RFC 9110, 9.3.2); over HTTP/2 hyper leaves that to us.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let Body::Own(own) = &body else { return Response::from_parts(parts, body) };
    if let Some(length) = own.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::Own(Full::default()))
}

/// Asked by a browser on behalf of a listed origin, before it sends the request itself: no key can come with that.
fn preflight(request: &Request<Incoming>, settings: &GatewaySettings) -> Option<Response<Body>> {
    if *request.method() != Method::OPTIONS || settings.auth.allowed_origins.is_empty() {
        return None;
    }
    let headers = origin::preflight(request.headers(), &settings.auth.allowed_origins)?;
    let mut response = Response::new(Body::Own(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    Some(response)
}

async fn decided(guest: &Rc<Guest>, settings: &GatewaySettings, request: Request<Incoming>) -> Response<Body> {
    let head = Head::of(&request);
    let decision = decide(&head, &settings.auth);
    if let Decision::Refused(refusal) = decision {
        return refuse(guest, refusal, request);
    }
    // Without a key nothing is handed on, not even what everybody may see: the first visitor must find nothing to use.
    let closed = settings.auth.enabled && guest.worker.shared.key.borrow().state == KeyState::Missing;
    let presented = presented(head.headers, head.query);
    match decision {
        Decision::Own(OwnPage::Health) => health(guest, settings, presented, request).await,
        _ if closed => own(guest, &no_key(), request),
        Decision::Exempt | Decision::Open => forward::hand_on(guest, settings, request, Admission::Everybody).await,
        Decision::NeedsKey | Decision::Socket(_) => match (admit(guest, presented).await, decision) {
            (Admitted::Yes, _) => forward::hand_on(guest, settings, request, Admission::Key).await,
            (Admitted::Nobody, Decision::Socket(AnonymousWebsocket::Passthrough)) => {
                forward::hand_on(guest, settings, request, Admission::Everybody).await
            }
            (Admitted::Nobody, Decision::Socket(AnonymousWebsocket::Status)) => anonymous_socket(guest, request).await,
            (Admitted::Nobody, _) => own(guest, &unauthorized("no key was given"), request),
            (Admitted::No(answer), _) => own(guest, &answer, request),
        },
        Decision::Refused(refusal) => refuse(guest, refusal, request),
    }
}

/// Whether a guest is let in.
enum Admitted {
    Yes,
    /// Nothing was presented.
    Nobody,
    No(Own),
}

async fn admit(guest: &Guest, presented: Presented) -> Admitted {
    let key = match presented {
        Presented::None => return Admitted::Nobody,
        Presented::Invalid(why) => return Admitted::No(unauthorized(&why.to_string())),
        Presented::Key(key) => key,
    };
    match guest.worker.shared.judge.judge(&key).await {
        Verdict::Right => {
            guest.rests_on_key.set(true);
            Admitted::Yes
        }
        Verdict::Wrong => {
            tracing::debug!(peer = %guest.peer.ip(), "wrong key");
            Admitted::No(unauthorized("the key is not the right one"))
        }
        Verdict::Busy => Admitted::No(Own {
            status: StatusCode::TOO_MANY_REQUESTS,
            error: "busy",
            message: "Too many keys are being checked. Try again.".to_owned(),
            retry_after: Some(1),
        }),
    }
}

/// Open to everybody; but a wrong key is told so, which makes asking here a sound check of a key.
async fn health(
    guest: &Guest,
    settings: &GatewaySettings,
    presented: Presented,
    request: Request<Incoming>,
) -> Response<Body> {
    let detailed = match presented {
        Presented::None => false,
        presented => match admit(guest, presented).await {
            Admitted::Yes => true,
            Admitted::Nobody => false,
            Admitted::No(answer) => return own(guest, &answer, request),
        },
    };
    discard(guest, request);
    let shared = &guest.worker.shared;
    let key = shared.key.borrow().state;
    let (status, body) = shared.health.borrow().render(key, !settings.auth.enabled, detailed);
    json_body(status, body)
}

async fn anonymous_socket(guest: &Guest, request: Request<Incoming>) -> Response<Body> {
    let shared = &guest.worker.shared;
    if shared.anonymous_sockets.load(Ordering::Relaxed) >= socket::MOST {
        let full = Own {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "too_many_sockets",
            message: "Too many WebSockets without a key are open.".to_owned(),
            retry_after: Some(30),
        };
        return own(guest, &full, request);
    }
    let (parts, _) = request.into_parts();
    socket::accept(shared.clone(), parts).await.map(Body::Axum)
}

fn refuse(guest: &Guest, refusal: Refusal, request: Request<Incoming>) -> Response<Body> {
    tracing::debug!(peer = %guest.peer.ip(), error = refusal.code(), "refused");
    let mut response = Own::from(refusal).respond(wants_page(request.method(), request.headers()));
    if let Some(allow) = refusal.allow() {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.ends_connection() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else {
        discard(guest, request);
    }
    response
}

/// An answer of the guard's own, in the form that suits who asks.
pub(crate) fn own(guest: &Guest, answer: &Own, request: Request<Incoming>) -> Response<Body> {
    let page = wants_page(request.method(), request.headers());
    discard(guest, request);
    answer.respond(page)
}

/// The body of a request that is answered without it.
fn discard(guest: &Guest, request: Request<Incoming>) {
    let body = request.into_body();
    if !body.is_end_stream() && guest.worker.unread.send(body).is_err() {
        tracing::debug!("the worker is ending");
    }
}

fn unauthorized(what: &str) -> Own {
    Own {
        status: StatusCode::UNAUTHORIZED,
        error: "unauthorized",
        message: format!(
            "This ComfyUI needs a key, and {what}. Send it as `Authorization: Bearer KEY`, `X-API-Key: KEY` or `?api_key=KEY`."
        ),
        retry_after: None,
    }
}

fn no_key() -> Own {
    Own {
        status: StatusCode::SERVICE_UNAVAILABLE,
        error: "no_key",
        message: "No key has been set on this machine, so nobody is let in. Its owner runs `comfy-guard set-key`."
            .to_owned(),
        retry_after: Some(10),
    }
}
