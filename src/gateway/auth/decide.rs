//! The decision: from a request's head to who answers it, and whether a key is needed.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{Method, Version};

use crate::config::{self, AnonymousWebsocket};

use super::exemption::is_exempt;
use super::next::LOGIN_PAGE;
use super::path::{self, PathKind};
use super::refusal::Refusal;
use super::wellformed;

/// The longest request target, in bytes. ComfyUI takes a request line of 8,190: refused here, its sender learns why.
pub(crate) const MAX_TARGET: usize = 8000;

/// The methods that may reach ComfyUI at all, as an `Allow` header. CONNECT asks for a tunnel and TRACE for an echo of
/// the credentials.
const ANYWHERE: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// ComfyUI's WebSocket, in both spellings.
const SOCKETS: [&str; 2] = ["/ws", "/api/ws"];

/// The pages that the gateway answers itself: path, page, allowed methods as an `Allow` header.
const OWN_PAGES: &[(&str, OwnPage, &str)] = &[
    ("/health", OwnPage::Health, "GET, HEAD"),
    (LOGIN_PAGE, OwnPage::Login, "GET, HEAD"),
    ("/auth_inject.js", OwnPage::Script, "GET, HEAD"),
    ("/metrics", OwnPage::Metrics, "GET, HEAD"),
    ("/auth_session", OwnPage::Session, "GET, HEAD, POST, DELETE"),
];

/// The status page and what belongs to it, as [`OWN_PAGES`].
const GUARD_PAGES: &[(&str, GuardPage, &str)] = &[
    ("/guard", GuardPage::Moved, "GET, HEAD"),
    ("/guard/", GuardPage::Page, "GET, HEAD"),
    ("/guard/status.json", GuardPage::Status, "GET, HEAD"),
    ("/guard/history.json", GuardPage::History, "GET, HEAD"),
    ("/guard/restart", GuardPage::Restart, "POST"),
    ("/guard/sign_out_everywhere", GuardPage::SignOutEverywhere, "POST"),
];

/// What the gateway answers itself, for who has a right credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardPage {
    /// The page's address without its slash.
    Moved,
    /// The status page.
    Page,
    /// What it shows.
    Status,
    /// The last hour's figures.
    History,
    /// Starts ComfyUI anew.
    Restart,
    /// Ends all sessions.
    SignOutEverywhere,
}

/// What else the gateway answers itself; whether a key is needed, each says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnPage {
    /// `/health`. A credential is not needed; an invalid or wrong one is 401 all the same.
    Health,
    /// The login page.
    Login,
    /// The script that goes into ComfyUI's page.
    Script,
    /// Signing in and out.
    Session,
    /// For Prometheus. Only for who has a right credential.
    Metrics,
}

/// What a request's head says, borrowed from where it was parsed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The path as it came, undecoded. `http::Uri` has cut off a fragment; it goes nowhere from there.
    pub(crate) path: &'a str,
    /// The query as it came, without its question mark.
    pub(crate) query: Option<&'a str>,
    /// The header fields as they came, before anything is stripped.
    pub(crate) headers: &'a HeaderMap,
    /// The protocol version of the connection.
    pub(crate) version: Version,
    /// `:authority` of HTTP/2, or the authority of an absolute target.
    pub(crate) authority: Option<&'a Authority>,
    /// `:scheme` of HTTP/2, or the scheme of an absolute target.
    pub(crate) scheme: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// The head of a request as hyper hands it over.
    pub(crate) fn of<B>(request: &'a http::Request<B>) -> Self {
        let uri = request.uri();
        Self {
            method: request.method(),
            path: uri.path(),
            query: uri.query(),
            headers: request.headers(),
            version: request.version(),
            authority: uri.authority(),
            scheme: uri.scheme_str(),
        }
    }

    /// Whether this asks for a WebSocket (RFC 6455 section 4.1): the only upgrade that is ever passed on. One with a
    /// body is not, because what follows the head would be read as frames by one side and as a body by the other.
    pub(crate) fn is_websocket_upgrade(&self) -> bool {
        let only = |name, wanted: &[u8]| {
            let mut values = self.headers.get_all(name).iter();
            values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(wanted)) && values.next().is_none()
        };
        let names_upgrade = || {
            let values = self.headers.get_all(CONNECTION).iter();
            values
                .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        };
        only(UPGRADE, b"websocket")
            && *self.method == Method::GET
            && self.version == Version::HTTP_11
            && names_upgrade()
            && !self.headers.contains_key(TRANSFER_ENCODING)
            && (!self.headers.contains_key(CONTENT_LENGTH) || only(CONTENT_LENGTH, b"0"))
    }
}

/// Who answers a request, and on what condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The gateway itself, for anybody.
    Own(OwnPage),
    /// The gateway itself, for who has a right credential, or for anybody where authentication is off.
    Guard(GuardPage),
    /// ComfyUI, for anybody: one of its static files.
    Exempt,
    /// ComfyUI, for who has a right credential.
    NeedsKey,
    /// A WebSocket at ComfyUI's own place: ComfyUI's for who has a right credential; a guest who presents *none* gets
    /// what this says; a wrong or invalid one is 401.
    Socket(AnonymousWebsocket),
    /// ComfyUI, for anybody, because authentication is off: what else would be `NeedsKey` or `Socket`.
    Open,
    /// Nobody.
    Refused(Refusal),
}

/// Decides from the head and the policy alone; the answer is the same for every credential.
///
/// Exemption rests on method and path: no header, method override, query or fragment takes part in it.
pub(crate) fn decide(head: &Head<'_>, policy: &config::Auth) -> Decision {
    let kind = path::classify(head.path);
    if let Err(refusal) = check(head, kind) {
        return Decision::Refused(refusal);
    }
    let own = OWN_PAGES.iter().map(|(path, page, allow)| (*path, Decision::Own(*page), *allow));
    let guard = GUARD_PAGES.iter().map(|(path, page, allow)| (*path, Decision::Guard(*page), *allow));
    if let Some((_, decision, allow)) = own.chain(guard).find(|(path, ..)| *path == head.path) {
        if allow.split(", ").any(|method| method == head.method.as_str()) {
            return decision;
        }
        return Decision::Refused(Refusal::MethodNotAllowed(allow));
    }
    if is_exempt(head.method, head.path, kind, &policy.exempt) {
        return Decision::Exempt;
    }
    if !policy.enabled {
        return Decision::Open;
    }
    if SOCKETS.contains(&head.path) && head.is_websocket_upgrade() {
        return Decision::Socket(policy.anonymous_websocket);
    }
    Decision::NeedsKey
}

/// What makes a request unacceptable whoever sends it.
fn check(head: &Head<'_>, kind: PathKind) -> Result<(), Refusal> {
    if head.path.len() + head.query.map_or(0, |query| query.len() + 1) > MAX_TARGET {
        return Err(Refusal::TargetTooLong);
    }
    if matches!(*head.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodNotAllowed(ANYWHERE));
    }
    if head.scheme.is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(Refusal::BadScheme);
    }
    wellformed::host(head.headers, head.authority, head.version)?;
    wellformed::framing(head.headers, head.version)?;
    // `OPTIONS *` ends here too: there is no server-wide thing to ask about.
    if kind == PathKind::Broken {
        return Err(Refusal::BadPath);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
