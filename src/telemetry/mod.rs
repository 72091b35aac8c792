//! What the guard tells: the log.

pub(crate) mod forward;
pub(crate) mod output;
pub(crate) mod status;
