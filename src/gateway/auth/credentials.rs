//! What a request presents as its key: every place that it may stand in, and whether they agree.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::telemetry::metrics::CredentialKind;

/// The header of the guide's second form.
pub(crate) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The longest key that is looked at, in bytes.
pub(crate) const MAX_KEY: usize = 4096;

/// Standard alphabet; clients in the field leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request presents.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// Nothing.
    None,
    /// One key, however often.
    Key(Secret<Vec<u8>>),
    /// Something that cannot be a key: 401 wherever a credential is looked at, `/health` included.
    Invalid(Why),
}

/// Why what was presented cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    /// Named, but without a value.
    #[error("the credential is empty")]
    Empty,
    /// Not of the form that its scheme demands.
    #[error("the credential is malformed")]
    Malformed,
    /// Over [`MAX_KEY`].
    #[error("the credential is longer than 4096 bytes")]
    TooLong,
    /// Two that differ: which one was meant cannot be known.
    #[error("the request carries two credentials that differ; send one")]
    Conflict,
}

/// Gathers the key from `Authorization` (Bearer, Basic), `X-API-Key`, `?api_key=` and `?token=`, every occurrence.
///
/// Cookies are not looked at: a session is another thing than the key.
pub(crate) fn presented(headers: &HeaderMap, query: Option<&str>) -> Presented {
    let from_authorization =
        headers.get_all(AUTHORIZATION).iter().filter_map(|value| authorization(value.as_bytes()).transpose());
    let from_header = headers.get_all(X_API_KEY).iter().map(|value| bounded(Cow::Borrowed(trim(value.as_bytes()))));
    let from_query =
        query.into_iter().flat_map(pairs).filter(|(name, _)| is_key_parameter(name)).map(|(_, value)| parameter(value));

    let mut found: Option<Secret<Vec<u8>>> = None;
    for candidate in from_authorization.chain(from_header).chain(from_query) {
        match (candidate, &found) {
            (Err(why), _) => return Presented::Invalid(why),
            // `Secret` compares in constant time: one presented key must not measure another.
            (Ok(key), Some(first)) if key != *first => return Presented::Invalid(Why::Conflict),
            (Ok(_), Some(_)) => {}
            (Ok(key), None) => found = Some(key),
        }
    }
    found.map_or(Presented::None, Presented::Key)
}

/// In which form a request presents what [`presented`] found: the first of them, where there are several.
pub(crate) fn kind_of(headers: &HeaderMap, query: Option<&str>) -> CredentialKind {
    let scheme = |value: &[u8]| match authorization(value) {
        Ok(None) => None,
        _ if trim(value).get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic")) => {
            Some(CredentialKind::Basic)
        }
        _ => Some(CredentialKind::Bearer),
    };
    let in_query = || query.into_iter().flat_map(pairs).any(|(name, _)| is_key_parameter(name));
    match headers.get_all(AUTHORIZATION).iter().find_map(|value| scheme(value.as_bytes())) {
        Some(form) => form,
        None if headers.contains_key(&X_API_KEY) => CredentialKind::Header,
        None if in_query() => CredentialKind::Query,
        None => CredentialKind::None,
    }
}

/// Whether a query parameter of this (still escaped) name carries the key: `api%5Fkey` is `api_key` to ComfyUI too.
pub(crate) fn is_key_parameter(name: &str) -> bool {
    ["api_key", "token"].iter().any(|known| percent_decode_str(name).eq(known.bytes()))
}

/// The name and value of each pair of a query, both still escaped.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// `credentials` of RFC 9110 section 11.4; a scheme that is not ours counts as absent.
fn authorization(value: &[u8]) -> Result<Option<Secret<Vec<u8>>>, Why> {
    let value = trim(value);
    let end = value.iter().position(|byte| is_blank(*byte)).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let rest = trim(rest);
    if scheme.is_empty() {
        Err(Why::Empty)
    } else if scheme.eq_ignore_ascii_case(b"bearer") {
        bounded(Cow::Borrowed(rest)).map(Some)
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        basic(rest).map(Some)
    } else if scheme.iter().all(|byte| is_token(*byte)) {
        Ok(None)
    } else {
        Err(Why::Malformed)
    }
}

/// RFC 7617 section 2: the key is the password, the user is anybody.
fn basic(encoded: &[u8]) -> Result<Secret<Vec<u8>>, Why> {
    if encoded.is_empty() {
        return Err(Why::Empty);
    }
    let decoded = Zeroizing::new(BASE64.decode(encoded).map_err(|_| Why::Malformed)?);
    let colon = decoded.iter().position(|byte| *byte == b':').ok_or(Why::Malformed)?;
    let (_, password) = decoded.split_at(colon);
    bounded(Cow::Borrowed(password.strip_prefix(b":").unwrap_or(password)))
}

/// Decoded once. `+` stays `+`: base64 keys have it, and none has a blank.
fn parameter(escaped: &str) -> Result<Secret<Vec<u8>>, Why> {
    let whole = |tail: &str| tail.len() >= 2 && tail.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !escaped.split('%').skip(1).all(whole) {
        return Err(Why::Malformed);
    }
    bounded(percent_decode_str(escaped).into())
}

fn bounded(key: Cow<'_, [u8]>) -> Result<Secret<Vec<u8>>, Why> {
    // Taken over before it is judged, so that a decoded copy is wiped on every way out.
    let key = Secret::new(key.into_owned());
    match key.expose().len() {
        0 => Err(Why::Empty),
        1..=MAX_KEY => Ok(key),
        _ => Err(Why::TooLong),
    }
}

/// Without the optional white space of RFC 9110 section 5.6.3 around it.
fn trim(value: &[u8]) -> &[u8] {
    let start = value.iter().position(|byte| !is_blank(*byte)).unwrap_or(value.len());
    let (_, value) = value.split_at(start);
    let end = value.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1);
    value.split_at(end).0
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const KEY: &str = "ab+/cd==";

    fn key(text: &str) -> Presented {
        Presented::Key(Secret::new(text.as_bytes().to_vec()))
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn header(name: &'static str, value: &str) -> Presented {
        presented(&headers(&[(name, value)]), None)
    }

    fn query(query: &str) -> Presented {
        presented(&HeaderMap::new(), Some(query))
    }

    #[test]
    fn each_form_yields_the_exact_key() {
        for value in ["Bearer ab+/cd==", "bearer ab+/cd==", "BEARER   ab+/cd==", "  Bearer\tab+/cd== "] {
            assert_eq!(header("authorization", value), key(KEY), "{value}");
        }
        assert_eq!(header("x-api-key", " ab+/cd== "), key(KEY));
        // base64 of "user:ab+/cd==", ":ab+/cd==" and "user:with:colon"
        for value in ["Basic dXNlcjphYisvY2Q9PQ==", "basic dXNlcjphYisvY2Q9PQ", "BASIC OmFiKy9jZD09"] {
            assert_eq!(header("authorization", value), key(KEY), "{value}");
        }
        assert_eq!(header("authorization", "Basic dXNlcjp3aXRoOmNvbG9u"), key("with:colon"));
        for text in [
            "api_key=ab+/cd==",
            "api_key=ab%2B%2Fcd%3D%3D",
            "x=1&api_key=ab+/cd==&y",
            "token=ab%2b/cd==",
            "api%5Fkey=ab+/cd==",
            "%74oken=ab+/cd==",
            "api_key=ab+/cd==&token=ab%2B/cd==",
        ] {
            assert_eq!(query(text), key(KEY), "{text}");
        }
        assert_eq!(query("api_key=a%252B"), key("a%2B"), "decoded once");
    }

    #[test]
    fn what_is_not_ours_counts_as_absent() {
        for value in ["Digest username=x", "Negotiate abc", "Bearerabc", "justakey", "Bearer+abc"] {
            assert_eq!(header("authorization", value), Presented::None, "{value}");
        }
        for text in [
            "",
            "a=b",
            "API_KEY=x",
            "xapi_key=x",
            "api_key2=x",
            "api_key%00=x",
            "a=1;api_key=x",
            "Token=x",
            "api%255Fkey=x",
        ] {
            assert_eq!(query(text), Presented::None, "{text}");
        }
        assert_eq!(header("cookie", "comfyui_api_key=x"), Presented::None);
        assert_eq!(header("x_api_key", "x"), Presented::None);
        assert_eq!(header("proxy-authorization", "Bearer x"), Presented::None);
    }

    #[test]
    fn empty_and_malformed_are_never_a_key() {
        let table = [
            ("authorization", "", Why::Empty),
            ("authorization", "Bearer", Why::Empty),
            ("authorization", "Bearer   ", Why::Empty),
            ("authorization", "Basic", Why::Empty),
            ("authorization", "Basic dXNlcjo=", Why::Empty),
            ("authorization", "Basic dXNlcg==", Why::Malformed),
            ("authorization", "Basic !!!", Why::Malformed),
            ("authorization", "Basic dXNlcjp4 dXNlcjp4", Why::Malformed),
            ("authorization", "Bearer:abc", Why::Malformed),
            ("authorization", "\"x\" y", Why::Malformed),
            ("x-api-key", "", Why::Empty),
            ("x-api-key", "  ", Why::Empty),
        ];
        for (name, value, why) in table {
            assert_eq!(header(name, value), Presented::Invalid(why), "{name}: {value}");
        }
        for (text, why) in [
            ("api_key", Why::Empty),
            ("api_key=", Why::Empty),
            ("token=&a=b", Why::Empty),
            ("api_key=%", Why::Malformed),
            ("api_key=a%4", Why::Malformed),
            ("api_key=%zz", Why::Malformed),
        ] {
            assert_eq!(query(text), Presented::Invalid(why), "{text}");
        }
    }

    #[test]
    fn two_that_differ_are_a_conflict_wherever_they_stand() {
        let bearer = ("authorization", "Bearer right");
        let conflict = Presented::Invalid(Why::Conflict);
        assert_eq!(presented(&headers(&[bearer, ("authorization", "Bearer wrong")]), None), conflict);
        assert_eq!(presented(&headers(&[bearer, ("x-api-key", "wrong")]), None), conflict);
        assert_eq!(presented(&headers(&[bearer, ("authorization", "Basic OndyZw==")]), None), conflict);
        assert_eq!(presented(&headers(&[("x-api-key", "a"), ("x-api-key", "b")]), None), conflict);
        assert_eq!(presented(&headers(&[bearer]), Some("token=wrong")), conflict);
        assert_eq!(query("api_key=a&api_key=b"), conflict);
        assert_eq!(query("api_key=a&token=b"), conflict);
        assert_eq!(presented(&headers(&[bearer, ("x-api-key", "right")]), Some("token=right")), key("right"));
        assert_eq!(presented(&headers(&[bearer]), Some("token=")), Presented::Invalid(Why::Empty));
        let foreign = headers(&[("authorization", "Digest x"), ("x-api-key", "right")]);
        assert_eq!(presented(&foreign, None), key("right"));
    }

    #[test]
    fn the_form_is_that_of_what_was_presented() {
        type Row<'a> = (&'a [(&'static str, &'a str)], Option<&'a str>, CredentialKind);
        let table: [Row<'_>; 9] = [
            (&[("authorization", "Bearer x")], Some("token=y"), CredentialKind::Bearer),
            (&[("authorization", "bearer ")], None, CredentialKind::Bearer),
            (&[("authorization", "BASIC dXNlcjp4")], None, CredentialKind::Basic),
            (&[("authorization", "Digest x"), ("x-api-key", "x")], None, CredentialKind::Header),
            (&[("x-api-key", "")], Some("api_key=x"), CredentialKind::Header),
            (&[], Some("a=b&api%5Fkey=x"), CredentialKind::Query),
            (&[], Some("token="), CredentialKind::Query),
            (&[("authorization", "Digest x")], Some("a=b"), CredentialKind::None),
            (&[], None, CredentialKind::None),
        ];
        for (fields, query, form) in table {
            assert_eq!(kind_of(&headers(fields), query), form, "{fields:?} {query:?}");
        }
    }

    #[test]
    fn a_key_has_a_largest_size() {
        let longest = "k".repeat(MAX_KEY);
        assert_eq!(header("x-api-key", &longest), key(&longest));
        let longer = "k".repeat(MAX_KEY + 1);
        assert_eq!(header("x-api-key", &longer), Presented::Invalid(Why::TooLong));
        assert_eq!(header("authorization", &format!("Bearer {longer}")), Presented::Invalid(Why::TooLong));
        assert_eq!(query(&format!("api_key={longer}")), Presented::Invalid(Why::TooLong));
    }

    #[test]
    fn no_key_is_printed() {
        assert!(!format!("{:?}", header("x-api-key", "sesame")).contains("sesame"));
    }

    proptest! {
        #[test]
        fn any_header_and_query_are_judged_without_panic(value in proptest::collection::vec(any::<u8>(), 0..64), text in ".*") {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let mut map = HeaderMap::new();
                map.append(AUTHORIZATION, value.clone());
                map.append(X_API_KEY, value);
                presented(&map, Some(&text));
            }
        }

        #[test]
        fn every_form_carries_every_key(text in "[!-~]{1,64}") {
            prop_assert_eq!(header("x-api-key", &text), key(&text));
            prop_assert_eq!(header("authorization", &format!("Bearer {text}")), key(&text));
            let encoded = BASE64.encode(format!("u:{text}"));
            prop_assert_eq!(header("authorization", &format!("Basic {encoded}")), key(&text));
            let escaped = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC);
            prop_assert_eq!(query(&format!("api_key={escaped}")), key(&text));
        }
    }
}
