//! The room sensor.
