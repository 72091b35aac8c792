//! The room supervisor.
