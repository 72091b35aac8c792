//! What a guest gets to see of an answer's head.

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};

use super::{is_hop_by_hop, remove};
use crate::gateway::auth::credentials::is_token;

/// What the gateway knows about the request that is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseFacts {
    /// Whether it rested on a credential: no shared cache may then keep the answer.
    pub(crate) needed_key: bool,
    /// Whether this is the 101 of a WebSocket.
    pub(crate) websocket: bool,
}

/// What ComfyUI usually says, and the same for one guest alone.
const USUAL: [(&[u8], &str); 3] = [
    (b"no-cache", "private, no-cache"),
    (b"public, max-age=86400", "private, max-age=86400"),
    (b"public, max-age=3600", "private, max-age=3600"),
];

/// Takes off what is not for guests and keeps answers that needed a key out of shared caches. The fields that tell the
/// body's length are left as they are.
pub(crate) fn strip_response(headers: &mut HeaderMap, facts: ResponseFacts) {
    // Of two lengths the chunked one counts (RFC 9112 section 6.3); it was read by it, so the other must not be told.
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    remove(headers, drops);
    if facts.needed_key {
        let private = for_one_guest(headers);
        headers.insert(CACHE_CONTROL, private);
    }
    if facts.websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

fn drops(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            // They tell versions.
            "server" | "x-powered-by" | "x-aspnet-version" | "x-aspnetmvc-version" | "x-generator"
            // It would send guests around the gateway.
            | "alt-svc"
            // To shared caches they outrank Cache-Control (RFC 9213 section 2.2).
            | "surrogate-control"
        )
        || name.ends_with("cdn-cache-control")
        // The gateway alone says which origins may read.
        || name.starts_with("access-control-")
}

/// `Cache-Control` (RFC 9111 section 5.2.2) made `private`: what speaks to shared caches falls away, the rest stays.
fn for_one_guest(headers: &HeaderMap) -> HeaderValue {
    let mut said = headers.get_all(CACHE_CONTROL).iter();
    let (first, more) = (said.next(), said.next().is_some());
    let Some(first) = first else {
        return HeaderValue::from_static("private");
    };
    if let Some((_, private)) = USUAL.iter().find(|(usual, _)| !more && first.as_bytes() == *usual) {
        return HeaderValue::from_static(private);
    }
    let mut private = b"private".to_vec();
    for value in headers.get_all(CACHE_CONTROL) {
        // A quoted list may hold commas; ComfyUI sends none, so it is not taken apart.
        if value.as_bytes().contains(&b'"') {
            return HeaderValue::from_static("private, no-cache");
        }
        for directive in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            let shared = [&b"public"[..], b"private", b"s-maxage", b"proxy-revalidate", b"must-understand"];
            // What is no directive falls away too: a cache may read `public x` as it likes.
            let is_directive = !name.is_empty() && name.iter().all(|byte| is_token(*byte));
            if is_directive && !shared.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                private.extend_from_slice(b", ");
                private.extend_from_slice(directive);
            }
        }
    }
    HeaderValue::from_bytes(&private).unwrap_or(HeaderValue::from_static("private, no-cache"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::map;
    use super::*;
    use proptest::prelude::*;

    const KEYED: ResponseFacts = ResponseFacts { needed_key: true, websocket: false };
    const EXEMPT: ResponseFacts = ResponseFacts { needed_key: false, websocket: false };

    fn strip(fields: &[(&'static str, &'static str)], facts: ResponseFacts) -> HeaderMap {
        let mut headers = map(fields);
        strip_response(&mut headers, facts);
        headers
    }

    #[test]
    fn of_two_lengths_only_the_one_that_was_read_goes_on() {
        let left = strip(&[("transfer-encoding", "chunked"), ("content-length", "3")], EXEMPT);
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn versions_hops_and_foreign_cors_are_gone_and_the_body_is_told_as_it_was() {
        let left = strip(
            &[
                ("server", "Python/3.11 aiohttp/3.12"),
                ("x-powered-by", "x"),
                ("connection", "keep-alive, x-y"),
                ("x-y", "1"),
                ("keep-alive", "timeout=5"),
                ("upgrade", "h2c"),
                ("alt-svc", "h3"),
                ("access-control-allow-origin", "*"),
                ("access-control-allow-credentials", "true"),
                ("content-length", "5"),
                ("content-type", "image/png"),
                ("content-range", "bytes 0-4/9"),
                ("etag", "\"x\""),
                ("set-cookie", "a=b"),
                ("set-cookie", "c=d"),
            ],
            EXEMPT,
        );
        let mut names: Vec<_> = left.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "content-range", "content-type", "etag", "set-cookie"]);
        assert_eq!(left.get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn what_needed_a_key_is_kept_for_one_guest() {
        for (said, left) in [
            ("public, max-age=86400", "private, max-age=86400"),
            ("public, max-age=3600", "private, max-age=3600"),
            ("no-cache", "private, no-cache"),
            ("no-store", "private, no-store"),
            ("Public,max-age=5, S-MaxAge=9,immutable", "private, max-age=5, immutable"),
            ("private", "private"),
            ("", "private"),
            ("private=\"a, public\", max-age=1", "private, no-cache"),
        ] {
            assert_eq!(strip(&[("cache-control", said)], KEYED).get(CACHE_CONTROL).unwrap(), left, "{said}");
            assert_eq!(strip(&[("cache-control", said)], EXEMPT).get(CACHE_CONTROL).unwrap(), said, "{said}");
        }
        assert_eq!(strip(&[], KEYED).get(CACHE_CONTROL).unwrap(), "private");
        assert!(strip(&[], EXEMPT).is_empty());
        let two = strip(
            &[("cache-control", "max-age=5"), ("cache-control", "public"), ("cdn-cache-control", "public")],
            KEYED,
        );
        assert_eq!(two.get_all(CACHE_CONTROL).iter().collect::<Vec<_>>(), ["private, max-age=5"]);
        assert_eq!(two.len(), 1);
    }

    #[test]
    fn the_websocket_answer_keeps_its_upgrade() {
        let fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "x")];
        let left = strip(&fields, ResponseFacts { needed_key: true, websocket: true });
        assert_eq!(left.get(CONNECTION).unwrap(), "Upgrade");
        assert_eq!(left.get(UPGRADE).unwrap(), "websocket");
        assert_eq!(left.get("sec-websocket-accept").unwrap(), "x");
    }

    proptest! {
        #[test]
        fn no_shared_cache_may_keep_what_needed_a_key(said in "((public|private|s-maxage=[0-9]|no-store|max-age=[0-9]{1,4}|\"|=|x)[, ]{0,2}){0,6}") {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_str(&said).unwrap());
            strip_response(&mut headers, KEYED);
            let left = headers.get(CACHE_CONTROL).unwrap().to_str().unwrap();
            let names: Vec<_> = left.split(',').map(|one| one.split('=').next().unwrap_or_default().trim()).collect();
            prop_assert_eq!(names.first(), Some(&"private"));
            prop_assert!(names.iter().all(|name| name.bytes().all(is_token) && *name != "public" && *name != "s-maxage"));
        }
    }
}
