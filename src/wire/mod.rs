//! What the processes share: messages, the channel that carries them, and who may say what when.
//!
//! A star: every role talks to the supervisor and to nobody else. Messages from a role are hostile until [`permit`] has
//! let them through; messages to a role come from the supervisor and are believed.

pub(crate) mod channel;
pub(crate) mod condition;
pub(crate) mod control;
pub(crate) mod gpu;
pub(crate) mod line;
pub(crate) mod message;
pub(crate) mod overview;
pub(crate) mod permit;
