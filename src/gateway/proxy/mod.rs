//! How a request is handed on to ComfyUI, and its answer back.

pub(crate) mod headers;
pub(crate) mod origin;
pub(crate) mod query;
