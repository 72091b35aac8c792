//! `auth.allowed_origins` and `auth.frame_ancestors`: a web origin in the one spelling in which browsers send it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::values::from_text;

/// Why a text is not an origin that can be allowed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum OriginError {
    /// Not an origin after RFC 6454.
    #[error("\"{0}\" is not a web origin; write scheme, host and port only, for example \"https://app.example.org\"")]
    Spelling(String),
    /// Every origin, or the origin of nobody in particular.
    #[error("\"{0}\" would let the pages of any site use the API; name each origin by itself")]
    AnyOrigin(String),
    /// An international host name as people read it.
    #[error("\"{0}\" is not in the form in which browsers send it; write the host in its xn-- form")]
    Unicode(String),
}

from_text!(Origin);

/// A web origin (RFC 6454): scheme, host and optional port, in lower case, without a path.
///
/// The scheme's default port is left out, as browsers leave it out of the `Origin` header.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Origin(pub(crate) String);

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let refuse = || OriginError::Spelling(text.to_owned());
        if text == "*" || text.eq_ignore_ascii_case("null") {
            return Err(OriginError::AnyOrigin(text.to_owned()));
        }
        if !text.is_ascii() {
            return Err(OriginError::Unicode(text.to_owned()));
        }
        let lower = text.to_ascii_lowercase();
        let (scheme, authority) = lower.split_once("://").ok_or_else(refuse)?;
        let (host, port) = split_port(authority).ok_or_else(refuse)?;
        let host = canonical_host(host).ok_or_else(refuse)?;
        if !is_scheme(scheme) {
            return Err(refuse());
        }
        let port = match port {
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(refuse)?)
            }
            Some(_) => return Err(refuse()),
        };
        Ok(Self(match (scheme, port) {
            (_, None) | ("https", Some(443)) | ("http", Some(80)) => format!("{scheme}://{host}"),
            (_, Some(port)) => format!("{scheme}://{host}:{port}"),
        }))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

/// Splits `host`, `host:port` or `[v6]:port`.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let end = bracketed.find(']')?;
        let (address, after) = bracketed.split_at(end);
        let host = authority.get(..address.len() + 2)?;
        return match after.strip_prefix(']')? {
            "" => Some((host, None)),
            port => Some((host, Some(port.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        None => Some((authority, None)),
        Some((host, port)) => Some((host, Some(port))),
    }
}

/// A host name, or an IPv6 address in its shortest spelling as browsers write it.
fn canonical_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (!host.is_empty() && host.bytes().all(plain)).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for (written, sent) in [
            ("https://app.example.org", "https://app.example.org"),
            ("HTTPS://App.Example.org:443", "https://app.example.org"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:8188", "http://localhost:8188"),
            ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443"),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ] {
            assert_eq!(written.parse(), Ok(Origin(sent.to_owned())), "{written}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "example.org",
            "https://",
            "https://a/",
            "https://a/b",
            "https://u@a",
            "https://a:",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "https://a b",
            "https://[::1",
            "1s://a",
            "https://[x]",
            "https://a?b",
            "https://a#b",
            "file://",
        ] {
            assert!(matches!(text.parse::<Origin>(), Err(OriginError::Spelling(_))), "{text}");
        }
        assert!(matches!("*".parse::<Origin>(), Err(OriginError::AnyOrigin(_))));
        assert!(matches!("null".parse::<Origin>(), Err(OriginError::AnyOrigin(_))));
        assert!(matches!("https://bücher.de".parse::<Origin>(), Err(OriginError::Unicode(_))));
    }
}
