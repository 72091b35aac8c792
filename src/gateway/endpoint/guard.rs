//! `/guard/`: the status page, the documents that it shows, and the two things that it can do.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::Instant;

use crate::gateway::admit::{Admitted, Session, admit, cross_site, host_of};
use crate::gateway::answer::{self, Body, Own, json_body};
use crate::gateway::auth::cookie::expired_cookie;
use crate::gateway::auth::decide::GuardPage;
use crate::gateway::auth::forgery::{Forgery, anti_forgery_token, login_origin, shows_token};
use crate::gateway::connection::Guest;
use crate::gateway::pages;
use crate::gateway::proxy::headers::client_address;
use crate::gateway::{seen, serve};
use crate::wire::message::{FromGateway, GatewaySettings, ProcessState};

/// Between two restarts that guests ask for: ComfyUI is stopped by a ladder and loads for seconds at the least.
const PACE: Duration = Duration::from_secs(10);

/// Who is let in here.
enum Who {
    /// By the key.
    Key,
    /// By a session.
    Session(Session),
    /// Authentication is off.
    Anybody,
}

/// Answers a request below `/guard`. A GET changes nothing.
pub(crate) async fn answer(
    guest: &Guest,
    settings: &GatewaySettings,
    page: GuardPage,
    request: Request<Incoming>,
) -> Response<Body> {
    let who = match admitted(guest, settings, &request).await {
        Admitted::Key if settings.auth.enabled => Who::Key,
        Admitted::Key => Who::Anybody,
        Admitted::Session(session) => Who::Session(session),
        Admitted::Nobody => return serve::nobody(guest, settings, request),
        Admitted::No(answer) => return serve::own(guest, settings, &answer, request),
    };
    let shared = &guest.worker.shared;
    let response = match (page, &who) {
        (GuardPage::Moved, _) => moved(),
        (GuardPage::Page, Who::Key) => match serve::signed_in_by_link(guest, settings, &request).await {
            Some(response) => response,
            None => render(settings, &request),
        },
        (GuardPage::Page, _) => render(settings, &request),
        (GuardPage::Status, _) => document(&seen::status(shared)),
        (GuardPage::History, _) => document(&*shared.history()),
        (GuardPage::Restart | GuardPage::SignOutEverywhere, _) => match may_act(guest, settings, &request, &who) {
            Err(refusal) => refusal.respond(),
            Ok(()) if page == GuardPage::Restart => restart(guest, settings, &request).await,
            Ok(()) => sign_out_everywhere(guest, settings, &request).await,
        },
    };
    guest.discard(request);
    response
}

async fn admitted(guest: &Guest, settings: &GatewaySettings, request: &Request<Incoming>) -> Admitted {
    if settings.auth.enabled { admit(guest, settings, request, false).await } else { Admitted::Key }
}

/// What is done here cannot be taken back, so the origin alone, which a browser writes, is not enough for a session: its token has to
/// come along. A key is proof by itself. Where everybody is let in, every page that somebody looks at is too, and must not be.
fn may_act(guest: &Guest, settings: &GatewaySettings, request: &Request<Incoming>, who: &Who) -> Result<(), Own> {
    let refused = |forgery: Forgery| cross_site(&forgery.to_string());
    match who {
        Who::Key => Ok(()),
        Who::Session(session) if shows_token(request.headers(), &anti_forgery_token(&session.id)) => Ok(()),
        Who::Session(_) => Err(refused(Forgery::NoProof)),
        Who::Anybody => login_origin(request.headers(), &host_of(guest, settings, request)).map_err(refused),
    }
}

/// RFC 9110 section 15.4.9. Relative, so that it holds behind a proxy too.
fn moved() -> Response<Body> {
    let mut response = Response::new(Body::Own(Full::default()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/guard/"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn render(settings: &GatewaySettings, request: &Request<Incoming>) -> Response<Body> {
    let language = pages::language(request.headers().get(header::ACCEPT_LANGUAGE));
    answer::page(StatusCode::OK, pages::guard(language, &settings.auth.frame_ancestors))
}

fn document(document: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(document) {
        Ok(text) => json_body(StatusCode::OK, text),
        Err(error) => {
            tracing::error!(%error, "a document of the status page cannot be written");
            json_body(StatusCode::INTERNAL_SERVER_ERROR, "{}".to_owned())
        }
    }
}

async fn restart(guest: &Guest, settings: &GatewaySettings, request: &Request<Incoming>) -> Response<Body> {
    let shared = &guest.worker.shared;
    if shared.health.borrow().process == ProcessState::External {
        return not_ours().respond();
    }
    if let Err(wait) = shared.restarts.take(Instant::now()) {
        return too_soon(wait).respond();
    }
    let peer = client_address(guest.peer.ip(), request.headers(), &settings.proxy.trusted);
    if shared.supervisor.send(FromGateway::Restart { peer }).await.is_err() {
        tracing::error!("the gateway is ending: a restart was not told");
    }
    json_body(StatusCode::ACCEPTED, "{\"restarting\":true}".to_owned())
}

async fn sign_out_everywhere(guest: &Guest, settings: &GatewaySettings, request: &Request<Incoming>) -> Response<Body> {
    let peer = client_address(guest.peer.ip(), request.headers(), &settings.proxy.trusted);
    guest.worker.shared.sessions.end_every(peer).await;
    let mut response = Response::new(Body::Own(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::SET_COOKIE, expired_cookie());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn not_ours() -> Own {
    Own {
        status: StatusCode::CONFLICT,
        error: "not_ours",
        message: "This ComfyUI was not started by the guard (comfyui.external), which cannot restart it.".to_owned(),
        retry_after: None,
    }
}

fn too_soon(wait: Duration) -> Own {
    // Rounded up: who comes back then is not told to come again.
    let seconds = wait.as_secs() as u32 + 1;
    Own {
        status: StatusCode::TOO_MANY_REQUESTS,
        error: "too_soon",
        message: "ComfyUI was restarted a moment ago. Try again later.".to_owned(),
        retry_after: Some(seconds),
    }
}

/// Lets one through in [`PACE`].
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Takes the turn, or says how long it is until the next.
    fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match last.map(|last| (last + PACE).saturating_duration_since(now)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *last = Some(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn one_restart_in_ten_seconds_is_let_through() {
        let (pace, start) = (Pace::default(), Instant::now());
        let after = |millis| pace.take(start + Duration::from_millis(millis));
        assert_eq!(after(0), Ok(()));
        assert_eq!(after(1), Err(Duration::from_millis(9_999)));
        assert_eq!(after(9_999), Err(Duration::from_millis(1)));
        assert_eq!(after(10_000), Ok(()), "a refused one does not put it off");
        assert_eq!(after(10_001), Err(Duration::from_millis(9_999)));
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_through() {
        for (wait, seconds) in [(1, 1), (999, 1), (1000, 2), (9_999, 10)] {
            assert_eq!(too_soon(Duration::from_millis(wait)).retry_after, Some(seconds));
        }
    }
}
