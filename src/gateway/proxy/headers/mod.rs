//! Header fields on their way through: what is taken off, what is put on. Pure edits of a map in place.

mod client;
mod request;
mod response;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName};

pub(crate) use client::{Scheme, believed_host, believed_scheme, client_address, text_of};
pub(crate) use request::{RequestFacts, strip_request};
pub(crate) use response::{ResponseFacts, strip_response};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Fields that concern one connection only (RFC 9110 section 7.6.1). `Trailer` stays: it announces fields that go
/// the whole way.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "te" | "transfer-encoding" | "upgrade" | "http2-settings")
        || name.starts_with("proxy-")
}

/// Takes off every field that `drops` names and those that `Connection` lists.
///
/// One walk over the names finds them; in a request that holds nothing of the kind nothing is allocated. `Content-Length`
/// cannot be listed away: the body's end would then be told otherwise than it was read.
fn remove(headers: &mut HeaderMap, drops: fn(&str) -> bool) {
    let mut doomed: Vec<HeaderName> = Vec::new();
    for name in headers.keys() {
        if drops(name.as_str()) {
            doomed.push(name.clone());
        }
    }
    for value in headers.get_all(CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if is_usual_option(token) {
                continue;
            }
            if let Ok(name) = HeaderName::from_bytes(token) {
                doomed.push(name);
            }
        }
    }
    for name in doomed {
        if name != CONTENT_LENGTH {
            headers.remove(name);
        }
    }
}

/// What `Connection` nearly always says: names no field that would have to be looked for.
fn is_usual_option(token: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close", b"upgrade"].iter().any(|usual| token.eq_ignore_ascii_case(usual))
}

#[cfg(test)]
pub(super) fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, http::HeaderValue::from_static(value));
    }
    headers
}
