//! Ways around the guard: who listens where other machines can reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::finding::Finding;
use crate::os::users::Uid;

const ABOUT: &str = "ports";
/// ComfyUI's own port, and those that a second and third one are given.
const USUAL: std::ops::RangeInclusive<u16> = 8188..=8199;

/// A listening TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) owner: Uid,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) listeners: Vec<Listener>,
    /// Where guests come in.
    pub(super) guard: Vec<u16>,
    /// Where ComfyUI listens.
    pub(super) comfyui: Option<u16>,
    /// ComfyUI's user, where it has one of its own.
    pub(super) user: Option<Uid>,
    /// Where a ComfyUI answered that asks for no key.
    pub(super) open: Vec<SocketAddr>,
    /// `comfyui.external`, where it is on another machine.
    pub(super) elsewhere: Option<SocketAddr>,
}

impl Facts {
    /// Those that other machines can reach and that are not the guard's.
    pub(super) fn reachable(&self) -> impl Iterator<Item = &Listener> {
        let public = |listener: &&Listener| !listener.address.ip().to_canonical().is_loopback();
        self.listeners.iter().filter(public).filter(|listener| !self.guard.contains(&listener.address.port()))
    }

    /// Those of them that may be a ComfyUI: worth asking.
    pub(super) fn suspects(&self) -> Vec<SocketAddr> {
        let suspect = |listener: &&Listener| {
            let port = listener.address.port();
            USUAL.contains(&port) || Some(port) == self.comfyui || Some(listener.owner) == self.user
        };
        self.reachable().filter(suspect).map(|listener| listener.address).collect()
    }
}

/// What is open around the guard.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for listener in facts.reachable() {
        let (address, port) = (listener.address, listener.address.port());
        let who = format!("(a process of {})", listener.owner);
        if facts.open.contains(&address) {
            findings.push(Finding::problem(
                ABOUT,
                format!("a ComfyUI answers at {address} {who} without asking for a key: whoever reaches this port runs code on this machine"),
                format!("end it (`ss -ltnp sport = :{port}`), or start it with --listen 127.0.0.1; until then close the port in the firewall"),
            ));
        } else if Some(port) == facts.comfyui {
            findings.push(Finding::problem(
                ABOUT,
                format!("ComfyUI's port {port} is open to other machines: {address} {who}"),
                format!("end what listens there (`ss -ltnp sport = :{port}`), or give the guard another comfyui.port"),
            ));
        } else if Some(listener.owner) == facts.user {
            findings.push(Finding::warning(
                ABOUT,
                format!("something in ComfyUI listens for other machines at {address}; no key is asked there"),
                format!("see which custom node it is (`ss -ltnp sport = :{port}`); the isolated network (docs/operations.md) closes all such doors"),
            ));
        }
    }
    if let Some(address) = facts.elsewhere {
        findings.push(Finding::warning(
            ABOUT,
            format!("the external ComfyUI {address} is on another machine: the way there is not encrypted, and its port may be open to others"),
            "run a guard on that machine, or see to it that only this one reaches the port",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(ABOUT, "no ComfyUI can be reached around the guard"));
    }
    findings
}

/// The listening sockets of `/proc/net/tcp` or `/proc/net/tcp6` (proc(5)).
pub(super) fn listeners(text: &str) -> Vec<Listener> {
    const LISTEN: &str = "0A";
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (local, state, owner) = (fields.get(1)?, fields.get(3)?, fields.get(7)?);
        (*state == LISTEN).then_some(())?;
        Some(Listener { address: address(local)?, owner: Uid(owner.parse().ok()?) })
    };
    text.lines().filter_map(line).collect()
}

/// `0100007F:1FFC`: the address in words of 32 bits in the machine's order, the port as it is.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|word| {
            ip.get(word * 8..word * 8 + 8).and_then(|word| u32::from_str_radix(word, 16).ok()).map(u32::to_ne_bytes)
        })
        .collect::<Option<_>>()?;
    let ip = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [_, _, _, _] => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;
    use crate::cli::doctor::finding::tests::grades;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1FFC 00000000:0000 0A 00000000:00000000 00:00000000 00000000   990        0 1001 1 0 100 0 0 10 0
   1: 00000000:1FFD 00000000:0000 0A 00000000:00000000 00:00000000 00000000   991        0 1002 1 0 100 0 0 10 0
   2: 0100007F:1FFC 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1003 1 0 100 0 0 10 0
 broken";
    const TCP6: &str = "   0: 00000000000000000000000001000000:1FFC 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1";

    fn listener(address: &str, owner: u32) -> Listener {
        let address = address.parse().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        Listener { address, owner: Uid(owner) }
    }

    #[test]
    fn the_kernels_table_is_read() {
        assert_eq!(listeners(TCP), [listener("127.0.0.1:8188", 990), listener("0.0.0.0:8189", 991)]);
        assert_eq!(listeners(TCP6), [listener("[::1]:8188", 0), listener("[::ffff:127.0.0.1]:80", 0)]);
    }

    #[test]
    fn what_only_this_machine_reaches_or_is_the_guards_is_in_order() {
        let facts = Facts {
            listeners: vec![
                listener("127.0.0.1:8188", 990),
                listener("[::ffff:127.0.0.1]:8190", 990),
                listener("[::]:443", 0),
                listener("0.0.0.0:22", 0),
            ],
            guard: vec![443],
            comfyui: Some(8188),
            user: Some(Uid(990)),
            ..Facts::default()
        };
        assert_eq!(grades(&judge(&facts)), [(ABOUT, Grade::Ok)]);
        assert!(facts.suspects().is_empty());
    }

    #[test]
    fn each_way_around_the_guard_is_found() {
        let table = [
            (
                Facts { listeners: vec![listener("0.0.0.0:8188", 0)], comfyui: Some(8188), ..Facts::default() },
                Grade::Problem,
            ),
            (
                Facts {
                    listeners: vec![listener("[::]:8189", 1000)],
                    open: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8189))],
                    ..Facts::default()
                },
                Grade::Problem,
            ),
            (
                Facts { listeners: vec![listener("10.0.0.1:7000", 990)], user: Some(Uid(990)), ..Facts::default() },
                Grade::Warning,
            ),
            (Facts { elsewhere: Some(SocketAddr::from(([10, 0, 0, 9], 8188))), ..Facts::default() }, Grade::Warning),
        ];
        for (facts, grade) in table {
            let findings = judge(&facts);
            assert_eq!(grades(&findings), [(ABOUT, grade)], "{findings:?}");
            assert_eq!(facts.suspects().len(), facts.listeners.len());
        }
    }
}
