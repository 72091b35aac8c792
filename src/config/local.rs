//! Places that only this machine reaches: where nobody is asked for a key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::LocalAddress;
use super::values::from_text;

/// Why a text is no such place. Each names the cure.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum LocalError {
    /// Neither an address nor a socket's path.
    #[error(
        "\"{0}\" is neither a loopback address with a port nor a UNIX socket; write for example \"127.0.0.1:9188\" or \"unix:/run/comfy-guard/metrics.sock\""
    )]
    Neither(String),
    /// An address that others than this machine reach.
    #[error(
        "{0} can be reached from the network, and nobody is asked for a key there; use 127.0.0.1, [::1] or \"unix:PATH\", or let Prometheus read /metrics over HTTPS with the key"
    )]
    NotLoopback(SocketAddr),
    /// A path that no socket can have.
    #[error("\"{0}\" is no place for a UNIX socket; write an absolute path of at most 107 bytes")]
    SocketPath(String),
}

from_text!(Local);

/// A place that only this machine reaches: a loopback address, or `unix:` and an absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Local(pub(super) LocalAddress);

/// The longest path that fits into a `sockaddr_un` (unix(7)), with its NUL.
const LONGEST_SOCKET_PATH: usize = 107;

impl FromStr for Local {
    type Err = LocalError;

    fn from_str(text: &str) -> Result<Self, LocalError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let fits = path.len() <= LONGEST_SOCKET_PATH && !path.contains('\0') && !path.ends_with('/');
            if !path.starts_with('/') || !fits {
                return Err(LocalError::SocketPath(path.to_owned()));
            }
            return Ok(Self(LocalAddress::Unix(PathBuf::from(path))));
        }
        let address: SocketAddr = text.parse().map_err(|_| LocalError::Neither(text.to_owned()))?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(LocalError::NotLoopback(address));
        }
        Ok(Self(LocalAddress::Loopback(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_without_a_key_stay_on_this_machine() {
        for good in [
            "127.0.0.1:9188",
            "[::1]:0",
            "127.8.8.8:1",
            "[::ffff:127.0.0.1]:9188",
            "unix:/run/comfy-guard/metrics.sock",
        ] {
            assert!(good.parse::<Local>().is_ok(), "{good}");
        }
        for open in
            ["0.0.0.0:9188", "[::]:9188", "192.0.2.1:9188", "10.0.0.1:9188", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"]
        {
            assert!(matches!(open.parse::<Local>(), Err(LocalError::NotLoopback(_))), "{open}");
        }
        for bad in ["unix:", "unix:metrics.sock", "unix:../x", "unix:/", "unix:/run/", "unix:/a\0b"] {
            assert!(matches!(bad.parse::<Local>(), Err(LocalError::SocketPath(_))), "{bad}");
        }
        assert!(matches!(format!("unix:/{}", "x".repeat(107)).parse::<Local>(), Err(LocalError::SocketPath(_))));
        for bad in ["", "9188", "localhost:9188", "/run/x"] {
            assert!(matches!(bad.parse::<Local>(), Err(LocalError::Neither(_))), "{bad}");
        }
    }
}
