//! What the guard tells: the log, the metrics, and its whole condition as one document.

pub(crate) mod forward;
pub(crate) mod gpu;
pub(crate) mod metrics;
pub(crate) mod output;
pub(crate) mod status;
