//! What the gateway answers itself.

pub(crate) mod health;
pub(crate) mod socket;
