//! What the gateway answers itself.

mod gpu;
pub(crate) mod guard;
mod guard_document;
pub(crate) mod guard_history;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod session;
pub(crate) mod socket;
