//! What the gateway answers itself.

pub(crate) mod guard;
pub(crate) mod guard_history;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod metrics;
pub(crate) mod session;
pub(crate) mod socket;
