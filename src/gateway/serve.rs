//! One request: decide, ask for the key where one is needed, then answer or hand on. Every way in passes through here.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::admit::{Admitted, admit, unauthorized};
use super::answer::{Body, Look, NamedError, Own, json_body};
use super::auth::caller::{Caller, Unauthenticated, unauthenticated};
use super::auth::credentials::{Presented, presented};
use super::auth::decide::{Decision, Head, OwnPage, decide};
use super::auth::refusal::Refusal;
use super::connection::Guest;
use super::endpoint::{guard, login, metrics, session, socket};
use super::proxy::forward::{self, Admission};
use super::proxy::origin;
use super::tap::Connection;
use crate::config::AnonymousWebsocket;
use crate::telemetry::metrics::{Class, Code};
use crate::wire::message::{GatewaySettings, KeyState};

/// Answers a request of HTTP/1.1, whose head was seen as it came.
pub(crate) async fn answer_seen(
    guest: Rc<Guest>,
    request: Request<Incoming>,
    seen: Result<Connection, Refusal>,
) -> Response<Body> {
    let mut response = match seen {
        Ok(_) => answer(guest, request).await,
        Err(refusal) => {
            let began = Instant::now();
            let response = refuse(&guest, &guest.worker.shared.settings.load_full(), refusal, request);
            note(&guest, Class::Refused, began, &response);
            response
        }
    };
    if seen != Ok(Connection::GoesOn) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers a request, whatever it is.
pub(crate) async fn answer(guest: Rc<Guest>, request: Request<Incoming>) -> Response<Body> {
    let began = Instant::now();
    let settings = guest.worker.shared.settings.load_full();
    let origins = &settings.auth.allowed_origins;
    let listed = if origins.is_empty() { None } else { origin::listed_origin(request.headers(), origins) };
    let facts = settings.log.access.then(|| (known(request.method()), request.uri().path().to_owned()));
    let head = *request.method() == Method::HEAD;
    let (class, mut response) = match preflight(&request, &settings) {
        Some(response) => (Class::Own, response),
        None => {
            let head = Head::of(&request);
            let decision = decide(&head, &settings.auth);
            (class_of(decision, head.is_websocket_upgrade()), decided(&guest, &settings, decision, request).await)
        }
    };
    note(&guest, class, began, &response);
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

/// Counts a request and its answer.
fn note(guest: &Guest, class: Class, began: Instant, response: &Response<Body>) {
    let metrics = &guest.worker.shared.metrics;
    metrics.requests.count(class, Code::of(response.status().as_u16()));
    metrics.answer_seconds.observe(class, began.elapsed().as_secs_f64());
    if let Some(NamedError(error)) = response.extensions().get() {
        metrics.refused(error);
        // Who was refused for the guest's own doing: `status` shows it.
        if response.status().is_client_error() {
            guest.worker.shared.refusals.note(guest.peer.ip(), error, SystemTime::now());
        }
    }
}

/// What a request is about, for those who count.
fn class_of(decision: Decision, websocket: bool) -> Class {
    match decision {
        Decision::Refused(_) => Class::Refused,
        Decision::Own(_) | Decision::Guard(_) => Class::Own,
        Decision::Exempt => Class::Static,
        Decision::Socket(_) => Class::Websocket,
        Decision::NeedsKey | Decision::Open if websocket => Class::Websocket,
        Decision::NeedsKey | Decision::Open => Class::Api,
    }
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

async fn decided(
    guest: &Rc<Guest>,
    settings: &GatewaySettings,
    decision: Decision,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Decision::Refused(refusal) = decision {
        return refuse(guest, settings, refusal, request);
    }
    // Without a key nothing is handed on, not even what everybody may see: the first visitor must find nothing to use.
    let closed = settings.auth.enabled && guest.worker.shared.key.borrow().state == KeyState::Missing;
    match decision {
        Decision::Own(OwnPage::Health) => health(guest, settings, request).await,
        _ if closed => own(guest, settings, &no_key(), request),
        Decision::Own(OwnPage::Metrics) => metrics::answer(guest, settings, request).await,
        Decision::Own(OwnPage::Session) => session::answer(guest, settings, request).await,
        Decision::Own(OwnPage::Login) => {
            let response = login::page(guest, settings, &request).await;
            guest.discard(request);
            response
        }
        Decision::Own(OwnPage::Script) => {
            let response = login::script(&request);
            guest.discard(request);
            response
        }
        Decision::Guard(page) => guard::answer(guest, settings, page, request).await,
        Decision::Exempt | Decision::Open => forward::hand_on(guest, settings, request, Admission::Everybody).await,
        Decision::NeedsKey | Decision::Socket(_) => guarded(guest, settings, decision, request).await,
        Decision::Refused(refusal) => refuse(guest, settings, refusal, request),
    }
}

/// What is for those only who have the key or a session.
async fn guarded(
    guest: &Rc<Guest>,
    settings: &GatewaySettings,
    decision: Decision,
    request: Request<Incoming>,
) -> Response<Body> {
    let websocket = Head::of(&request).is_websocket_upgrade();
    match (admit(guest, settings, &request, websocket).await, decision) {
        (Admitted::Key, _) if request.uri().path() == "/" => match signed_in_by_link(guest, settings, &request).await {
            Some(response) => response,
            None => forward::hand_on(guest, settings, request, Admission::Key).await,
        },
        (Admitted::Key, _) => forward::hand_on(guest, settings, request, Admission::Key).await,
        (Admitted::Session(session), _) => {
            let page = request.uri().path() == "/";
            let mut response = forward::hand_on(guest, settings, request, Admission::Session(session.digest)).await;
            if page && session.facts.remember {
                // The page is loaded anew: the browser remembers from now on, as the supervisor does.
                let cookie = session::cookie_of(settings, &session.id, session.facts);
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            response
        }
        (Admitted::Nobody, Decision::Socket(AnonymousWebsocket::Passthrough)) => {
            forward::hand_on(guest, settings, request, Admission::Everybody).await
        }
        (Admitted::Nobody, Decision::Socket(AnonymousWebsocket::Status)) => {
            anonymous_socket(guest, settings, request).await
        }
        (Admitted::Nobody, _) => nobody(guest, settings, request),
        (Admitted::No(answer), _) => own(guest, settings, &answer, request),
    }
}

/// A browser that was given a page's address with `?api_key=…` keeps a session instead, so that the key leaves its address bar.
pub(crate) async fn signed_in_by_link(
    guest: &Guest,
    settings: &GatewaySettings,
    request: &Request<Incoming>,
) -> Option<Response<Body>> {
    let by_link = matches!(presented(&HeaderMap::new(), request.uri().query()), Presented::Key(_));
    if !by_link || Caller::of(request.method(), request.headers()) != Caller::Navigation {
        return None;
    }
    let Presented::Key(key) = presented(request.headers(), request.uri().query()) else { return None };
    session::open_by_link(guest, settings, request, key).await
}

/// Nothing was presented: a person is shown where to sign in, a program is told what is missing.
pub(crate) fn nobody(guest: &Guest, settings: &GatewaySettings, request: Request<Incoming>) -> Response<Body> {
    let caller = Caller::of(request.method(), request.headers());
    let response = match unauthenticated(caller, request.uri()) {
        Unauthenticated::LoginPage => login::in_place(settings, &request),
        Unauthenticated::Redirect(place) => login::see_other(&place),
        Unauthenticated::Unauthorized => unauthorized("no key was given").respond(),
    };
    guest.discard(request);
    response
}

/// Open to everybody; but a wrong key is told so, which makes asking here a sound check of a key.
async fn health(guest: &Guest, settings: &GatewaySettings, request: Request<Incoming>) -> Response<Body> {
    let detailed = match admit(guest, settings, &request, false).await {
        Admitted::Key | Admitted::Session(_) => true,
        Admitted::Nobody => false,
        Admitted::No(answer) => return own(guest, settings, &answer, request),
    };
    guest.discard(request);
    let shared = &guest.worker.shared;
    let key = shared.key.borrow().state;
    let (status, body) = shared.health.borrow().render(key, !settings.auth.enabled, detailed);
    json_body(status, body)
}

async fn anonymous_socket(guest: &Guest, settings: &GatewaySettings, request: Request<Incoming>) -> Response<Body> {
    let shared = &guest.worker.shared;
    if shared.anonymous_sockets.load(Ordering::Relaxed) >= socket::MOST {
        let full = Own {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error: "too_many_sockets",
            message: "Too many WebSockets without a key are open.".to_owned(),
            retry_after: Some(30),
        };
        return own(guest, settings, &full, request);
    }
    let (parts, _) = request.into_parts();
    socket::accept(shared.clone(), parts).await.map(Body::Axum)
}

fn refuse(guest: &Guest, settings: &GatewaySettings, refusal: Refusal, request: Request<Incoming>) -> Response<Body> {
    tracing::debug!(peer = %guest.peer.ip(), error = refusal.code(), "refused");
    let mut response = Own::from(refusal).respond_as(Look::of(&request), settings);
    if let Some(allow) = refusal.allow() {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if refusal.ends_connection() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    } else {
        guest.discard(request);
    }
    response
}

/// An answer of the guard's own, in the form that suits who asks.
pub(crate) fn own(
    guest: &Guest,
    settings: &GatewaySettings,
    answer: &Own,
    request: Request<Incoming>,
) -> Response<Body> {
    let look = Look::of(&request);
    guest.discard(request);
    answer.respond_as(look, settings)
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
