//! The credentials: the key and how it is kept, the TLS identity and where it comes from.

pub(crate) mod key_file;
pub(crate) mod phc;
pub(crate) mod strength;
