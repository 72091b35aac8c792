//! The room wire.
