//! The session's cookie: read from a request, written into an answer, taken off what goes on to ComfyUI.

use cookie::{Cookie, SameSite, time::Duration};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::units::Span;

/// Its name. Browsers take a `__Host-` cookie from the host itself over TLS only, so no neighbour below the same domain
/// can plant one.
pub(crate) const NAME: &str = "__Host-comfyui_session";

/// What a request says about its session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionCookie {
    /// Nothing.
    None,
    /// One id, however often.
    One(Secret<[u8; 32]>),
    /// No id, or two that differ: which one was meant cannot be known.
    Invalid,
}

/// Reads the cookie by its exact name (RFC 6265 section 5.4): 64 lower-case hex digits and nothing else.
pub(crate) fn session_id(headers: &HeaderMap) -> SessionCookie {
    let mut found: Option<Secret<[u8; 32]>> = None;
    for crumb in headers.get_all(COOKIE).iter().flat_map(|field| field.as_bytes().split(|byte| *byte == b';')) {
        let Some(value) = value_of_ours(crumb) else { continue };
        match (value.and_then(|value| from_hex(&value)), &found) {
            (None, _) => return SessionCookie::Invalid,
            // `Secret` compares in constant time: one presented id must not measure another.
            (Some(id), Some(first)) if id != *first => return SessionCookie::Invalid,
            (Some(_), Some(_)) => {}
            (Some(id), None) => found = Some(id),
        }
    }
    found.map_or(SessionCookie::None, SessionCookie::One)
}

/// The `Set-Cookie` that opens or prolongs a session; `remember`: how long the browser keeps it beyond its own end.
pub(crate) fn set_cookie(id: &Secret<[u8; 32]>, remember: Option<Span>) -> HeaderValue {
    let hex = to_hex(id.expose());
    let mut cookie = ours(&hex);
    if let Some(Span(lifetime)) = remember {
        cookie.set_max_age(Duration::seconds(i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX)));
    }
    field(&cookie)
}

/// The `Set-Cookie` that makes a browser forget it.
pub(crate) fn expired_cookie() -> HeaderValue {
    let mut cookie = ours("");
    cookie.set_max_age(Duration::ZERO);
    field(&cookie)
}

/// Takes our cookie off what goes on to ComfyUI: a custom node that reads it would be the guest. Other cookies keep
/// their exact bytes; a field that held nothing else goes.
pub(crate) fn strip_session(headers: &mut HeaderMap) {
    let is_ours = |crumb: &&[u8]| value_of_ours(crumb).is_some();
    if !headers.get_all(COOKIE).iter().any(|field| field.as_bytes().split(|byte| *byte == b';').any(|c| is_ours(&c))) {
        return;
    }
    let fields: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for value in fields {
        let crumbs: Vec<&[u8]> = value.as_bytes().split(|byte| *byte == b';').collect();
        let left: Vec<&[u8]> = crumbs.iter().copied().filter(|crumb| !is_ours(crumb)).collect();
        if left.len() == crumbs.len() {
            headers.append(COOKIE, value);
            continue;
        }
        let joined = left.join(&b';');
        // Each byte came out of a field value, so the rest is one; if not, no cookie is better than ours.
        if let Ok(mut rest) = HeaderValue::from_bytes(joined.trim_ascii())
            && !rest.is_empty()
        {
            rest.set_sensitive(true);
            headers.append(COOKIE, rest);
        }
    }
}

/// `None`: another cookie. Else its value, if it can be read as text.
///
/// The name is compared before the crumb is parsed: a crumb of ours that is broken must not count as absent.
#[allow(clippy::option_option)] // "not ours" and "ours, unreadable" are two things
fn value_of_ours(crumb: &[u8]) -> Option<Option<Zeroizing<String>>> {
    let end = crumb.iter().position(|byte| *byte == b'=').unwrap_or(crumb.len());
    let (name, _) = crumb.split_at(end);
    if name.trim_ascii() != NAME.as_bytes() {
        return None;
    }
    let parsed = std::str::from_utf8(crumb).ok().and_then(|text| Cookie::parse(text).ok());
    Some(parsed.map(|cookie| Zeroizing::new(cookie.value().to_owned())))
}

fn ours(value: &str) -> Cookie<'_> {
    // Lax: a link from elsewhere opens ComfyUI signed in, a cross-site post or picture does not carry it.
    Cookie::build((NAME, value)).path("/").secure(true).http_only(true).same_site(SameSite::Lax).build()
}

fn field(cookie: &Cookie<'_>) -> HeaderValue {
    let text = Zeroizing::new(cookie.to_string());
    // Our name, hex and attributes are plain ASCII; the fall back is a cookie that opens nothing.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Lower-case hex, wiped after use.
pub(super) fn to_hex(bytes: &[u8]) -> Zeroizing<String> {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

fn from_hex(text: &str) -> Option<Secret<[u8; 32]>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut id = Zeroizing::new([0; 32]);
    if text.len() != 2 * id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(Secret::new(*id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "00ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e";
    const OTHER: &str = "10ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e";

    fn cookies(fields: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_str(&field.replace("ID", ID).replace("OTHER", OTHER)).unwrap());
        }
        headers
    }

    fn stripped(fields: &[&str]) -> Vec<String> {
        let mut headers = cookies(fields);
        strip_session(&mut headers);
        headers.get_all(COOKIE).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_id_is_found_by_its_exact_name() {
        let one = SessionCookie::One(from_hex(ID).unwrap());
        for fields in [
            &["__Host-comfyui_session=ID"][..],
            &["a=b; __Host-comfyui_session=ID; c=d"],
            &["a=b;__Host-comfyui_session=ID;c=d"],
            &["a=b", "__Host-comfyui_session=ID"],
            &["__Host-comfyui_session=ID; __Host-comfyui_session=ID"],
            &["__Host-comfyui_session=ID", "__Host-comfyui_session=ID"],
            &[" __Host-comfyui_session = ID "],
        ] {
            assert_eq!(session_id(&cookies(fields)), one, "{fields:?}");
        }
    }

    #[test]
    fn a_name_that_only_looks_like_it_is_another_cookie() {
        for field in [
            "x__Host-comfyui_session=ID",
            "__Host-comfyui_session2=ID",
            "__host-comfyui_session=ID",
            "__Host-comfyui_Session=ID",
            "comfyui_session=ID",
            "__Secure-comfyui_session=ID",
            "a=__Host-comfyui_session=ID",
            "%5F_Host-comfyui_session=ID",
            "=__Host-comfyui_session=ID",
            "",
            ";;",
            "a=\"x, __Host-comfyui_session=ID\"",
        ] {
            assert_eq!(session_id(&cookies(&[field])), SessionCookie::None, "{field}");
            assert_eq!(stripped(&[field]), [field.replace("ID", ID)], "{field}");
        }
    }

    #[test]
    fn what_is_no_id_is_invalid_and_two_that_differ_are() {
        for field in [
            "__Host-comfyui_session",
            "__Host-comfyui_session=",
            "__Host-comfyui_session=0",
            "__Host-comfyui_session=ID0",
            "__Host-comfyui_session=\"ID\"",
            "__Host-comfyui_session==ID",
            "__Host-comfyui_session=ID; __Host-comfyui_session=OTHER",
            "__Host-comfyui_session=ID; __Host-comfyui_session=",
            "__Host-comfyui_session=; __Host-comfyui_session=ID",
            "__Host-comfyui_session=00FF0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E",
            "__Host-comfyui_session=g0ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
        ] {
            assert_eq!(session_id(&cookies(&[field])), SessionCookie::Invalid, "{field}");
        }
        let split = cookies(&["__Host-comfyui_session=ID", "__Host-comfyui_session=OTHER"]);
        assert_eq!(session_id(&split), SessionCookie::Invalid);
        let mut binary = HeaderMap::new();
        binary.insert(COOKIE, HeaderValue::from_bytes(b"__Host-comfyui_session=\xff").unwrap());
        assert_eq!(session_id(&binary), SessionCookie::Invalid);
    }

    #[test]
    fn a_browser_gets_it_locked_to_this_host() {
        let id = from_hex(ID).unwrap();
        let locked = "HttpOnly; SameSite=Lax; Secure; Path=/";
        let expected = |rest: &str| format!("__Host-comfyui_session={rest}");
        assert_eq!(set_cookie(&id, None), expected(&format!("{ID}; {locked}")));
        let month = Span::from_secs(30 * 24 * 3600);
        assert_eq!(set_cookie(&id, Some(month)), expected(&format!("{ID}; {locked}; Max-Age=2592000")));
        assert_eq!(expired_cookie(), expected(&format!("; {locked}; Max-Age=0")));
        assert!(set_cookie(&id, None).is_sensitive());
    }

    #[test]
    fn comfyui_gets_every_cookie_but_ours() {
        for (field, left) in [
            ("__Host-comfyui_session=ID", &[][..]),
            ("__Host-comfyui_session=ID;", &[]),
            ("__Host-comfyui_session=ID; a=b", &["a=b"]),
            ("a=\"b c\"; __Host-comfyui_session=ID;c=%41; d", &["a=\"b c\";c=%41; d"]),
            ("__Host-comfyui_session=junk; a=b; __Host-comfyui_session=ID", &["a=b"]),
        ] {
            assert_eq!(stripped(&[field]), left, "{field}");
        }
        assert_eq!(stripped(&["a=1", "__Host-comfyui_session=ID", "b=2"]), ["a=1", "b=2"]);
    }

    proptest! {
        #[test]
        fn an_id_reads_back_as_written(id: [u8; 32]) {
            let id = Secret::new(id);
            let field = set_cookie(&id, None);
            let pair = field.to_str().unwrap().split(';').next().unwrap().to_owned();
            prop_assert_eq!(session_id(&cookies(&[&pair])), SessionCookie::One(id));
        }

        #[test]
        fn nothing_of_ours_is_left_and_the_rest_is_as_it_was(
            crumbs in proptest::collection::vec("(__Host-comfyui_session(=[0-9a-f]{0,3})?|[a-z]{1,3}=[a-zA-Z\"=% ]{0,5})", 0..6)
        ) {
            let mut headers = cookies(&[&crumbs.join("; ")]);
            strip_session(&mut headers);
            prop_assert_eq!(session_id(&headers), SessionCookie::None);
            let kept: Vec<_> = crumbs.iter().filter(|crumb| !crumb.starts_with(NAME)).map(|crumb| crumb.trim_end()).collect();
            let left = headers.get(COOKIE).map_or(String::new(), |value| value.to_str().unwrap().to_owned());
            prop_assert_eq!(left.split(';').map(str::trim).collect::<Vec<_>>().join("; "), kept.join("; "));
        }
    }
}
