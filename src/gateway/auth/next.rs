//! Where a guest goes on to after signing in: `next=`, believed only when it is a place of this site.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use super::path::{PathKind, classify};
use crate::gateway::proxy::query::without_credentials;

/// The page that signs guests in.
pub(crate) const LOGIN_PAGE: &str = "/auth_login.html";

/// The longest `next`, in bytes.
const MAX_NEXT: usize = 2000;

/// How often a path is decoded to see what somebody further on may read in it.
const DECODINGS: usize = 3;

/// Places that would lead back to the login, or end the session that was just opened.
const NOT_AFTER_LOGIN: [&[u8]; 3] = [LOGIN_PAGE.as_bytes(), b"/auth_session", b"/auth_inject.js"];

/// The path and query to go on to, without credentials and fragment; `None`: not a place of this site, go to `/`.
///
/// `raw` is the parameter's value, decoded once. Browsers read a backslash as a slash, drop tabs and line ends, and take
/// what follows two slashes for a host: each has been an open redirect somewhere. Paths that are spelt so that another
/// reader might see these in them (escaped, once or more often) are refused too.
pub(crate) fn checked_next(raw: &str) -> Option<String> {
    if raw.len() > MAX_NEXT || !raw.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let without_fragment = raw.split('#').next()?;
    let target: PathAndQuery = without_fragment.starts_with('/').then(|| without_fragment.parse().ok()).flatten()?;
    if target.as_str() != without_fragment || classify(target.path()) == PathKind::Broken {
        return None;
    }
    if !stays_plain(target.path().as_bytes()) {
        return None;
    }
    let left = without_credentials(&target).ok()?;
    Some(left.unwrap_or(target).to_string())
}

/// The address of the login page that leads on to `next`, which has been [`checked_next`].
pub(crate) fn login_address(next: Option<&str>) -> String {
    match next {
        Some(next) if next != "/" => format!("{LOGIN_PAGE}?next={}", utf8_percent_encode(next, NON_ALPHANUMERIC)),
        _ => LOGIN_PAGE.to_owned(),
    }
}

/// Whether it is a plain place, however often it is decoded.
fn stays_plain(path: &[u8]) -> bool {
    let mut path = Cow::Borrowed(path);
    for _ in 0..=DECODINGS {
        if !is_plain_place(&path) {
            return false;
        }
        let decoded: Vec<u8> = percent_decode(&path).collect();
        if decoded == *path {
            return true;
        }
        path = Cow::Owned(decoded);
    }
    // Still escaped after that many times: nobody writes such a path in good faith.
    false
}

/// An absolute path without empty and dot segments, backslashes and controls, and none of our own pages.
fn is_plain_place(path: &[u8]) -> bool {
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, b"." | b"..") || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    path.starts_with(b"/")
        && !path.iter().any(|byte| *byte == b'\\' || byte.is_ascii_control())
        && !NOT_AFTER_LOGIN.iter().any(|place| path.eq_ignore_ascii_case(place))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// What has led browsers away from a site, and what leads back to the login.
    const TRICKS: &[&str] = &[
        "",
        "evil.example",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "//evil.example/%2e%2e",
        "//evil.example@box/",
        "//box@evil.example/",
        "//evil%E3%80%82example",
        "//0x7f000001/",
        "//[::1]/",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/\\/evil.example",
        "/\\\\evil.example",
        "//\\evil.example",
        "/a\\b",
        "/x/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/ /evil.example",
        "/\u{b}/evil.example",
        "/\u{0}/evil.example",
        "/\u{7f}/evil.example",
        "/\u{a0}/evil.example",
        "/\u{ff0f}evil.example",
        "/\u{2044}/evil.example",
        "/%09/evil.example",
        "/%0a/evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "/%00/evil.example",
        "/%2Fevil.example",
        "/%2fevil.example",
        "/%2F%2Fevil.example",
        "/%252Fevil.example",
        "/%25252Fevil.example",
        "/%2525252Fevil.example",
        "/%252525252525252Fevil.example",
        "/%5Cevil.example",
        "/%5cevil.example",
        "/%255Cevil.example",
        "/%2F%5Cevil.example",
        "%2F%2Fevil.example",
        "/.//evil.example",
        "/./evil.example",
        "/..//evil.example",
        "/../evil.example",
        "/x/..//evil.example",
        "/x//evil.example",
        "/%2e//evil.example",
        "/%2e%2e//evil.example",
        "/%2e%2e%2fevil.example",
        "/x/%2E%2E/%2Fevil.example",
        "/%25%32%46evil.example",
        "/%",
        "/%zz",
        "/%2",
        "https://evil.example",
        "HTTPS://evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "http:\\\\evil.example",
        "https://box:8443@evil.example",
        "https://box.evil.example",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "java\tscript:alert(1)",
        "javascript://box/%0aalert(1)",
        "/javascript:alert(1)//\\",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:x",
        "blob:https://evil.example/x",
        "file:///etc/passwd",
        "ftp://evil.example",
        "://evil.example",
        ":evil.example",
        "@evil.example",
        ".evil.example",
        "../evil",
        "?next=//evil.example",
        "#//evil.example",
        "*",
        "/auth_login.html",
        "/auth_login.html?logout=true",
        "/auth_login.html#x",
        "/AUTH_LOGIN.html",
        "/auth%5Flogin.html",
        "/auth%255Flogin.html",
        "/%61uth_login.html?logout=true",
        "/auth_session",
        "/auth_session?x",
        "/auth_%73ession",
        "/auth_inject.js",
        "/./auth_session",
    ];

    #[test]
    fn no_known_trick_leads_away() {
        for trick in TRICKS {
            assert_eq!(checked_next(trick), None, "{trick:?}");
        }
        assert!(TRICKS.len() >= 60);
    }

    #[test]
    fn places_of_this_site_are_kept_as_they_are() {
        for next in [
            "/",
            "/?workflow=a%2Fb&x=//y",
            "/queue",
            "/api/userdata/workflows%2Fname.json",
            "/view?filename=a%20b.png&type=output&subfolder=",
            "/extensions/My%20Node/",
            "/docs/%E4%BD%A0.md",
            "/@evil.example",
            "/evil.example",
            "/x:443/y",
            "/auth_login.html.txt",
            "/a/auth_session",
            "/?next=https://evil.example",
            "/100%25.png",
        ] {
            assert_eq!(checked_next(next).as_deref(), Some(next), "{next}");
        }
        let longest = format!("/{}", "a".repeat(MAX_NEXT - 1));
        assert_eq!(checked_next(&longest).as_deref(), Some(&*longest));
        assert_eq!(checked_next(&format!("{longest}a")), None);
    }

    #[test]
    fn the_key_and_the_fragment_do_not_come_along() {
        for (next, kept) in [
            ("/?api_key=k", "/"),
            ("/?token=k&a=b", "/?a=b"),
            ("/queue?a=b&api%5Fkey=k&c", "/queue?a=b&c"),
            ("/#api_key=k", "/"),
            ("/queue?a#b", "/queue?a"),
        ] {
            assert_eq!(checked_next(next).as_deref(), Some(kept), "{next}");
        }
    }

    #[test]
    fn the_login_page_is_told_where_to_go_on() {
        for (next, address) in [
            (None, "/auth_login.html"),
            (Some("/"), "/auth_login.html"),
            (Some("/view?a=b&c=%2F"), "/auth_login.html?next=%2Fview%3Fa%3Db%26c%3D%252F"),
        ] {
            assert_eq!(login_address(next), address);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_here(raw in "[/\\\\.%a-e2580-9CF?#@: \t\r\n&=]{0,24}|/[ -~]{0,40}|\\PC{0,20}") {
            if let Some(next) = checked_next(&raw) {
                prop_assert!(next.starts_with('/') && next.bytes().all(|byte| byte.is_ascii_graphic()));
                let path = next.split('?').next().unwrap();
                let mut decoded = path.as_bytes().to_vec();
                for _ in 0..6 {
                    prop_assert!(!matches!(decoded.get(1), Some(b'/' | b'\\' | b'\t' | b'\r' | b'\n')));
                    prop_assert!(!decoded.contains(&b'\\'));
                    decoded = percent_decode(&decoded).collect();
                }
                prop_assert_eq!(checked_next(&next), Some(next.clone()), "checking again changes nothing");
            }
        }
    }
}
