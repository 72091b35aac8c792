//! Who a request comes from, where proxies stand in front: their word counts only from configured networks.

use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};

/// How a guest's connection is protected on its first leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In the clear, to a trusted proxy.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As a field value.
    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// The address of the guest: the peer's, or the nearest one in `X-Forwarded-For` that is no trusted proxy.
///
/// Read from the right, because each proxy appends the address that it saw: everything left of the first untrusted
/// entry is that guest's own claim. Addresses are canonical (`::ffff:192.0.2.1` is `192.0.2.1`).
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = peer.to_canonical();
    if !is_trusted(nearest, trusted) {
        return nearest;
    }
    // Fields of one name are one list (RFC 9110 section 5.3), so the last field holds its end.
    for field in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for entry in field.as_bytes().rsplit(|byte| *byte == b',') {
            // An entry that is no address ends what can be known: the proxy that wrote it answers for it.
            let Some(address) = parse(entry) else {
                return nearest;
            };
            nearest = address;
            if !is_trusted(nearest, trusted) {
                return nearest;
            }
        }
    }
    nearest
}

/// The host by which the guest called, as a trusted peer tells it.
pub(crate) fn believed_host<'a>(peer: IpAddr, headers: &'a HeaderMap, trusted: &[IpNet]) -> Option<&'a HeaderValue> {
    is_trusted(peer.to_canonical(), trusted).then(|| headers.get(X_FORWARDED_HOST)).flatten()
}

/// The scheme of the guest's own connection: ours is TLS, unless a trusted peer tells otherwise.
pub(crate) fn believed_scheme(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Scheme {
    let said = is_trusted(peer.to_canonical(), trusted).then(|| headers.get(X_FORWARDED_PROTO)).flatten();
    match said {
        Some(scheme) if scheme.as_bytes().eq_ignore_ascii_case(b"http") => Scheme::Http,
        _ => Scheme::Https,
    }
}

/// An address as a field value. Make it once per connection where nobody is trusted.
pub(crate) fn text_of(address: IpAddr) -> HeaderValue {
    // An address has no character that a field value may not have; RFC 7239 section 6.2 has a word for the rest.
    HeaderValue::try_from(address.to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// An address, with or without port, with or without brackets: proxies write all four.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::map;
    use super::*;
    use proptest::prelude::*;

    type Fields = &'static [(&'static str, &'static str)];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_nearest_untrusted_address_is_the_guest() {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        let table: &[(&str, Fields, &str)] = &[
            ("192.0.2.1", &[("x-forwarded-for", "203.0.113.9")], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9")], "203.0.113.9"),
            ("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:203.0.113.9")], "203.0.113.9"),
            ("fd00::1", &[("x-forwarded-for", "2001:db8::9")], "2001:db8::9"),
            ("10.0.0.1", &[("x-forwarded-for", "127.0.0.1, 203.0.113.9, 10.1.1.1")], "203.0.113.9"),
            (
                "10.0.0.1",
                &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "203.0.113.9,10.1.1.1")],
                "203.0.113.9",
            ),
            ("10.0.0.1", &[("x-forwarded-for", "10.2.2.2, 10.1.1.1")], "10.2.2.2"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9:5000")], "203.0.113.9"),
            ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::9]:5000")], "2001:db8::9"),
            ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::9]")], "2001:db8::9"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, junk")], "10.0.0.1"),
            ("10.0.0.1", &[("x-forwarded-for", "203.0.113.9, unknown, 10.1.1.1")], "10.1.1.1"),
            ("10.0.0.1", &[("x-forwarded-for", "")], "10.0.0.1"),
            ("10.0.0.1", &[("x-real-ip", "203.0.113.9"), ("forwarded", "for=203.0.113.9")], "10.0.0.1"),
        ];
        for (peer, fields, guest) in table {
            assert_eq!(client_address(ip(peer), &map(fields), &trusted), ip(guest), "{peer} {fields:?}");
        }
    }

    #[test]
    fn host_and_scheme_are_believed_from_trusted_peers_only() {
        let headers = map(&[("x-forwarded-host", "box.example"), ("x-forwarded-proto", "http")]);
        let trusted = networks(&["10.0.0.0/8"]);
        assert_eq!(believed_host(ip("10.0.0.1"), &headers, &trusted).unwrap(), "box.example");
        assert_eq!(believed_scheme(ip("::ffff:10.0.0.1"), &headers, &trusted), Scheme::Http);
        assert_eq!(believed_host(ip("192.0.2.1"), &headers, &trusted), None);
        assert_eq!(believed_scheme(ip("192.0.2.1"), &headers, &trusted), Scheme::Https);
        assert_eq!(believed_host(ip("10.0.0.1"), &headers, &[]), None);
        assert_eq!(text_of(ip("2001:db8::9")), "2001:db8::9");
    }

    proptest! {
        /// P5: without a configured network nothing that a guest writes changes who it is.
        #[test]
        fn nobody_is_believed_by_default(claim in "[ -~]{0,40}", peer: u32) {
            let mut headers = HeaderMap::new();
            headers.insert(X_FORWARDED_FOR, HeaderValue::from_str(&claim).unwrap());
            let peer = IpAddr::from(peer.to_be_bytes());
            prop_assert_eq!(client_address(peer, &headers, &[]), peer);
            client_address(peer, &headers, &networks(&["0.0.0.0/0", "::/0"]));
        }
    }
}
