//! `/auth_session`: POST signs in, GET says who one is, DELETE signs out.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::login::see_other;
use crate::gateway::admit::{self, Admitted, Session, busy, cross_site, host_of, session_of, unauthorized};
use crate::gateway::answer::{Body, Own, json_body};
use crate::gateway::auth::cookie::{expired_cookie, set_cookie};
use crate::gateway::auth::forgery::{anti_forgery_token, login_origin};
use crate::gateway::auth::next::{LOGIN_PAGE, checked_next, login_address};
use crate::gateway::connection::Guest;
use crate::gateway::pages::LoginError;
use crate::gateway::proxy::headers::client_address;
use crate::secret::Secret;
use crate::telemetry::metrics::{CredentialKind, Outcome};
use crate::units::Span;
use crate::wire::message::{GatewaySettings, Login, Opening, SessionFacts};

/// A key, a flag and a place: nobody needs more.
const LONGEST: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
/// What of a browser's name is kept.
const LONGEST_AGENT: usize = 200;

/// What a login form says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Form {
    key: Secret<String>,
    remember: bool,
    next: String,
    #[serde(skip)]
    logout: bool,
}

/// How the answer is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Json,
    Html,
}

/// Answers a request to `/auth_session`.
pub(crate) async fn answer(guest: &Guest, settings: &GatewaySettings, request: Request<Incoming>) -> Response<Body> {
    match *request.method() {
        Method::POST => post(guest, settings, request).await,
        Method::DELETE => {
            let response = delete(guest, settings, &request).await;
            guest.discard(request);
            response
        }
        _ => {
            let response = describe(guest, &request).await;
            guest.discard(request);
            response
        }
    }
}

async fn describe(guest: &Guest, request: &Request<Incoming>) -> Response<Body> {
    match session_of(guest, request).await {
        Some(Session { id, facts, .. }) => {
            let body = json!({
                "signed_in": true,
                "remember": facts.remember,
                "expires": unix_seconds(facts.ends),
                "token": anti_forgery_token(&id).expose(),
            });
            json_body(StatusCode::OK, body.to_string())
        }
        None => unauthorized("nobody is signed in").respond(),
    }
}

/// A request that a page of ours sent ends the session; without one there is nothing to end.
async fn delete(guest: &Guest, settings: &GatewaySettings, request: &Request<Incoming>) -> Response<Body> {
    match admit::admit(guest, settings, request, false).await {
        Admitted::Session(session) => end(guest, &session).await,
        Admitted::No(answer) => return answer.respond(),
        Admitted::Key | Admitted::Nobody => {}
    }
    let mut response = Response::new(Body::Own(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::SET_COOKIE, expired_cookie());
    response
}

async fn post(guest: &Guest, settings: &GatewaySettings, request: Request<Incoming>) -> Response<Body> {
    let form = if is_json(request.headers()) { Shape::Json } else { Shape::Html };
    if let Err(forgery) = login_origin(request.headers(), &host_of(guest, settings, &request)) {
        guest.discard(request);
        return refuse(form, LoginError::CrossSite, "/", cross_site(&forgery.to_string()));
    }
    let old = session_of(guest, &request).await;
    let agent = agent_of(request.headers());
    let peer = client_address(guest.peer.ip(), request.headers(), &settings.proxy.trusted);
    let said = match read(request, form).await {
        Ok(said) => said,
        Err(answer) => return answer.respond(),
    };
    if said.logout {
        if let Some(old) = &old {
            end(guest, old).await;
        }
        let mut response = see_other(&format!("{LOGIN_PAGE}?signed_out=true"));
        response.headers_mut().insert(header::SET_COOKIE, expired_cookie());
        return response;
    }
    let next = checked_next(&said.next).unwrap_or_else(|| "/".to_owned());
    let key = Secret::new(said.key.expose().trim().as_bytes().to_vec());
    let login = Login { remember: said.remember, peer, agent };
    let opening = guest.worker.shared.sessions.open(key, login).await;
    let outcome = match opening {
        Opening::Opened { .. } | Opening::Failed => Outcome::Right,
        Opening::WrongKey => Outcome::Wrong,
        Opening::Busy => Outcome::Busy,
    };
    guest.worker.shared.metrics.authentications.count(CredentialKind::Login, outcome);
    match opening {
        Opening::Opened { id, facts } => {
            // Not before: the end of a session takes the connection with it.
            if let Some(old) = &old {
                end(guest, old).await;
            }
            welcome(settings, form, &id, facts, &next)
        }
        Opening::WrongKey => {
            tracing::debug!(peer = %guest.peer.ip(), "wrong key at the login page");
            refuse(form, LoginError::Wrong, &next, unauthorized("the key is not the right one"))
        }
        Opening::Busy => refuse(form, LoginError::Busy, &next, busy()),
        Opening::Failed => failed().respond(),
    }
}

/// Opens a session for who came with the right key in the address, and leads to the same place without it.
pub(crate) async fn open_by_link(
    guest: &Guest,
    settings: &GatewaySettings,
    request: &Request<Incoming>,
    key: Secret<Vec<u8>>,
) -> Option<Response<Body>> {
    let next = request.uri().path_and_query().and_then(|target| checked_next(target.as_str()))?;
    let peer = client_address(guest.peer.ip(), request.headers(), &settings.proxy.trusted);
    let login = Login { remember: false, peer, agent: agent_of(request.headers()) };
    match guest.worker.shared.sessions.open(key, login).await {
        Opening::Opened { id, facts } => Some(welcome(settings, Shape::Html, &id, facts, &next)),
        Opening::WrongKey | Opening::Busy | Opening::Failed => None,
    }
}

/// The `Set-Cookie` that a session's guest is given; one that is remembered lasts from now on.
pub(crate) fn cookie_of(settings: &GatewaySettings, id: &Secret<[u8; 32]>, facts: SessionFacts) -> HeaderValue {
    set_cookie(id, facts.remember.then_some(Span(settings.auth.session_lifetime.0)))
}

fn welcome(
    settings: &GatewaySettings,
    form: Shape,
    id: &Secret<[u8; 32]>,
    facts: SessionFacts,
    next: &str,
) -> Response<Body> {
    let mut response = match form {
        Shape::Html => see_other(next),
        Shape::Json => {
            let body = json!({
                "token": anti_forgery_token(id).expose(),
                "remember": facts.remember,
                "expires": unix_seconds(facts.ends),
                "next": next,
            });
            json_body(StatusCode::OK, body.to_string())
        }
    };
    response.headers_mut().insert(header::SET_COOKIE, cookie_of(settings, id, facts));
    response
}

fn refuse(form: Shape, error: LoginError, next: &str, answer: Own) -> Response<Body> {
    match form {
        Shape::Json => answer.respond(),
        Shape::Html => {
            let address = login_address(Some(next));
            let mark = if address.contains('?') { '&' } else { '?' };
            see_other(&format!("{address}{mark}error={}", error.word()))
        }
    }
}

async fn end(guest: &Guest, session: &Session) {
    guest.worker.shared.sessions.end(session.digest).await;
}

async fn read(request: Request<Incoming>, form: Shape) -> Result<Form, Own> {
    let body = Limited::new(request.into_body(), LONGEST).collect();
    let bytes = match timeout(PATIENCE, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => return Err(unreadable()),
    };
    match form {
        Shape::Json => serde_json::from_slice(&bytes).map_err(|_| unreadable()),
        Shape::Html => Ok(Form::of(&bytes)),
    }
}

impl Form {
    fn of(body: &Bytes) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "key" => form.key = Secret::new(value.into_owned()),
                "remember" => form.remember = !matches!(&*value, "" | "false" | "0"),
                "next" => form.next = value.into_owned(),
                "logout" => form.logout = value == "true",
                _ => {}
            }
        }
        form
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    kind.split(|byte| *byte == b';')
        .next()
        .is_some_and(|essence| essence.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

fn agent_of(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.chars().take(LONGEST_AGENT).collect()
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn unreadable() -> Own {
    Own {
        status: StatusCode::BAD_REQUEST,
        error: "bad_login",
        message: "The login could not be read: send {\"key\": …} as JSON, or a form with the field `key`.".to_owned(),
        retry_after: None,
    }
}

fn failed() -> Own {
    Own {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error: "session_not_kept",
        message: "The key is right, but the session could not be written down. The guard's log says why.".to_owned(),
        retry_after: Some(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_browsers_send_it() {
        let form = Form::of(&Bytes::from_static(b"key=a%2Bb%2F%3D&remember=on&next=%2F%3Fx&other=1"));
        assert_eq!((form.key.expose().as_str(), form.remember, form.next.as_str()), ("a+b/=", true, "/?x"));
        let form = Form::of(&Bytes::from_static(b"logout=true"));
        assert!(form.logout && !form.remember);
    }

    #[test]
    fn json_is_told_by_its_type() {
        let typed = |text| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
        assert!(is_json(&typed("application/json; charset=utf-8")) && is_json(&typed("Application/JSON")));
        assert!(!is_json(&typed("application/x-www-form-urlencoded")) && !is_json(&HeaderMap::new()));
    }
}
