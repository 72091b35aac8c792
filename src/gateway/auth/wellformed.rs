//! Whether a head means one thing only: one host, one body length (RFC 9112 sections 3.2 and 6).

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderValue, Version};

use super::refusal::Refusal;

/// One valid host, and the same one wherever it is named.
///
/// HTTP/1.0 may leave it out (RFC 9112 section 3.2); HTTP/2 puts it into `:authority` and may repeat it as `Host`
/// (RFC 9113 section 8.3.1).
pub(super) fn host(headers: &HeaderMap, authority: Option<&Authority>, version: Version) -> Result<(), Refusal> {
    let named = at_most_one(headers.get_all(HOST)).map_err(|TooMany| Refusal::BadHost)?;
    if named.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err(Refusal::BadHost);
    }
    match (named, authority) {
        (_, Some(authority)) if !is_host(authority.as_str().as_bytes()) => Err(Refusal::BadHost),
        (Some(host), Some(authority)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err(Refusal::HostMismatch)
        }
        // In HTTP/1.1 the header is owed even when the target is absolute.
        (None, Some(_)) if version == Version::HTTP_11 => Err(Refusal::BadHost),
        (None, None) if version != Version::HTTP_10 => Err(Refusal::BadHost),
        _ => Ok(()),
    }
}

/// One way to tell where the body ends.
///
/// Over HTTP/1 hyper mends some of these before they are seen here (beside `Transfer-Encoding` it drops
/// `Content-Length`, of two equal lengths the second): harmless, as requests are written anew, but not refused here.
pub(super) fn framing(headers: &HeaderMap, version: Version) -> Result<(), Refusal> {
    let coding = at_most_one(headers.get_all(TRANSFER_ENCODING)).map_err(|TooMany| Refusal::BadTransferEncoding)?;
    let length = at_most_one(headers.get_all(CONTENT_LENGTH)).map_err(|TooMany| Refusal::BadContentLength)?;
    if coding.is_some() && length.is_some() {
        return Err(Refusal::TwoLengths);
    }
    if coding.is_some_and(|value| version != Version::HTTP_11 || !value.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Refusal::BadTransferEncoding);
    }
    if length.is_some_and(|value| !is_length(value)) {
        return Err(Refusal::BadContentLength);
    }
    Ok(())
}

struct TooMany;

fn at_most_one<'a>(values: http::header::GetAll<'a, HeaderValue>) -> Result<Option<&'a HeaderValue>, TooMany> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        _ => Err(TooMany),
    }
}

/// Digits only (a sign, a blank or a list is not a length), and few enough for 64 bits.
fn is_length(value: &HeaderValue) -> bool {
    let text = value.as_bytes();
    text.iter().all(u8::is_ascii_digit) && value.to_str().is_ok_and(|text| text.parse::<u64>().is_ok())
}

/// `uri-host [":" port]` of RFC 9110 section 7.2, narrowed to what DNS names and addresses consist of: no user, no
/// escapes, nothing that a log or a page would have to quote.
fn is_host(text: &[u8]) -> bool {
    let is_port = |rest: &[u8]| match rest.split_first() {
        None => true,
        Some((b':', port)) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        Some(_) => false,
    };
    if let Some(rest) = text.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']').unwrap_or(0);
        let (address, rest) = rest.split_at(end);
        return !address.is_empty()
            && address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
            && rest.strip_prefix(b"]").is_some_and(is_port);
    }
    let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    !name.is_empty()
        && name.len() <= 255
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && is_port(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for good in
            ["localhost", "a-b.example.com:8443", "127.0.0.1", "[::1]:443", "[fe80::1]", "my_box", "EXAMPLE.com.", "a:"]
        {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":443",
            "a b",
            "a,b",
            "a/b",
            "user@host",
            "a:b",
            "a:443:1",
            "a:123456",
            "[::1",
            "[]",
            "[::1]x",
            "[g::]",
            "a?b",
            "a#b",
            "a\\b",
            "a%2Fb",
            "\"a\"",
            "a\u{e9}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
        assert!(!is_host("a".repeat(256).as_bytes()));
    }
}
