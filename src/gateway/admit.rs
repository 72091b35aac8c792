//! Who is let in: by the key, or by a session's cookie that a page of ours sent.

use std::time::SystemTime;

use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

use super::answer::Own;
use super::asking::Digest;
use super::auth::cookie::{SessionCookie, session_id};
use super::auth::credentials::{Presented, kind_of, presented};
use super::auth::forgery::{self, anti_forgery_token, is_token};
use super::connection::Guest;
use super::proxy::headers::believed_host;
use crate::secret::Secret;
use crate::telemetry::metrics::{CredentialKind, Outcome};
use crate::wire::message::{GatewaySettings, SessionFacts, Verdict};

/// A session that lives, with the id that the guest sent.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// What the cookie holds.
    pub(crate) id: Secret<[u8; 32]>,
    /// What everybody else knows it by.
    pub(crate) digest: Digest,
    /// Until when.
    pub(crate) facts: SessionFacts,
}

/// Whether a guest is let in.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// The right key.
    Key,
    /// A session.
    Session(Session),
    /// Nothing was presented, or a session that is over.
    Nobody,
    /// Something was presented that opens nothing.
    No(Own),
}

/// What a cookie proves nothing about, until a page of ours is shown to have sent it.
enum Claim {
    Key(Secret<Vec<u8>>),
    Cookie(Secret<[u8; 32]>),
    Nothing,
    Invalid(String),
}

/// Judges what a request presents. A key outweighs a cookie, and a wrong one is not made good by it.
pub(crate) async fn admit(
    guest: &Guest,
    settings: &GatewaySettings,
    request: &Request<Incoming>,
    websocket: bool,
) -> Admitted {
    let kind = || kind_of(request.headers(), request.uri().query());
    let (kind, outcome, admitted) = match claim(request) {
        Claim::Nothing => (CredentialKind::None, Outcome::None, Admitted::Nobody),
        Claim::Invalid(why) => (kind(), Outcome::Malformed, Admitted::No(unauthorized(&why))),
        Claim::Key(key) => {
            let (outcome, admitted) = by_key(guest, &key).await;
            (kind(), outcome, admitted)
        }
        Claim::Cookie(id) => match live_session(guest, id).await {
            None => (CredentialKind::Cookie, Outcome::Wrong, Admitted::Nobody),
            Some(session) => {
                let (outcome, admitted) = by_session(guest, settings, request, websocket, session);
                (CredentialKind::Cookie, outcome, admitted)
            }
        },
    };
    guest.worker.shared.metrics.authentications.count(kind, outcome);
    admitted
}

fn claim(request: &Request<Incoming>) -> Claim {
    let cookie = match session_id(request.headers()) {
        SessionCookie::One(id) => Some(id),
        // A broken cookie is none: the guest signs in again and gets a whole one.
        SessionCookie::None | SessionCookie::Invalid => None,
    };
    match (presented(request.headers(), request.uri().query()), cookie) {
        (Presented::Invalid(why), _) => Claim::Invalid(why.to_string()),
        // The page's script sends the session's own token where a key would stand.
        (Presented::Key(key), Some(id)) if is_token(key.expose(), &anti_forgery_token(&id)) => Claim::Cookie(id),
        (Presented::Key(key), _) => Claim::Key(key),
        (Presented::None, Some(id)) => Claim::Cookie(id),
        (Presented::None, None) => Claim::Nothing,
    }
}

async fn by_key(guest: &Guest, key: &Secret<Vec<u8>>) -> (Outcome, Admitted) {
    match guest.worker.shared.judge.judge(key).await {
        Verdict::Right => {
            guest.rests_on_key.set(true);
            (Outcome::Right, Admitted::Key)
        }
        Verdict::Wrong => {
            tracing::debug!(peer = %guest.peer.ip(), "wrong key");
            (Outcome::Wrong, Admitted::No(unauthorized("the key is not the right one")))
        }
        Verdict::Busy => (Outcome::Busy, Admitted::No(busy())),
    }
}

fn by_session(
    guest: &Guest,
    settings: &GatewaySettings,
    request: &Request<Incoming>,
    websocket: bool,
    session: Session,
) -> (Outcome, Admitted) {
    let facts = forgery::Facts {
        method: request.method(),
        headers: request.headers(),
        host: &host_of(guest, settings, request),
        websocket,
        token: &anti_forgery_token(&session.id),
        allowed: &settings.auth.allowed_origins,
    };
    match forgery::judge(&facts) {
        Ok(()) => {
            guest.rest_on(session.digest);
            (Outcome::Right, Admitted::Session(session))
        }
        Err(forgery) => (Outcome::CrossSite, Admitted::No(cross_site(&forgery.to_string()))),
    }
}

/// The session that a request's cookie names, whoever sent it; for the endpoints that end or describe it.
pub(crate) async fn session_of(guest: &Guest, request: &Request<Incoming>) -> Option<Session> {
    match session_id(request.headers()) {
        SessionCookie::One(id) => live_session(guest, id).await,
        _ => None,
    }
}

async fn live_session(guest: &Guest, id: Secret<[u8; 32]>) -> Option<Session> {
    let digest: Digest = Sha256::digest(id.expose()).into();
    let facts = guest.worker.shared.sessions.find(digest).await?;
    (facts.ends > SystemTime::now()).then_some(Session { id, digest, facts })
}

/// The host by which the guest called: what a trusted proxy says, else `Host` or `:authority`.
pub(crate) fn host_of(guest: &Guest, settings: &GatewaySettings, request: &Request<Incoming>) -> String {
    let headers = request.headers();
    let told = believed_host(guest.peer.ip(), headers, &settings.proxy.trusted).or(headers.get(header::HOST));
    match (told.and_then(|value| value.to_str().ok()), request.uri().authority()) {
        (Some(host), _) => host.to_owned(),
        (None, Some(authority)) => authority.as_str().to_owned(),
        (None, None) => String::new(),
    }
}

/// 401, with what would open the door.
pub(crate) fn unauthorized(what: &str) -> Own {
    Own {
        status: StatusCode::UNAUTHORIZED,
        error: "unauthorized",
        message: format!(
            "This ComfyUI needs a key, and {what}. Send it as `Authorization: Bearer KEY`, `X-API-Key: KEY` or `?api_key=KEY`."
        ),
        retry_after: None,
    }
}

/// 403: the request rests on a cookie, and no page of ours is shown to have sent it.
pub(crate) fn cross_site(why: &str) -> Own {
    Own { status: StatusCode::FORBIDDEN, error: "cross_site", message: why.to_owned(), retry_after: None }
}

/// 429: nothing was judged.
pub(crate) fn busy() -> Own {
    Own {
        status: StatusCode::TOO_MANY_REQUESTS,
        error: "busy",
        message: "Too many keys are being checked. Try again.".to_owned(),
        retry_after: Some(1),
    }
}
