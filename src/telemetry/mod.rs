//! The room telemetry.
