//! What each process may do: policy as data, a reason on every line. The mechanisms are in `os`.

pub(crate) mod comfyui;
