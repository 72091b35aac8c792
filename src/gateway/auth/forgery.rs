//! Did a page of ours send this? What rests on a cookie alone may have been sent by any page that the guest looks at.

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cookie::to_hex;
use super::credentials::{Presented, presented};
use crate::config::Origin;
use crate::gateway::proxy::origin::{cors, same_origin};
use crate::secret::Secret;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// What the token is the digest of. Another version of the token gets another number.
const MESSAGE: &[u8] = b"comfy-guard anti-forgery 1";

/// Why a request is taken for one that another site's page sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Forgery {
    /// The page that sent it is of another origin (or hides which), or says it twice.
    #[error(
        "a page of another site sent this request; open ComfyUI itself, or list that page's origin in auth.allowed_origins"
    )]
    ForeignPage,
    /// Nothing says that our own page sent it.
    #[error(
        "nothing shows that ComfyUI's own page sent this request; send the session's token as a Bearer credential, or use the key"
    )]
    NoProof,
}

/// What a cookie-borne request says about where it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The header fields as they came.
    pub(crate) headers: &'a HeaderMap,
    /// The host by which the guest called: `Host` or `:authority`, or what a trusted proxy says it was.
    pub(crate) host: &'a str,
    /// Whether it asks for a WebSocket, which browsers let any page do.
    pub(crate) websocket: bool,
    /// The token of the session that the cookie names.
    pub(crate) token: &'a Secret<String>,
    /// `auth.allowed_origins`.
    pub(crate) allowed: &'a [Origin],
}

/// The token of a session: lower-case hex of an HMAC-SHA256 under its id, so that it is stored nowhere and says nothing
/// about the id.
pub(crate) fn anti_forgery_token(id: &Secret<[u8; 32]>) -> Secret<String> {
    let mut mac = keyed(id.expose());
    mac.update(MESSAGE);
    let token = to_hex(&mac.finalize().into_bytes());
    Secret::new(token.as_str().to_owned())
}

/// Whether a presented credential is that token. Takes the same time for any two of the same length.
pub(crate) fn is_token(presented: &[u8], token: &Secret<String>) -> bool {
    presented.ct_eq(token.expose().as_bytes()).into()
}

/// Judges a request that rests on a session's cookie.
///
/// The `Origin` that a browser writes outweighs the token: a foreign page that got hold of one still is refused.
///
/// # Errors
/// Why the request is refused.
pub(crate) fn judge(facts: &Facts<'_>) -> Result<(), Forgery> {
    if !facts.websocket && matches!(*facts.method, Method::GET | Method::HEAD) {
        // ComfyUI-Manager restarts on a GET: a picture on a neighbour's page must not do that. A link may be followed.
        let by_page =
            matches!(site(facts.headers), Site::Foreign) && !is_navigation(facts.headers) && !carries_token(facts);
        return if by_page { Err(Forgery::ForeignPage) } else { Ok(()) };
    }
    match Page::of(facts.headers, facts.host, facts.allowed) {
        Page::Ours => Ok(()),
        Page::Listed if facts.websocket => Ok(()),
        // A listed page may talk to the API, but a session's cookie alone is not its word.
        Page::Listed if carries_token(facts) => Ok(()),
        Page::Listed => Err(Forgery::NoProof),
        Page::Foreign => Err(Forgery::ForeignPage),
        Page::Unknown if facts.websocket => Err(Forgery::NoProof),
        Page::Unknown if carries_token(facts) => Ok(()),
        Page::Unknown => match site(facts.headers) {
            Site::SameOrigin => Ok(()),
            Site::Unsaid | Site::NoPage => Err(Forgery::NoProof),
            Site::Foreign => Err(Forgery::ForeignPage),
        },
    }
}

/// Judges a login: a page of another site could else sign a guest in to a session of its own, and see what is made there.
///
/// # Errors
/// Why the login is refused.
pub(crate) fn login_origin(headers: &HeaderMap, host: &str) -> Result<(), Forgery> {
    match (Page::of(headers, host, &[]), site(headers)) {
        (Page::Ours, _) => Ok(()),
        // A program, such as curl: browsers name the origin of every post.
        (Page::Unknown, Site::SameOrigin | Site::NoPage | Site::Unsaid) => Ok(()),
        _ => Err(Forgery::ForeignPage),
    }
}

/// The page that sent a request, by its `Origin`.
enum Page {
    Ours,
    Listed,
    /// Another one; also `null`, an empty one, and two of them.
    Foreign,
    /// No `Origin` at all.
    Unknown,
}

impl Page {
    fn of(headers: &HeaderMap, host: &str, allowed: &[Origin]) -> Self {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Self::Unknown,
            (Some(origin), None) if same_origin(origin, host) => Self::Ours,
            (Some(origin), None) if cors(origin, allowed).is_some() => Self::Listed,
            _ => Self::Foreign,
        }
    }
}

/// Whether a browser goes to a page, and not a page loads a part of itself.
fn is_navigation(headers: &HeaderMap) -> bool {
    headers.get_all(SEC_FETCH_MODE).iter().any(|mode| mode == "navigate")
}

/// `Sec-Fetch-Site` (Fetch Metadata, section 2.4): pages cannot write it.
enum Site {
    SameOrigin,
    /// `none`: a person's own doing, such as a bookmark.
    NoPage,
    Foreign,
    Unsaid,
}

fn site(headers: &HeaderMap) -> Site {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter().map(HeaderValue::as_bytes);
    match (sites.next(), sites.next()) {
        (None, _) => Site::Unsaid,
        (Some(b"same-origin"), None) => Site::SameOrigin,
        (Some(b"none"), None) => Site::NoPage,
        _ => Site::Foreign,
    }
}

fn carries_token(facts: &Facts<'_>) -> bool {
    shows_token(facts.headers, facts.token)
}

/// Whether the token came in `Authorization` or `X-API-Key`. Not in the query: an address is seen and kept by many.
pub(crate) fn shows_token(headers: &HeaderMap, token: &Secret<String>) -> bool {
    // `presented` reads Basic as well; browsers add that by themselves, so it is no proof.
    let by_bearer = headers.get_all(AUTHORIZATION).iter().all(|value| {
        value.as_bytes().trim_ascii().get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    });
    by_bearer && matches!(presented(headers, None), Presented::Key(key) if is_token(key.expose(), token))
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key of the digest's block size: 32 bytes and the zeroes that HMAC pads with itself (RFC 2104 section 2).
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&(*block).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderName;

    fn token() -> Secret<String> {
        anti_forgery_token(&Secret::new([7; 32]))
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let value = value.replace("TOKEN", token().expose());
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
        }
        headers
    }

    fn judged(method: &Method, websocket: bool, fields: &[(&'static str, &str)]) -> Result<(), Forgery> {
        let allowed = [Origin("https://app.example".into())];
        let (headers, token) = (headers(fields), token());
        judge(&Facts { method, headers: &headers, host: "box:8443", websocket, token: &token, allowed: &allowed })
    }

    const FOREIGN: Result<(), Forgery> = Err(Forgery::ForeignPage);
    const BARE: Result<(), Forgery> = Err(Forgery::NoProof);
    const OURS: (&str, &str) = ("origin", "https://box:8443");
    const LISTED: (&str, &str) = ("origin", "https://app.example");
    const EVIL: (&str, &str) = ("origin", "https://evil.example");
    const SITE: (&str, &str) = ("sec-fetch-site", "cross-site");
    const LINK: (&str, &str) = ("sec-fetch-mode", "navigate");
    const BEARER: (&str, &str) = ("authorization", "Bearer TOKEN");

    #[test]
    fn the_token_is_the_agreed_digest() {
        // Computed by `openssl mac -digest SHA256 -macopt hexkey:0707… HMAC`.
        assert_eq!(token().expose(), "8b3a3ebfc6e4a45a099b2b081174ff242d99afee3c35c00d669315f71329e481");
        assert!(is_token(token().expose().as_bytes(), &token()));
        for wrong in
            ["", "0", &token().expose()[1..], &format!("{}0", token().expose()), &token().expose().to_uppercase()]
        {
            assert!(!is_token(wrong.as_bytes(), &token()), "{wrong}");
        }
        assert_ne!(token(), anti_forgery_token(&Secret::new([8; 32])));
    }

    #[test]
    fn reading_needs_no_proof() {
        for method in [Method::GET, Method::HEAD] {
            for fields in [&[][..], &[EVIL], &[("origin", "null")], &[("sec-fetch-site", "same-origin")], &[SITE, LINK]]
            {
                assert_eq!(judged(&method, false, fields), Ok(()), "{fields:?}");
            }
        }
    }

    #[test]
    fn a_part_of_a_foreign_page_is_not_read_by_the_cookie() {
        for site in ["cross-site", "same-site"] {
            let part = &[("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")];
            assert_eq!(judged(&Method::GET, false, part), FOREIGN, "{site}");
            assert_eq!(judged(&Method::GET, false, &[part[0], BEARER]), Ok(()), "{site}");
        }
    }

    #[test]
    fn changing_needs_our_page_or_the_token() {
        type Case = (&'static [(&'static str, &'static str)], Result<(), Forgery>);
        let table: &[Case] = &[
            (&[OURS], Ok(())),
            (&[BEARER], Ok(())),
            (&[("authorization", "bearer  TOKEN")], Ok(())),
            (&[("x-api-key", "TOKEN")], Ok(())),
            (&[OURS, BEARER], Ok(())),
            (&[LISTED, BEARER], Ok(())),
            (&[("sec-fetch-site", "same-origin")], Ok(())),
            (&[OURS, ("sec-fetch-site", "same-origin")], Ok(())),
            (&[], BARE),
            (&[LISTED], BARE),
            (&[("sec-fetch-site", "none")], BARE),
            (&[("x-api-key", "TOKEN0")], BARE),
            (&[("x-api-key", "")], BARE),
            (&[("authorization", "Basic eDpUT0tFTg==")], BARE),
            (&[("authorization", "TOKEN")], BARE),
            (&[BEARER, ("x-api-key", "other")], BARE),
            (&[("authorization", "Bearer other"), ("x-api-key", "TOKEN")], BARE),
            (&[("referer", "https://box:8443/")], BARE),
            (&[EVIL], FOREIGN),
            (&[EVIL, BEARER], FOREIGN),
            (&[OURS, EVIL], FOREIGN),
            (&[OURS, OURS], FOREIGN),
            (&[("origin", "null")], FOREIGN),
            (&[("origin", "null"), BEARER], FOREIGN),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], FOREIGN),
            (&[("origin", "")], FOREIGN),
            (&[("origin", "http://box:8443")], FOREIGN),
            (&[("origin", "https://box")], FOREIGN),
            (&[("origin", "https://box:8443.evil.example")], FOREIGN),
            (&[("sec-fetch-site", "cross-site")], FOREIGN),
            (&[("sec-fetch-site", "same-site")], FOREIGN),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], FOREIGN),
        ];
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            for (fields, expected) in table {
                assert_eq!(judged(&method, false, fields), *expected, "{method} {fields:?}");
            }
        }
    }

    #[test]
    fn a_socket_needs_the_origin_of_our_page_or_a_listed_one() {
        for (fields, expected) in [
            (&[OURS][..], Ok(())),
            (&[LISTED], Ok(())),
            (&[], BARE),
            (&[BEARER], BARE),
            (&[("sec-fetch-site", "same-origin")], BARE),
            (&[EVIL], FOREIGN),
            (&[EVIL, BEARER], FOREIGN),
            (&[OURS, OURS], FOREIGN),
            (&[("origin", "null")], FOREIGN),
            (&[("origin", "http://box:8443")], FOREIGN),
        ] {
            assert_eq!(judged(&Method::GET, true, fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn nobody_is_signed_in_by_another_sites_page() {
        for (fields, expected) in [
            (&[][..], Ok(())),
            (&[OURS], Ok(())),
            (&[OURS, ("sec-fetch-site", "same-origin")], Ok(())),
            (&[("sec-fetch-site", "same-origin")], Ok(())),
            (&[("sec-fetch-site", "none")], Ok(())),
            (&[EVIL], FOREIGN),
            (&[LISTED], FOREIGN),
            (&[OURS, OURS], FOREIGN),
            (&[("origin", "null")], FOREIGN),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], FOREIGN),
            (&[("sec-fetch-site", "cross-site")], FOREIGN),
            (&[("sec-fetch-site", "same-site")], FOREIGN),
            (&[("sec-fetch-site", "")], FOREIGN),
        ] {
            assert_eq!(login_origin(&headers(fields), "box:8443"), expected, "{fields:?}");
        }
        assert_eq!(login_origin(&headers(&[OURS]), "other:8443"), FOREIGN);
        assert_eq!(login_origin(&headers(&[("origin", "https://")]), ""), FOREIGN);
    }
}
