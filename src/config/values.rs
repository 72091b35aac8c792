//! Values with a rule of their own: what cannot be spelt wrong once it has been read.

use std::fmt;
use std::str::FromStr;

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

/// A web origin (RFC 6454): scheme, host and optional port, in lower case, without a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Origin(pub(crate) String);
