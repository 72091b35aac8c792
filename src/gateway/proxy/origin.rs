//! Web origins: whether a page is ours, and what pages of allow-listed origins are told (CORS).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};

use crate::config::Origin;
use crate::gateway::auth::credentials::is_token;

/// Always allowed in a cross-origin request: the credentials of the guide, and JSON.
const ALLOWED_HEADERS: &str = "authorization, x-api-key, content-type";

/// The most of `Access-Control-Request-Headers` that is given back, in bytes.
const MAX_REQUESTED: usize = 1024;

/// Whether `origin` is the page of the host that the request was sent to.
///
/// Only `https`: guests are served nothing else, and a page that came over plain HTTP may have been written by anybody.
pub(crate) fn same_origin(origin: &HeaderValue, host: &str) -> bool {
    let Some(named) = origin.as_bytes().strip_prefix(b"https://") else {
        return false;
    };
    let without_default = |host: &[u8]| host.strip_suffix(b":443").map(<[u8]>::len).unwrap_or(host.len());
    let (named, _) = named.split_at(without_default(named));
    let (host, _) = host.as_bytes().split_at(without_default(host.as_bytes()));
    !host.is_empty() && named.eq_ignore_ascii_case(host)
}

/// The value of `Access-Control-Allow-Origin` for a page of this origin: itself if it is listed, else none.
pub(crate) fn cors(origin: &HeaderValue, allowed: &[Origin]) -> Option<HeaderValue> {
    // Browsers send an origin in one spelling (RFC 6454 section 6.2), so bytes are compared.
    allowed.iter().any(|Origin(listed)| listed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

/// Tells a page of a listed origin that it may read the answer, a 401 included: it must be able to read why.
///
/// `Vary` is owed whether or not the origin is listed, so that no cache gives one page's answer to another. There is
/// no `Access-Control-Allow-Credentials`: a session's cookie is never used by another origin.
pub(crate) fn answer_cors(response: &mut HeaderMap, listed: Option<HeaderValue>) {
    response.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = listed {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
}

/// The header fields that answer a preflight (`OPTIONS`) of a listed origin; none: it is no such preflight.
pub(crate) fn preflight(request: &HeaderMap, allowed: &[Origin]) -> Option<HeaderMap> {
    let origin = listed_origin(request, allowed)?;
    request.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let requested = request.get(ACCESS_CONTROL_REQUEST_HEADERS).map_or(&[][..], HeaderValue::as_bytes);

    let mut answer = HeaderMap::with_capacity(5);
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(
        VARY,
        HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers"),
    );
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"));
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(requested));
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(answer)
}

/// The request's only `Origin`, if it is listed.
pub(crate) fn listed_origin(request: &HeaderMap, allowed: &[Origin]) -> Option<HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    let origin = cors(origins.next()?, allowed)?;
    origins.next().is_none().then_some(origin)
}

/// Ours and those of the requested ones that are field names.
fn allowed_headers(requested: &[u8]) -> HeaderValue {
    let plain = HeaderValue::from_static(ALLOWED_HEADERS);
    if requested.is_empty() || requested.len() > MAX_REQUESTED {
        return plain;
    }
    let mut list = ALLOWED_HEADERS.as_bytes().to_vec();
    for name in requested.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if !name.is_empty() && name != b"*" && name.iter().all(|byte| is_token(*byte)) {
            list.extend_from_slice(b", ");
            list.extend_from_slice(name);
        }
    }
    HeaderValue::from_bytes(&list).unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn listed() -> Vec<Origin> {
        vec![Origin("https://app.example".into()), Origin("http://localhost:3000".into())]
    }

    fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_page_is_ours_by_scheme_host_and_port() {
        for (origin, host, same) in [
            ("https://box:8443", "box:8443", true),
            ("https://BOX", "box", true),
            ("https://box", "box:443", true),
            ("https://box:443", "box", true),
            ("https://[::1]:8443", "[::1]:8443", true),
            ("http://box", "box", false),
            ("https://box", "box:8443", false),
            ("https://box.evil", "box", false),
            ("https://evilbox", "box", false),
            ("https://box/", "box", false),
            ("https://box@evil", "box", false),
            ("https://", "", false),
            ("null", "null", false),
            ("", "", false),
            ("file://", "", false),
        ] {
            assert_eq!(same_origin(&HeaderValue::from_static(origin), host), same, "{origin} {host}");
        }
    }

    #[test]
    fn only_a_listed_origin_is_named_and_never_all() {
        for (origin, known) in [
            ("https://app.example", true),
            ("http://localhost:3000", true),
            ("https://app.example:444", false),
            ("http://app.example", false),
            ("https://app.example.evil", false),
            ("null", false),
            ("*", false),
        ] {
            let mut response = HeaderMap::new();
            answer_cors(&mut response, listed_origin(&request(&[("origin", origin)]), &listed()));
            let named = response.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap());
            assert_eq!(named, known.then_some(origin));
            assert_eq!(response.get(VARY).unwrap(), "origin");
            assert!(!response.contains_key("access-control-allow-credentials"));
        }
        let mut two = HeaderMap::new();
        let doubled = request(&[("origin", "https://app.example"), ("origin", "https://evil")]);
        answer_cors(&mut two, listed_origin(&doubled, &listed()));
        assert!(!two.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }

    #[test]
    fn a_preflight_allows_the_guides_headers_and_the_requested_tokens() {
        let ask = request(&[
            ("origin", "https://app.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "comfy-user, bad name,*, , x-trace"),
        ]);
        let answer = preflight(&ask, &listed()).unwrap();
        assert_eq!(answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://app.example");
        assert_eq!(
            answer.get(ACCESS_CONTROL_ALLOW_HEADERS).unwrap(),
            "authorization, x-api-key, content-type, comfy-user, x-trace"
        );
        assert!(answer.values().all(|value| value != "*"));
        assert!(!answer.contains_key("access-control-allow-credentials"));
        assert!(preflight(&request(&[("origin", "https://app.example")]), &listed()).is_none());
        let foreign = request(&[("origin", "https://evil"), ("access-control-request-method", "POST")]);
        assert!(preflight(&foreign, &listed()).is_none());
    }
}
