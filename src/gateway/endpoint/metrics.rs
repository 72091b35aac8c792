//! `/metrics`: what was counted and what is known, for Prometheus. No request for it waits for ComfyUI or the driver.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::gateway::admit::{Admitted, admit, unauthorized};
use crate::gateway::answer::Body;
use crate::gateway::connection::Guest;
use crate::gateway::shared::Shared;
use crate::telemetry::metrics::{Format, Page};
use crate::wire::message::GatewaySettings;

/// `GET /metrics` on the guard's own address: for who has the key or a session.
pub(crate) async fn answer(guest: &Guest, settings: &GatewaySettings, request: Request<Incoming>) -> Response<Body> {
    let refused = match admit(guest, settings, &request, false).await {
        Admitted::Key | Admitted::Session(_) => None,
        Admitted::Nobody if !settings.auth.enabled => None,
        Admitted::Nobody => Some(unauthorized("no key was given")),
        Admitted::No(answer) => Some(answer),
    };
    let response = match refused {
        Some(answer) => answer.respond(),
        None => page(request.headers(), &guest.worker.shared).map(Body::Own),
    };
    guest.discard(request);
    response
}

/// The page itself, in the format that `Accept` names.
pub(crate) fn page(headers: &HeaderMap, shared: &Shared) -> Response<Full<Bytes>> {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::of(&accept.collect::<Vec<_>>().join(","));
    let text = shared.metrics.render(format, &facts(shared));
    let mut response = Response::new(Full::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What is known without having been counted.
fn facts(shared: &Shared) -> Page {
    let mut page = Page::new();
    let (key, open) = (shared.key.borrow().state, !shared.settings.load().auth.enabled);
    let health = shared.health.borrow();
    page.overview(&health.overview, health.closed_by(key, open));
    let connections = shared.connections.load(Ordering::Relaxed) as f64;
    page.gauge("connections_open", "Connections of guests that are open", connections);
    let in_flight = (shared.judge.in_flight() + shared.sessions.in_flight()) as f64;
    page.gauge("questions_in_flight", "Keys and sessions that the supervisor is asked about", in_flight);
    page.queue(health.remaining, health.version.as_deref());
    page.gpus(&health.gpu, SystemTime::now());
    page
}
