//! The names and addresses that a certificate of the guard's own is for.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No more addresses than this: a machine with hundreds of container bridges would get a certificate that no client reads.
const MOST_ADDRESSES: usize = 32;

/// DNS names (lower case) and addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Names {
    /// Valid host names, or wildcards of one.
    pub(crate) dns: BTreeSet<String>,
    /// Addresses that a guest can type.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

impl Names {
    /// What a certificate for this host has to name. What is neither a host name nor an address is left out.
    pub(crate) fn of(texts: impl IntoIterator<Item = String>) -> Self {
        let mut names = Self::default();
        for text in texts {
            let text = text.trim_end_matches('.').to_ascii_lowercase();
            match text.parse() {
                Ok(address) => {
                    names.addresses.insert(address);
                }
                Err(_) if is_host_name(&text) => {
                    names.dns.insert(text);
                }
                Err(_) => {}
            }
        }
        names
    }

    /// As texts, names before addresses.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.dns.iter().cloned().chain(self.addresses.iter().map(ToString::to_string)).collect()
    }
}

/// This machine's names and addresses, localhost, and the configured `tls.names`.
pub(crate) fn host_names(configured: &[String]) -> Names {
    let host = host_name();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let full = full_names(&hosts, &host);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses: BTreeSet<IpAddr> = interfaces.iter().map(if_addrs::Interface::ip).filter(can_be_typed).collect();

    let fixed = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    let own = addresses.iter().take(MOST_ADDRESSES).map(ToString::to_string);
    Names::of(fixed.into_iter().chain([host]).chain(full).chain(own).chain(configured.iter().cloned()))
}

/// The machine's own name, as `hostname` prints it.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The names with a domain that `/etc/hosts` gives this host. DNS is not asked: it may be down or slow while the machine starts.
fn full_names(hosts: &str, host: &str) -> Vec<String> {
    let beginning = format!("{host}.");
    hosts
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split_whitespace().skip(1))
        .filter(|name| !host.is_empty() && name.starts_with(&beginning))
        .map(str::to_owned)
        .collect()
}

/// Link-local IPv6 addresses need a zone, which no URL of a browser takes.
fn can_be_typed(address: &IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    !(link_local || address.is_unspecified() || address.is_multicast())
}

/// Letters, digits and hyphens in labels of 1 to 63 (RFC 1123), underscores too; the first label may be `*`.
fn is_host_name(text: &str) -> bool {
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let rest = text.strip_prefix("*.").unwrap_or(text);
    text.len() <= 253 && rest.split('.').all(label_is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart_and_nonsense_left_out() {
        let given = [
            "Box.Example.ORG.",
            "10.0.0.7",
            "::1",
            "*.box.lan",
            "",
            "a..b",
            "-x",
            "under_score",
            "ü.de",
            "a b",
            "http://x",
            "1.2.3.4:5",
        ];
        let names = Names::of(given.map(str::to_owned));
        assert_eq!(names.texts(), ["*.box.lan", "box.example.org", "under_score", "10.0.0.7", "::1"]);
    }

    #[test]
    fn the_full_name_comes_from_the_hosts_file() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1\tbox.example.org box # box.comment\n10.0.0.1 boxer.example.org\n";
        assert_eq!(full_names(hosts, "box"), ["box.example.org"]);
        assert!(full_names(hosts, "").is_empty());
    }

    #[test]
    fn this_machine_is_reached_by_localhost_and_its_name() {
        let names = host_names(&["studio.example".to_owned()]);
        for wanted in ["localhost", "studio.example"] {
            assert!(names.dns.contains(wanted), "{names:?}");
        }
        assert!(
            names.addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST))
                && names.addresses.contains(&IpAddr::V6(Ipv6Addr::LOCALHOST))
        );
    }
}
