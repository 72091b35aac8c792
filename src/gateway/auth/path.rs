//! How a path is spelt: only one spelling of each place can ever be exempt.

use percent_encoding::percent_decode_str;

/// What the spelling of a path is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// The one spelling of its place: gateway and ComfyUI cannot read it differently.
    Canonical,
    /// Another reader may see another place in it. Never exempt; with a key it goes on byte for byte, because the
    /// front end itself writes `/api/userdata/workflows%2Fname.json`.
    Ambiguous,
    /// No path at all: answered 400.
    Broken,
}

/// Judges the path of a request target as it came over the wire, without its query (RFC 3986 section 3.3).
pub(crate) fn classify(raw_path: &str) -> PathKind {
    if !raw_path.starts_with('/') {
        return PathKind::Broken;
    }
    let mut ambiguous = has_odd_segment(raw_path);
    let mut beyond_ascii = false;
    let mut rest = raw_path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let Some((escape, after)) = rest.split_first_chunk::<2>() else {
                    return PathKind::Broken;
                };
                let Some(decoded) = hex(*escape) else {
                    return PathKind::Broken;
                };
                rest = after;
                if decoded.is_ascii_control() {
                    return PathKind::Broken;
                }
                beyond_ascii |= !decoded.is_ascii();
                // RFC 3986 section 2.1: upper-case digits are the normal form.
                ambiguous |= escape.iter().any(u8::is_ascii_lowercase) || is_ambiguous_escaped(decoded);
            }
            b'#' => return PathKind::Broken,
            _ if byte.is_ascii_control() => return PathKind::Broken,
            _ => ambiguous |= !is_plain(byte),
        }
    }
    if ambiguous || (beyond_ascii && percent_decode_str(raw_path).decode_utf8().is_err()) {
        return PathKind::Ambiguous;
    }
    PathKind::Canonical
}

/// An empty segment that is not the last one, or a dot segment (RFC 3986 section 5.2.4).
fn has_odd_segment(path: &str) -> bool {
    path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// An escape that some reader takes for a separator, decodes twice, or decodes before it compares
/// (aiohttp serves `/%71ueue` as `/queue`).
fn is_ambiguous_escaped(decoded: u8) -> bool {
    matches!(decoded, b'/' | b'\\' | b'%' | b';') || is_unreserved(decoded)
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 section 3.3 without the escape, and without `;`, which some servers cut parameters off at.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_place_has_one_canonical_spelling() {
        for path in [
            "/",
            "/queue",
            "/extensions/",
            "/extensions/My%20Node/a.js",
            "/assets/%E4%BD%A0.png",
            "/assets/index-D3adB33f.js",
            "/a@b:c!$&'()*+,=d/~x_y-z",
            "/.well-known/x",
            "/..a/a../...",
            "/a%3Fb",
            "/a%23b",
            "/a%5Bb%5D",
        ] {
            assert_eq!(classify(path), PathKind::Canonical, "{path}");
        }
    }

    #[test]
    fn what_two_readers_may_read_differently_is_ambiguous() {
        for path in [
            "/api/userdata/workflows%2Fname.json",
            "/api/userdata/workflows%2fname.json",
            "/a%5Cb.js",
            "/a%5cb.js",
            "/a%2Ejs",
            "/a%2ejs",
            "/assets/%2E%2E/queue",
            "/assets/../queue",
            "/assets/./x.js",
            "/assets/..",
            "/.",
            "//queue",
            "/assets//x.js",
            "/assets/x.js//",
            "/assets\\x.js",
            "/assets/x;a.js",
            "/assets/x%3Ba.js",
            "/assets/%252E/x.js",
            "/a%25b",
            "/%71ueue",
            "/a%7Eb",
            "/a%c3%A9.js",
            "/a%C3.js",
            "/a%ED%A0%80.js",
            "/a%C0%AF.js",
            "/\u{4f60}.png",
            "/a b",
            "/a\"b",
            "/a<b>",
            "/a|b",
            "/a{b}",
            "/a[b]",
            "/a^b`",
            "/a?b",
        ] {
            assert_eq!(classify(path), PathKind::Ambiguous, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_broken() {
        for path in [
            "",
            "*",
            "queue",
            "http://x/",
            "/%",
            "/%4",
            "/%zz",
            "/%4g",
            "/a%+1",
            "/%00",
            "/a%0Ab",
            "/%1f",
            "/%7F",
            "/a\0b",
            "/a\tb",
            "/a\nb",
            "/a\u{7f}b",
            "/a#b",
            "/..%2F%",
            "//%00",
        ] {
            assert_eq!(classify(path), PathKind::Broken, "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(path in "\\PC*") {
            classify(&path);
        }

        #[test]
        fn canonical_paths_decode_to_the_same_number_of_segments(path in "(/([a-z.;\\\\]|%[0-9A-Fa-f]{2}){0,4}){1,4}") {
            if classify(&path) == PathKind::Canonical {
                let decoded = percent_decode_str(&path).decode_utf8().unwrap();
                prop_assert_eq!(decoded.split('/').count(), path.split('/').count());
                prop_assert!(!decoded.contains(['\\', ';', '%', '\0']));
                prop_assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
