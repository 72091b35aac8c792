//! comfy-guard
#![allow(dead_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write files, start programs and wait"))]

mod cli;
mod config;
mod credential;
mod gateway;
mod os;
mod secret;
mod sensor;
mod supervisor;
mod telemetry;
mod units;
mod wire;

pub use cli::main;
