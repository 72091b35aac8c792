//! What ComfyUI gets to see of a request's head.

use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderValue, UPGRADE};

use super::{Scheme, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, X_REAL_IP, is_hop_by_hop, remove};

/// What the gateway knows about a request and says in its own words.
///
/// The values are made once (per process or connection) and shared: inserting one copies no text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestFacts<'a> {
    /// The canonical `Host`: ComfyUI's own address, so that its guard sees a loopback name.
    pub(crate) upstream_host: &'a HeaderValue,
    /// Who sent it: [`super::text_of`] the [`super::client_address`].
    pub(crate) client: &'a HeaderValue,
    /// The host by which the guest called us, where it named one: [`super::believed_host`] or its own.
    pub(crate) host: Option<&'a HeaderValue>,
    /// How the guest's connection was protected.
    pub(crate) scheme: Scheme,
    /// Whether this is the upgrade to a WebSocket: that one hop-by-hop pair is then put back.
    pub(crate) websocket: bool,
}

/// Takes off what ComfyUI must not see, then puts on what the gateway vouches for (in this order: what a guest lists
/// in `Connection` can so never take off a field of ours).
pub(crate) fn strip_request(headers: &mut HeaderMap, facts: &RequestFacts<'_>) {
    remove(headers, drops);
    join_cookies(headers);
    headers.insert(HOST, facts.upstream_host.clone());
    headers.insert(X_FORWARDED_FOR, facts.client.clone());
    headers.insert(X_REAL_IP, facts.client.clone());
    headers.insert(X_FORWARDED_PROTO, facts.scheme.value());
    if let Some(host) = facts.host {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if facts.websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
}

/// Each name is in lower case here.
fn drops(name: &str) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name,
            // The key; and the address of a page, which may hold it as `?api_key=`.
            "authorization" | "x-api-key" | "referer"
            // ComfyUI's guard would answer 403 to a guest whom the gateway has let in by its own check.
            | "origin"
            // The gateway has answered it: ComfyUI gets the body at once.
            | "expect"
            // Another word for the client's address or for who it is, which only we may say.
            | "comfy-user" | "forwarded" | "x-real-ip" | "true-client-ip" | "client-ip" | "x-client-ip"
            | "x-cluster-client-ip" | "cf-connecting-ip" | "x-user" | "x-ms-client-principal"
            // Another word for the method or the path, on which the decision rests.
            | "x-original-url" | "x-original-uri" | "x-rewrite-url" | "x-http-method-override" | "x-http-method"
            | "x-method-override"
        )
        || IDENTITY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        // `x_api_key` and `x-api-key` are one name to WSGI and CGI: nobody sends the former in good faith.
        || name.contains('_')
}

/// Families of fields by which proxies tell an application who the guest is, and what browsers tell ComfyUI's guard.
const IDENTITY_PREFIXES: [&str; 10] = [
    "sec-fetch-",
    "x-forwarded-",
    "remote-",
    "x-remote-",
    "x-auth-request-",
    "x-authenticated-",
    "x-webauth-",
    "x-authentik-",
    "x-ms-client-principal-",
    "tailscale-user-",
];

/// HTTP/2 may split `Cookie` (RFC 9113 section 8.2.3); in HTTP/1.1 there must be one, and aiohttp reads the first.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let whole = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    match HeaderValue::from_bytes(&whole) {
        Ok(mut value) => {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
        // Each part was a value, so the whole is one; if not, no cookie is better than half of them.
        Err(_) => drop(headers.remove(COOKIE)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderName;

    use super::super::map;
    use super::*;
    use proptest::prelude::*;

    fn strip(fields: &[(&'static str, &'static str)], websocket: bool) -> HeaderMap {
        let mut headers = map(fields);
        strip_all(&mut headers, websocket);
        headers
    }

    fn strip_all(headers: &mut HeaderMap, websocket: bool) {
        let facts = RequestFacts {
            upstream_host: &HeaderValue::from_static("127.0.0.1:8188"),
            client: &HeaderValue::from_static("192.0.2.7"),
            host: Some(&HeaderValue::from_static("box:8443")),
            scheme: Scheme::Https,
            websocket,
        };
        strip_request(headers, &facts);
    }

    const OURS: [(&str, &str); 5] = [
        ("host", "127.0.0.1:8188"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-real-ip", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "box:8443"),
    ];

    #[test]
    fn what_is_not_for_comfyui_is_gone() {
        for name in [
            "authorization",
            "x-api-key",
            "referer",
            "origin",
            "sec-fetch-site",
            "sec-fetch-mode",
            "expect",
            "comfy-user",
            "remote-user",
            "remote-email",
            "x-remote-user",
            "x-forwarded-user",
            "x-forwarded-email",
            "x-auth-request-user",
            "x-auth-request-email",
            "x-webauth-user",
            "forwarded",
            "connection",
            "keep-alive",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "x_forwarded_for",
            "comfy_user",
            "x_api_key",
            "content_length",
            "x-http-method-override",
            "x-original-url",
        ] {
            let left = strip(&[(name, "1"), (name, "2"), ("accept", "*/*")], false);
            assert!(!left.contains_key(name), "{name}");
            assert_eq!(left.len(), OURS.len() + 1, "{name}");
        }
    }

    #[test]
    fn what_is_for_comfyui_arrives_unchanged() {
        let kept: Vec<(&'static str, &'static str)> = vec![
            ("accept", "*/*"),
            ("accept-encoding", "gzip"),
            ("content-type", "application/json"),
            ("content-length", "5"),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"x\""),
            ("user-agent", "x"),
            ("trailer", "x-sum"),
            ("cookie", "a=b"),
            ("sec-websocket-key", "k"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ];
        let left = strip(&kept, false);
        for (name, value) in &kept {
            assert_eq!(left.get_all(*name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
        assert_eq!(left.len(), kept.len() + OURS.len());
    }

    #[test]
    fn our_own_fields_replace_the_guests_and_cannot_be_listed_away() {
        let left = strip(
            &[
                ("host", "evil"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-for", "::1"),
                ("x-real-ip", "127.0.0.1"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-host", "evil"),
                ("x-forwarded-port", "1"),
                ("forwarded", "for=::1"),
                ("connection", "close, Host, X-Forwarded-For, x-real-ip,x-custom, X-Forwarded-Proto"),
                ("x-custom", "1"),
                ("connection", "content-length"),
                ("content-length", "3"),
                ("connection", "bad name,,"),
            ],
            false,
        );
        for (name, value) in OURS {
            assert_eq!(left.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
        assert!(!left.contains_key("x-custom") && !left.contains_key("x-forwarded-port"));
        assert_eq!(left.get("content-length").unwrap(), "3");
        assert_eq!(left.len(), OURS.len() + 1);
    }

    #[test]
    fn a_websocket_keeps_its_upgrade_and_no_other() {
        let fields = [
            ("connection", "keep-alive, Upgrade, x-y"),
            ("upgrade", "websocket"),
            ("x-y", "1"),
            ("sec-websocket-key", "k"),
            ("origin", "https://box"),
        ];
        let left = strip(&fields, true);
        assert_eq!(left.get(CONNECTION).unwrap(), "Upgrade");
        assert_eq!(left.get(UPGRADE).unwrap(), "websocket");
        assert_eq!(left.get("sec-websocket-key").unwrap(), "k");
        assert!(!left.contains_key("x-y") && !left.contains_key("origin"));
        assert!(!strip(&fields, false).contains_key(UPGRADE));
    }

    #[test]
    fn split_cookies_are_joined() {
        let left = strip(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3; d=4")], false);
        assert_eq!(left.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3; d=4"]);
    }

    proptest! {
        #[test]
        fn whatever_a_guest_sends_ours_stand_alone(
            names in proptest::collection::vec(prop_oneof![
                "[a-z_-]{1,12}", "x-forwarded-(for|host|proto|user)", Just("connection".to_owned()), Just("authorization".to_owned()),
            ], 0..10),
            value in "[a-zA-Z, -]{0,40}",
        ) {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(&value).unwrap());
            }
            strip_all(&mut headers, false);
            for (name, value) in OURS {
                prop_assert_eq!(headers.get_all(name).iter().collect::<Vec<_>>(), [value]);
            }
            prop_assert!(!headers.contains_key("authorization") && !headers.contains_key("connection"));
            prop_assert!(headers.keys().all(|name| !name.as_str().contains('_')));
        }
    }
}
