//! How a request is handed on to ComfyUI, and its answer back.

pub(crate) mod body;
pub(crate) mod failure;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod inject;
pub(crate) mod linger;
pub(crate) mod origin;
pub(crate) mod pool;
pub(crate) mod query;
pub(crate) mod tunnel;
