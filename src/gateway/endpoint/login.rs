//! The login page and the script that goes into ComfyUI's page.

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::gateway::admit::session_of;
use crate::gateway::answer::Body;
use crate::gateway::auth::next::checked_next;
use crate::gateway::connection::Guest;
use crate::gateway::pages::{self, INJECT_JS, LoginError, LoginState, inject_etag};
use crate::wire::message::GatewaySettings;

/// `GET /auth_login.html`. Who is signed in already goes on to where the page would lead.
pub(crate) async fn page(guest: &Guest, settings: &GatewaySettings, request: &Request<Incoming>) -> Response<Body> {
    let asked = Asked::of(request.uri().query().unwrap_or_default());
    if !asked.logout && asked.error.is_none() && session_of(guest, request).await.is_some() {
        return see_other(&asked.next);
    }
    render(settings, request.headers(), &asked.state())
}

/// The page in the place of what needs a session.
pub(crate) fn in_place(settings: &GatewaySettings, request: &Request<Incoming>) -> Response<Body> {
    let next = request.uri().path_and_query().and_then(|target| checked_next(target.as_str()));
    let next = next.as_deref().unwrap_or("/");
    let state = LoginState { error: None, next, retry_after: None, logout: false, signed_out: false };
    render(settings, request.headers(), &state)
}

/// `GET /auth_inject.js`: the same for everybody, and asked for again by every page, so a validator saves the bytes.
pub(crate) fn script(request: &Request<Incoming>) -> Response<Body> {
    let etag = inject_etag();
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter();
    let unchanged = known
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|one| one.trim_ascii() == etag.as_bytes());
    let body = if unchanged { "" } else { INJECT_JS };
    let mut response = Response::new(Body::Own(Full::from(body)));
    *response.status_mut() = if unchanged { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 303 to a place of ours.
pub(crate) fn see_other(place: &str) -> Response<Body> {
    let mut response = Response::new(Body::Own(Full::default()));
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::try_from(place).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the page's own query says.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    next: String,
    error: Option<LoginError>,
    logout: bool,
    signed_out: bool,
}

impl Asked {
    fn of(query: &str) -> Self {
        let mut asked = Self { next: "/".to_owned(), error: None, logout: false, signed_out: false };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "next" => asked.next = checked_next(&value).unwrap_or_else(|| "/".to_owned()),
                "error" => asked.error = LoginError::from_word(&value),
                "logout" => asked.logout = value == "true",
                "signed_out" => asked.signed_out = value == "true",
                _ => {}
            }
        }
        asked
    }

    fn state(&self) -> LoginState<'_> {
        let retry_after = (self.error == Some(LoginError::Busy)).then_some(1);
        LoginState {
            error: self.error,
            next: &self.next,
            retry_after,
            logout: self.logout,
            signed_out: self.signed_out,
        }
    }
}

fn render(settings: &GatewaySettings, headers: &HeaderMap, state: &LoginState<'_>) -> Response<Body> {
    let language = pages::language(headers.get(header::ACCEPT_LANGUAGE));
    let page = pages::login(language, state, &settings.auth.frame_ancestors);
    crate::gateway::answer::page(StatusCode::OK, page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_leads_nowhere_but_here() {
        assert_eq!(Asked::of("next=%2F%3Fa%3D1").next, "/?a=1");
        assert_eq!(Asked::of("next=%2F%2Fevil").next, "/");
        assert_eq!(Asked::of("next=https%3A%2F%2Fevil").next, "/");
        assert_eq!(Asked::of("").next, "/");
    }

    #[test]
    fn logout_is_said_exactly() {
        assert!(Asked::of("logout=true").logout);
        assert!(!Asked::of("logout=1&logouts=true").logout);
    }
}
