//! Values with a rule of their own: what cannot be spelt wrong once it has been read.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// `auth.anonymous_websocket`: what a WebSocket without a credential gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AnonymousWebsocket {
    /// The gateway's own socket: only the queue's length, as in `/health`.
    #[default]
    Status,
    /// 401.
    Deny,
    /// ComfyUI's socket, as the guide's implementation had it. Everybody sees every job.
    Passthrough,
}

/// `comfyui.sandbox`: how close ComfyUI's cage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cage {
    /// Its own user, no capability, no_new_privs, limits; nothing more.
    Off,
    /// Also: writes where it is configured, and no system calls that a node has no business with.
    #[default]
    Standard,
    /// Also: reads where it is needed, only known system calls, no way out to the network.
    Strict,
}

impl Cage {
    /// The word in the configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Standard => "standard",
            Self::Strict => "strict",
        }
    }
}

/// `gpu.foreign_processes`: what is made of a process on a GPU that is not ComfyUI's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ForeignProcesses {
    /// It is named: in the log, in `/health`, in the metrics.
    #[default]
    Report,
    /// Nothing.
    Ignore,
}

/// `log.level`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// What failed.
    Error,
    /// What will fail or was refused.
    Warn,
    /// What changed.
    #[default]
    Info,
    /// What was done.
    Debug,
    /// Everything.
    Trace,
}

/// Why a text is not the value that its key asks for. Each names the cure.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ValueError {
    /// Not `ADDRESS:PORT`.
    #[error("\"{0}\" is not an address with a port; write for example \"127.0.0.1:8443\" or \"[::]:443\"")]
    Address(String),
    /// Neither a network nor an address.
    #[error("\"{0}\" is not a network; write for example \"10.0.0.0/8\", \"fd00::/8\" or one address")]
    Network(String),
    /// A network of everybody.
    #[error("\"{0}\" would believe X-Forwarded-* from everybody; name the networks of your proxies only")]
    Everybody(String),
    /// Not a DNS name or an address.
    #[error("\"{0}\" is neither a DNS name nor an address, so no certificate can carry it")]
    CertificateName(String),
    /// A port that nobody can listen on.
    #[error("{0} is not a port; use a number from 1 to 65535")]
    Port(i64),
    /// Not a temperature at which a GPU could be.
    #[error("{0} is no limit for a GPU's temperature; use degrees Celsius, from 30 to 130")]
    Degrees(i64),
    /// Not a share.
    #[error("{0} is no share of the memory; use a percentage from 50 to 100")]
    Percent(i64),
    /// Not a name that the system gives to a user or group.
    #[error(
        "\"{0}\" is not a user or group name; use letters, digits, \"_\", \"-\" and \".\", a letter or \"_\" first"
    )]
    Account(String),
    /// Neither a user nor a unit.
    #[error(
        "\"{0}\" is neither a user nor a systemd unit; write for example \"ollama\", \"ollama.service\" or \"user-1000.slice\""
    )]
    Owner(String),
    /// An empty path, or one with a NUL.
    #[error("an empty path, or one with a NUL, names no file")]
    Path,
    /// A NUL cannot be handed to another program.
    #[error("a NUL cannot be handed to a program")]
    Nul,
    /// Not the name of an environment variable.
    #[error("\"{0}\" is not the name of an environment variable; use letters, digits and \"_\", no digit first")]
    VariableName(String),
}

/// Reads from its text and writes as its text, by the type's own `FromStr`.
macro_rules! from_text {
    ($($name:ident),+) => {$(
        impl TryFrom<String> for $name {
            type Error = <Self as FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    )+};
}
pub(super) use from_text;

from_text!(Address, Network, CertificateName, Account, Owner, FilePath, Argument, VariableName);

/// An address and port to listen on or to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Address(pub(super) SocketAddr);

impl FromStr for Address {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        text.parse().map(Self).map_err(|_| ValueError::Address(text.to_owned()))
    }
}

/// A network, or one address as a network of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Network(pub(super) IpNet);

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let network = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| ValueError::Network(text.to_owned()))?;
        if network.prefix_len() == 0 {
            return Err(ValueError::Everybody(text.to_owned()));
        }
        Ok(Self(network.trunc()))
    }
}

/// A DNS name (a wildcard label first is allowed) or an address, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct CertificateName(pub(super) String);

impl FromStr for CertificateName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let lower = text.to_ascii_lowercase();
        let labels = lower.strip_prefix("*.").unwrap_or(&lower);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let named = lower.len() <= 253 && labels.split('.').all(label);
        if lower.parse::<IpAddr>().is_ok() || named {
            return Ok(Self(lower));
        }
        Err(ValueError::CertificateName(text.to_owned()))
    }
}

/// A port that somebody can listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Port(pub(super) u16);

impl TryFrom<i64> for Port {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        u16::try_from(number).ok().filter(|port| *port != 0).map(Self).ok_or(ValueError::Port(number))
    }
}

/// A GPU's temperature in degrees Celsius.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Degrees(pub(super) u32);

impl TryFrom<i64> for Degrees {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        u32::try_from(number)
            .ok()
            .filter(|degrees| (30..=130).contains(degrees))
            .map(Self)
            .ok_or(ValueError::Degrees(number))
    }
}

/// A share that is nearly all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub(super) struct Percent(pub(super) u8);

impl TryFrom<i64> for Percent {
    type Error = ValueError;

    fn try_from(number: i64) -> Result<Self, ValueError> {
        u8::try_from(number)
            .ok()
            .filter(|percent| (50..=100).contains(percent))
            .map(Self)
            .ok_or(ValueError::Percent(number))
    }
}

/// The name of a user or a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Account(pub(super) String);

impl FromStr for Account {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let first = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if first && rest && text.len() <= 64 {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::Account(text.to_owned()))
    }
}

/// Who may own a process: a user, or a systemd unit or slice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Owner(pub(super) String);

impl FromStr for Owner {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // systemd.unit(5): ASCII letters, digits and these.
        let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte));
        if fits && (1..=255).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::Owner(text.to_owned()))
    }
}

/// A path as it was written; what it is relative to depends on where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct FilePath(pub(super) PathBuf);

impl FromStr for FilePath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() || text.contains('\0') {
            return Err(ValueError::Path);
        }
        Ok(Self(PathBuf::from(text)))
    }
}

/// A text that can be handed to a program, as an argument or as a variable's value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Argument(pub(super) String);

impl FromStr for Argument {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.contains('\0') {
            return Err(ValueError::Nul);
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct VariableName(pub(super) String);

impl FromStr for VariableName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let first = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if first && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Ok(Self(text.to_owned()));
        }
        Err(ValueError::VariableName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn networks_are_never_everybody() {
        assert_eq!("10.1.2.3/8".parse(), Ok(Network("10.0.0.0/8".parse().unwrap())));
        assert_eq!("10.1.2.3".parse(), Ok(Network("10.1.2.3/32".parse().unwrap())));
        assert!(matches!("0.0.0.0/0".parse::<Network>(), Err(ValueError::Everybody(_))));
        assert!(matches!("::/0".parse::<Network>(), Err(ValueError::Everybody(_))));
        assert!(matches!("proxy".parse::<Network>(), Err(ValueError::Network(_))));
    }

    #[test]
    fn names_for_certificates_and_accounts() {
        for good in ["gpu.example.org", "*.example.org", "localhost", "192.0.2.1", "2001:db8::1"] {
            assert!(good.parse::<CertificateName>().is_ok(), "{good}");
        }
        for bad in ["", "a..b", "-a", "a_b c", "https://a", "a:443", "*.*.a"] {
            assert!(bad.parse::<CertificateName>().is_err(), "{bad}");
        }
        assert!("comfy-guard".parse::<Account>().is_ok() && "_apt".parse::<Account>().is_ok());
        for bad in ["", "1000", "a:b", "a b", "-x", "../x"] {
            assert!(bad.parse::<Account>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_with_a_nul_reaches_a_program() {
        assert_eq!("a\0b".parse::<Argument>(), Err(ValueError::Nul));
        assert_eq!("a\0b".parse::<FilePath>(), Err(ValueError::Path));
        assert!("A\0".parse::<VariableName>().is_err() && "1A".parse::<VariableName>().is_err());
        assert_eq!(Port::try_from(70_000), Err(ValueError::Port(70_000)));
        assert_eq!(Degrees::try_from(20), Err(ValueError::Degrees(20)));
        assert_eq!(Percent::try_from(0), Err(ValueError::Percent(0)));
        assert!(
            "user-1000.slice".parse::<Owner>().is_ok()
                && "a b".parse::<Owner>().is_err()
                && "".parse::<Owner>().is_err()
        );
    }
}
