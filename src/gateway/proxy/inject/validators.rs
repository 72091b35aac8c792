//! Caching of the page that gets a tag: it is another one than ComfyUI's, so it needs an `ETag` of its own.

use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};

/// Ends the opaque part of each `ETag` of a page with our tag. Another tag or place for it gets another number: pages
/// that a browser kept with the old one must not be taken for current.
const SUFFIX: &[u8] = b"-guard1";

/// Digests of ComfyUI's bytes (RFC 9530 and its forerunners), which are not those that the guest gets.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Makes a request ask for the whole page in plain bytes, or for word that it has not changed since *we* sent it.
pub(super) fn ask_for_whole_page(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // A part of ComfyUI's page is no part of ours; and its date would also vouch for a page that was kept without tag.
    for name in [RANGE, IF_RANGE, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_MATCH] {
        headers.remove(name);
    }
    let known: Vec<Vec<u8>> = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b','))
        .filter_map(|tag| without_suffix(tag.trim_ascii()))
        .collect();
    headers.remove(IF_NONE_MATCH);
    if let Ok(value) = HeaderValue::from_bytes(&known.join(&b", "[..]))
        && !value.is_empty()
    {
        headers.insert(IF_NONE_MATCH, value);
    }
}

/// Tells of the page with the tag, `added` bytes longer.
pub(super) fn tell_of_tag(headers: &mut HeaderMap, added: usize) {
    if let Some(length) = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length.saturating_add(added)));
    }
    DIGESTS.iter().for_each(|name| drop(headers.remove(name)));
    headers.remove(ACCEPT_RANGES);
    tell_of_version(headers);
}

/// The validators alone, as a 304 bears them: it comes only where ComfyUI knew an `ETag` that had our suffix.
pub(super) fn tell_of_version(headers: &mut HeaderMap) {
    headers.remove(LAST_MODIFIED);
    let Some(tag) = headers.remove(ETAG) else { return };
    if let Some(tag) = with_suffix(tag.as_bytes()) {
        headers.insert(ETAG, tag);
    }
}

/// `None`: not an entity tag (RFC 9110 section 8.8.3); better none than one that stands for two pages.
fn with_suffix(tag: &[u8]) -> Option<HeaderValue> {
    let opened = tag.strip_suffix(b"\"")?;
    let opaque = opened.strip_prefix(b"W/").unwrap_or(opened).strip_prefix(b"\"")?;
    // A comma is allowed in one, but lists are taken apart at commas here: that page is then sent whole each time.
    if opaque.contains(&b'"') {
        return None;
    }
    HeaderValue::from_bytes(&[opened, SUFFIX, b"\""].concat()).ok()
}

/// ComfyUI's own tag of a page that we sent; `None`: we did not send it.
fn without_suffix(tag: &[u8]) -> Option<Vec<u8>> {
    let opened = tag.strip_suffix(b"\"")?.strip_suffix(SUFFIX)?;
    let opaque = opened.strip_prefix(b"W/").unwrap_or(opened).strip_prefix(b"\"")?;
    (!opaque.contains(&b'"')).then(|| [opened, b"\""].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_whole_page_is_asked_for_in_plain_bytes() {
        let mut asked = map(&[
            ("accept-encoding", "gzip"),
            ("accept-encoding", "br"),
            ("range", "bytes=0-9"),
            ("if-range", "\"x\""),
            ("if-modified-since", "x"),
            ("if-unmodified-since", "x"),
            ("if-match", "\"x\""),
            ("accept", "text/html"),
        ]);
        ask_for_whole_page(&mut asked);
        assert_eq!(asked, map(&[("accept-encoding", "identity"), ("accept", "text/html")]));
    }

    #[test]
    fn only_a_page_that_had_the_tag_can_be_current() {
        for (said, asked) in [
            ("\"a-b-guard1\"", Some("\"a-b\"")),
            ("W/\"a-guard1\"", Some("W/\"a\"")),
            ("\"a\", \"b-guard1\" ,W/\"c-guard1\"", Some("\"b\", W/\"c\"")),
            ("\"a-guard1-guard1\"", Some("\"a-guard1\"")),
            ("\"a\"", None),
            ("\"a-guard0\"", None),
            ("a-guard1", None),
            ("\"a-guard1", None),
            ("*", None),
            ("", None),
        ] {
            let mut headers = map(&[("if-none-match", said)]);
            ask_for_whole_page(&mut headers);
            assert_eq!(headers.get(IF_NONE_MATCH).map(|value| value.to_str().unwrap()), asked, "{said}");
        }
        let mut two = map(&[("if-none-match", "\"a-guard1\""), ("if-none-match", "\"b-guard1\"")]);
        ask_for_whole_page(&mut two);
        assert_eq!(two.get_all(IF_NONE_MATCH).iter().collect::<Vec<_>>(), ["\"a\", \"b\""]);
    }

    #[test]
    fn the_answer_tells_of_the_page_with_the_tag() {
        let mut told = map(&[
            ("content-length", "100"),
            ("etag", "\"a-b\""),
            ("last-modified", "x"),
            ("accept-ranges", "bytes"),
            ("content-digest", "x"),
            ("cache-control", "no-cache"),
        ]);
        tell_of_tag(&mut told, 20);
        let mine = map(&[("content-length", "120"), ("etag", "\"a-b-guard1\""), ("cache-control", "no-cache")]);
        assert_eq!(told, mine);
        for odd in ["a", "\"", "\"a", "", "W/a\"", "\"a\"b\""] {
            let mut told = map(&[("etag", odd)]);
            tell_of_tag(&mut told, 20);
            assert!(told.is_empty(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn a_tag_goes_to_the_guest_and_back_unchanged(tag in "(W/)?\"[!#-+.-~]{0,20}\"") {
            let mut answer = HeaderMap::new();
            answer.insert(ETAG, HeaderValue::from_str(&tag).unwrap());
            tell_of_version(&mut answer);
            let mut next = HeaderMap::new();
            next.insert(IF_NONE_MATCH, answer.remove(ETAG).unwrap());
            ask_for_whole_page(&mut next);
            prop_assert_eq!(next.get(IF_NONE_MATCH).unwrap(), &tag);
        }
    }
}
