//! The decision's table, and what must hold for every request.
#![allow(clippy::unwrap_used)]

use http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;

use super::super::fixture::{self, ROUTES};
use super::*;

type Fields<'a> = &'a [(&'static str, &'a str)];

const HOST: (&str, &str) = ("host", "box.example:8443");
const UPGRADE_FIELDS: Fields<'_> = &[HOST, ("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];

fn request(method: &str, target: &str, version: Version, fields: Fields<'_>) -> Request<()> {
    let mut request = Request::builder().method(method).uri(target).version(version).body(()).unwrap();
    for (name, value) in fields {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    request
}

fn judge(request: &Request<()>) -> Decision {
    decide(&Head::of(request), &fixture::auth())
}

fn h1(method: &str, target: &str, fields: Fields<'_>) -> Decision {
    judge(&request(method, target, Version::HTTP_11, fields))
}

fn get(target: &str) -> Decision {
    h1("GET", target, &[HOST])
}

#[test]
fn places_are_answered_by_whom_the_contract_says() {
    for (target, decision) in [
        ("/health", Decision::Own(OwnPage::Health)),
        ("/health?api_key=x", Decision::Own(OwnPage::Health)),
        ("/health/", Decision::NeedsKey),
        ("/%68ealth", Decision::NeedsKey),
        ("/api/health", Decision::NeedsKey),
        ("/", Decision::NeedsKey),
        ("/user.css", Decision::Exempt),
        ("/assets/a.js?x=/../queue", Decision::Exempt),
        ("/extensions/My%20Node/a.js", Decision::Exempt),
        ("/extensions", Decision::NeedsKey),
        ("/queue", Decision::NeedsKey),
        ("/queue?x=/assets/a.js", Decision::NeedsKey),
        ("/api/userdata/workflows%2Fname.json", Decision::NeedsKey),
        ("/history/x.json", Decision::NeedsKey),
        ("/ws", Decision::NeedsKey),
        ("/a%00.js", Decision::Refused(Refusal::BadPath)),
        ("/a%zz.js", Decision::Refused(Refusal::BadPath)),
    ] {
        assert_eq!(get(target), decision, "{target}");
    }
    assert_eq!(h1("HEAD", "/health", &[HOST]), Decision::Own(OwnPage::Health));
    assert_eq!(h1("POST", "/health", &[HOST]), Decision::Refused(Refusal::MethodNotAllowed("GET, HEAD")));
    assert_eq!(h1("POST", "/user.css", &[HOST]), Decision::NeedsKey);
    assert_eq!(h1("get", "/user.css", &[HOST]), Decision::NeedsKey);
    assert_eq!(h1("OPTIONS", "/queue", &[HOST]), Decision::NeedsKey);
}

#[test]
fn the_status_page_is_the_guards_own_and_needs_a_credential() {
    for (method, target, decision) in [
        ("GET", "/guard", Decision::Guard(GuardPage::Moved)),
        ("GET", "/guard/", Decision::Guard(GuardPage::Page)),
        ("GET", "/guard/?x=y", Decision::Guard(GuardPage::Page)),
        ("HEAD", "/guard/status.json", Decision::Guard(GuardPage::Status)),
        ("GET", "/guard/history.json", Decision::Guard(GuardPage::History)),
        ("POST", "/guard/restart", Decision::Guard(GuardPage::Restart)),
        ("POST", "/guard/sign_out_everywhere", Decision::Guard(GuardPage::SignOutEverywhere)),
        ("GET", "/guard/restart", Decision::Refused(Refusal::MethodNotAllowed("POST"))),
        ("HEAD", "/guard/sign_out_everywhere", Decision::Refused(Refusal::MethodNotAllowed("POST"))),
        ("POST", "/guard/status.json", Decision::Refused(Refusal::MethodNotAllowed("GET, HEAD"))),
        // What only looks like them is a place of ComfyUI's, behind the key.
        ("GET", "/guard/restart/", Decision::NeedsKey),
        ("GET", "/guard%2Fstatus.json", Decision::NeedsKey),
        ("GET", "//guard/status.json", Decision::NeedsKey),
        ("POST", "/api/guard/restart", Decision::NeedsKey),
        ("GET", "/guard/page.js", Decision::NeedsKey),
    ] {
        assert_eq!(h1(method, target, &[HOST]), decision, "{method} {target}");
    }
}

#[test]
fn methods_and_targets_that_nobody_may_use_are_refused() {
    let not_allowed = Decision::Refused(Refusal::MethodNotAllowed(ANYWHERE));
    assert_eq!(h1("TRACE", "/queue", &[HOST]), not_allowed);
    assert_eq!(h1("CONNECT", "box.example:8443", &[HOST]), not_allowed);
    assert_eq!(h1("OPTIONS", "*", &[HOST]), Decision::Refused(Refusal::BadPath));
    assert_eq!(h1("GET", "ftp://box.example:8443/user.css", &[HOST]), Decision::Refused(Refusal::BadScheme));
    let longest = format!("/{}", "a".repeat(MAX_TARGET - 1));
    assert_eq!(get(&longest), Decision::NeedsKey);
    assert_eq!(get(&format!("{longest}?")), Decision::Refused(Refusal::TargetTooLong));
}

#[test]
fn exactly_one_valid_host_is_owed() {
    let bad = Decision::Refused(Refusal::BadHost);
    let mismatch = Decision::Refused(Refusal::HostMismatch);
    let two: Fields<'_> = &[HOST, HOST];
    let cases: &[(Version, &str, Fields<'_>, Decision)] = &[
        (Version::HTTP_11, "/user.css", &[], bad),
        (Version::HTTP_11, "/user.css", two, bad),
        (Version::HTTP_11, "/user.css", &[("host", "")], bad),
        (Version::HTTP_11, "/user.css", &[("host", "a b")], bad),
        (Version::HTTP_11, "/user.css", &[("host", "user@a")], bad),
        (Version::HTTP_10, "/user.css", &[], Decision::Exempt),
        (Version::HTTP_10, "/user.css", two, bad),
        (Version::HTTP_11, "https://BOX.example:8443/user.css", &[HOST], Decision::Exempt),
        (Version::HTTP_11, "https://box.example/user.css", &[HOST], mismatch),
        (Version::HTTP_11, "https://box.example:8443/user.css", &[], bad),
        (Version::HTTP_2, "https://box.example:8443/user.css", &[], Decision::Exempt),
        (Version::HTTP_2, "https://box.example:8443/user.css", &[HOST], Decision::Exempt),
        (Version::HTTP_2, "https://other.example/user.css", &[HOST], mismatch),
        (Version::HTTP_2, "https://me@box.example/user.css", &[], bad),
        (Version::HTTP_2, "/user.css", &[HOST], Decision::Exempt),
        (Version::HTTP_2, "/user.css", &[], bad),
    ];
    for (version, target, fields, decision) in cases {
        assert_eq!(judge(&request("GET", target, *version, fields)), *decision, "{version:?} {target} {fields:?}");
    }
}

#[test]
fn a_body_has_one_length() {
    let coding = Decision::Refused(Refusal::BadTransferEncoding);
    let length = Decision::Refused(Refusal::BadContentLength);
    let cases: &[(Fields<'_>, Decision)] = &[
        (&[HOST, ("content-length", "0")], Decision::NeedsKey),
        (&[HOST, ("content-length", "18446744073709551615")], Decision::NeedsKey),
        (&[HOST, ("transfer-encoding", "Chunked")], Decision::NeedsKey),
        (&[HOST, ("content-length", "1"), ("transfer-encoding", "chunked")], Decision::Refused(Refusal::TwoLengths)),
        (&[HOST, ("content-length", "1"), ("content-length", "1")], length),
        (&[HOST, ("content-length", "1, 1")], length),
        (&[HOST, ("content-length", "+1")], length),
        (&[HOST, ("content-length", "0x1")], length),
        (&[HOST, ("content-length", "")], length),
        (&[HOST, ("content-length", "18446744073709551616")], length),
        (&[HOST, ("transfer-encoding", "gzip")], coding),
        (&[HOST, ("transfer-encoding", "gzip, chunked")], coding),
        (&[HOST, ("transfer-encoding", "chunked, chunked")], coding),
        (&[HOST, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], coding),
        (&[HOST, ("transfer-encoding", "identity")], coding),
        (&[HOST, ("transfer-encoding", "")], coding),
        (&[HOST, ("transfer-encoding", "x chunked")], coding),
    ];
    for (fields, decision) in cases {
        assert_eq!(h1("POST", "/prompt", fields), *decision, "{fields:?}");
    }
    let old = request("POST", "/prompt", Version::HTTP_10, &[("transfer-encoding", "chunked")]);
    assert_eq!(judge(&old), coding);
}

#[test]
fn only_a_websocket_at_its_place_is_a_socket() {
    let socket = Decision::Socket(AnonymousWebsocket::Status);
    assert_eq!(h1("GET", "/ws?clientId=x", UPGRADE_FIELDS), socket);
    assert_eq!(h1("GET", "/api/ws", UPGRADE_FIELDS), socket);
    for target in ["/ws/", "//ws", "/%77s", "/api/ws/x", "/queue", "/other"] {
        assert_eq!(h1("GET", target, UPGRADE_FIELDS), Decision::NeedsKey, "{target}");
    }
    let incomplete: &[Fields<'_>] = &[
        &[HOST],
        &[HOST, ("connection", "upgrade")],
        &[HOST, ("upgrade", "websocket")],
        &[HOST, ("connection", "upgraded"), ("upgrade", "websocket")],
        &[HOST, ("connection", "upgrade"), ("upgrade", "h2c")],
        &[HOST, ("connection", "upgrade"), ("upgrade", "websocket, h2c")],
        &[HOST, ("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")],
        &[HOST, ("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "5")],
        &[HOST, ("connection", "upgrade"), ("upgrade", "websocket"), ("transfer-encoding", "chunked")],
    ];
    for fields in incomplete {
        assert_eq!(h1("GET", "/ws", fields), Decision::NeedsKey, "{fields:?}");
    }
    assert_eq!(h1("POST", "/ws", UPGRADE_FIELDS), Decision::NeedsKey);
    assert_eq!(judge(&request("GET", "/ws", Version::HTTP_2, UPGRADE_FIELDS)), Decision::NeedsKey);
}

#[test]
fn without_authentication_only_the_key_falls_away() {
    let open = config::Auth { enabled: false, ..fixture::auth() };
    let judge = |method, target, fields| decide(&Head::of(&request(method, target, Version::HTTP_11, fields)), &open);
    assert_eq!(judge("GET", "/queue", &[HOST]), Decision::Open);
    assert_eq!(judge("GET", "/ws", UPGRADE_FIELDS), Decision::Open);
    assert_eq!(judge("GET", "/health", &[HOST]), Decision::Own(OwnPage::Health));
    assert_eq!(judge("GET", "/a%00", &[HOST]), Decision::Refused(Refusal::BadPath));
    assert_eq!(judge("TRACE", "/queue", &[HOST]), Decision::Refused(Refusal::MethodNotAllowed(ANYWHERE)));
}

#[test]
fn each_refusal_tells_status_word_and_sentence() {
    let all = [
        Refusal::TargetTooLong,
        Refusal::MethodNotAllowed("GET"),
        Refusal::BadScheme,
        Refusal::BadHost,
        Refusal::HostMismatch,
        Refusal::TwoLengths,
        Refusal::BadTransferEncoding,
        Refusal::BadContentLength,
        Refusal::BadPath,
    ];
    let words: std::collections::BTreeSet<_> = all.iter().map(|refusal| refusal.code()).collect();
    assert_eq!(words.len(), all.len(), "each has its own word");
    for refusal in all {
        assert!(refusal.status().is_client_error());
        assert_eq!(refusal.allow().is_some(), refusal.status() == 405);
        assert!(refusal.message().len() > 20);
    }
}

/// P1 once more, through the whole decision.
#[test]
fn no_route_is_open_to_anybody() {
    let suffixes = fixture::auth().exempt.suffixes;
    for (_, route) in ROUTES {
        for path in fixture::spellings(route, &suffixes) {
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
                let decision = h1(method, &path, &[HOST]);
                assert_eq!(decision, Decision::NeedsKey, "{method} {path}");
            }
        }
    }
}

/// How open a decision is; adding a header may only lower it.
fn openness(decision: Decision) -> u8 {
    match decision {
        Decision::Refused(_) => 0,
        Decision::NeedsKey | Decision::Guard(_) => 1,
        Decision::Socket(_) => 2,
        Decision::Exempt | Decision::Own(_) | Decision::Open => 3,
    }
}

fn fields() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let names = prop_oneof![
        Just("user-agent"),
        Just("x-http-method-override"),
        Just("x-forwarded-for"),
        Just("x-forwarded-uri"),
        Just("x-original-url"),
        Just("authorization"),
        Just("cookie"),
        Just("origin"),
        Just("accept"),
        Just("referer"),
        Just("connection"),
        Just("upgrade"),
        Just("host"),
        Just("content-length"),
        Just("transfer-encoding"),
        Just("x-real-ip"),
        Just("forwarded"),
        Just("sec-fetch-mode"),
        Just("x-rewrite-url"),
        Just("range"),
    ];
    let values = prop_oneof![
        Just("websocket".to_owned()),
        Just("upgrade".to_owned()),
        Just("chunked".to_owned()),
        Just("0".to_owned()),
        Just("/assets/x.js".to_owned()),
        Just("GET".to_owned()),
        Just("127.0.0.1".to_owned()),
        "[ -~]{0,20}",
    ];
    let field = (names, values)
        .prop_map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap()));
    proptest::collection::vec(field, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_head_gets_a_decision(method in fixture::methods(), path in "\\PC*", query in proptest::option::of("\\PC*"), fields in fields()) {
        let headers: HeaderMap = fields.into_iter().collect();
        let head = Head { method: &method, path: &path, query: query.as_deref(), headers: &headers, version: Version::HTTP_11, authority: None, scheme: None };
        decide(&head, &fixture::auth());
    }

    /// P2, P4: what stands in headers and query never opens anything, and never closes an exemption other than by a refusal.
    #[test]
    fn headers_and_query_never_open_a_path(method in fixture::methods(), path in fixture::paths(), query in "[a-z/=.?&%#]{0,20}", fields in fields()) {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("box"));
        let auth = fixture::auth();
        let bare = Head { method: &method, path: &path, query: None, headers: &headers, version: Version::HTTP_11, authority: None, scheme: None };
        let before = decide(&bare, &auth);

        let mut more = headers.clone();
        for (name, value) in fields {
            more.append(name, value);
        }
        let after = decide(&Head { query: Some(&query), headers: &more, ..bare }, &auth);
        match after {
            Decision::Refused(_) => {}
            Decision::Socket(_) => prop_assert!(SOCKETS.contains(&path.as_str())),
            _ => prop_assert_eq!(after, before),
        }
        if !SOCKETS.contains(&path.as_str()) {
            prop_assert!(openness(after) <= openness(before));
        }
        prop_assert_eq!(decide(&Head { query: Some(&query), ..bare }, &auth), before);
    }
}
