//! The room gateway.
