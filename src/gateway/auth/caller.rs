//! Who asks, a person before a browser or a program: decides the form of an answer and nothing about its right.

use http::header::{ACCEPT, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Uri};

use super::next::{checked_next, login_address};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// The kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A browser that goes to a page and will show what it gets.
    Navigation,
    /// Anything else: a script on a page, a picture, a WebSocket, curl. Told in JSON, never sent to a login page.
    Program,
}

/// What a caller without a session gets in place of what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unauthenticated {
    /// The login page itself, 200.
    LoginPage,
    /// 303 to this address: the login page, with a checked `next=`.
    Redirect(String),
    /// 401 as JSON.
    Unauthorized,
}

impl Caller {
    /// Judges by method and header fields.
    ///
    /// HEAD counts as a program's: no browser goes to a page by it. Where a browser sends Fetch Metadata, that must say
    /// that a page is wanted; and HTML must be what is asked for, by name.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let says = |name, wanted: &str| headers.get_all(name).iter().all(|value| value == wanted);
        let is_navigation = *method == Method::GET
            && says(SEC_FETCH_MODE, "navigate")
            && says(SEC_FETCH_DEST, "document")
            && ![X_REQUESTED_WITH, UPGRADE, SEC_WEBSOCKET_KEY].iter().any(|name| headers.contains_key(name))
            && prefers_html(headers);
        if is_navigation { Self::Navigation } else { Self::Program }
    }
}

/// What is answered when a path needs a session or a key and the request brought neither.
pub(crate) fn unauthenticated(caller: Caller, target: &Uri) -> Unauthenticated {
    match (caller, target.path()) {
        (Caller::Program, _) => Unauthenticated::Unauthorized,
        (Caller::Navigation, "/") => Unauthenticated::LoginPage,
        (Caller::Navigation, _) => {
            let next = target.path_and_query().and_then(|place| checked_next(place.as_str()));
            Unauthenticated::Redirect(login_address(next.as_deref()))
        }
    }
}

/// Whether `Accept` (RFC 9110 section 12.5.1) names HTML, and JSON less. A wildcard names nothing: curl sends `*/*`.
/// One that weighs more than HTML outweighs it.
fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut other) = (0, 0);
    for value in headers.get_all(ACCEPT) {
        // As a whole: a field that is no text is not a browser's.
        let Ok(list) = value.to_str() else { return false };
        for range in list.split(',') {
            let (kind, weight) = weighed(range);
            if kind.eq_ignore_ascii_case("text/html") {
                html = weight.max(html);
            } else if kind.eq_ignore_ascii_case("application/json") {
                // One more, so that an equal weight counts as preferred: who can read JSON is a program.
                other = other.max(if weight > 0 { weight + 1 } else { 0 });
            } else if matches!(kind, "*/*" | "*") {
                other = weight.max(other);
            }
        }
    }
    html > 0 && html >= other
}

/// A media range and its weight in thousandths. A weight that is none counts as 0.
fn weighed(range: &str) -> (&str, u32) {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let weight = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    (kind, weight.map_or(1000, |(_, text)| thousandths(text).unwrap_or(0)))
}

/// `weight` of RFC 9110 section 12.4.2: 0 to 1, with three digits at most.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // Java's default is `q=.2`.
    if !matches!(whole, "" | "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u32 = format!("{whole:0>1}{fraction:0<3}").parse().ok()?;
    (!text.is_empty() && text != "." && thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7";
    const SAFARI: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    fn caller(method: &Method, fields: &[(&'static str, &str)]) -> Caller {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Caller::of(method, &headers)
    }

    #[test]
    fn a_browser_that_goes_to_a_page_is_a_navigation() {
        for fields in [
            &[("accept", CHROMIUM), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..],
            &[
                ("accept", CHROMIUM),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "document"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("accept", SAFARI)],
            &[("accept", SAFARI), ("upgrade-insecure-requests", "1")],
            &[("accept", "text/html, application/xhtml+xml, */*")],
            &[("accept", "text/html")],
            &[("accept", "TEXT/HTML;level=1;Q=0.4, */*;q=0.1")],
            &[("accept", "text/plain"), ("accept", "text/html")],
            &[("accept", "text/html, application/json;q=0.9")],
        ] {
            assert_eq!(caller(&Method::GET, fields), Caller::Navigation, "{fields:?}");
        }
    }

    #[test]
    fn everything_else_is_a_program() {
        for fields in [
            &[][..],
            &[("accept", "*/*")],
            &[("accept", "")],
            &[("accept", "application/json, text/plain, */*")],
            &[("accept", "application/json, text/html")],
            &[("accept", "text/html;q=0")],
            &[("accept", "text/html;q=0.000")],
            &[("accept", "text/html;q=2")],
            &[("accept", "text/html;q=x")],
            &[("accept", "text/html;q=")],
            &[("accept", "text/html;q=0.3, */*")],
            &[("accept", "text/html;q=0.3, application/json;q=0.4")],
            &[("accept", "text/*")],
            &[("accept", "text/htmlx, xtext/html")],
            &[("accept", "application/x;v=\"text/html\"")],
            &[
                ("accept", "image/avif,image/webp,*/*;q=0.8"),
                ("sec-fetch-mode", "no-cors"),
                ("sec-fetch-dest", "image"),
            ],
            &[("accept", SAFARI), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
            &[("accept", SAFARI), ("sec-fetch-mode", "same-origin")],
            &[("accept", SAFARI), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
            &[("accept", SAFARI), ("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "cors")],
            &[("accept", SAFARI), ("sec-fetch-mode", "")],
            &[("accept", SAFARI), ("x-requested-with", "XMLHttpRequest")],
            &[("accept", SAFARI), ("connection", "upgrade"), ("upgrade", "websocket")],
            &[("accept", SAFARI), ("sec-websocket-key", "x")],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
        ] {
            assert_eq!(caller(&Method::GET, fields), Caller::Program, "{fields:?}");
        }
        let navigation = [("accept", CHROMIUM), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        for method in [Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            assert_eq!(caller(&method, &navigation), Caller::Program, "{method}");
        }
        let mut binary = HeaderMap::new();
        binary.insert(ACCEPT, HeaderValue::from_bytes(b"text/html,\xff").unwrap());
        assert_eq!(Caller::of(&Method::GET, &binary), Caller::Program);
    }

    #[test]
    fn only_a_navigation_is_led_to_the_login_page() {
        let redirect = |address: &str| Unauthenticated::Redirect(address.to_owned());
        for (target, answer) in [
            ("/", Unauthenticated::LoginPage),
            ("/?a=b", Unauthenticated::LoginPage),
            ("https://box:8443/", Unauthenticated::LoginPage),
            ("/queue", redirect("/auth_login.html?next=%2Fqueue")),
            ("/view?a=b&api_key=k", redirect("/auth_login.html?next=%2Fview%3Fa%3Db")),
            ("https://box:8443/queue", redirect("/auth_login.html?next=%2Fqueue")),
            ("//evil.example/", redirect("/auth_login.html")),
            ("/x/..//evil.example", redirect("/auth_login.html")),
        ] {
            let target: Uri = target.parse().unwrap();
            assert_eq!(unauthenticated(Caller::Navigation, &target), answer, "{target}");
            assert_eq!(unauthenticated(Caller::Program, &target), Unauthenticated::Unauthorized, "{target}");
        }
    }

    proptest! {
        #[test]
        fn weights_are_thousandths(thousand in 0u32..=1000) {
            let text = format!("{}.{:03}", thousand / 1000, thousand % 1000);
            prop_assert_eq!(thousandths(&text), Some(thousand));
        }

        #[test]
        fn whoever_does_not_name_html_is_a_program(accept in "([a-z*]{1,5}/[a-z*+]{1,8}(;q=[0-9.]{0,4})?,? ?){0,5}") {
            prop_assume!(!accept.contains("text/html"));
            prop_assert_eq!(caller(&Method::GET, &[("accept", &accept)]), Caller::Program);
        }
    }
}
