//! What the guard tells: the log.

pub(crate) mod forward;
pub(crate) mod gpu;
pub(crate) mod output;
