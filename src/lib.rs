//! comfy-guard
#![allow(dead_code)]

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
