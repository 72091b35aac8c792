//! What the gateway answers itself.

pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod metrics;
pub(crate) mod session;
pub(crate) mod socket;
