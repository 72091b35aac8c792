//! The credentials: the key and how it is kept, the TLS identity and where it comes from, the sessions that a key opened.

pub(crate) mod authority;
pub(crate) mod identity;
mod issue;
pub(crate) mod key_file;
pub(crate) mod names;
pub(crate) mod phc;
pub(crate) mod session_file;
pub(crate) mod session_store;
pub(crate) mod session_text;
pub(crate) mod sessions;
pub(crate) mod strength;
