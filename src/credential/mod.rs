//! The room credential.
