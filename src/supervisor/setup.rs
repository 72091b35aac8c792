//! What the gateway is started with, and which GPU ComfyUI gets: from the configuration and what the supervisor knows.

use std::net::SocketAddr;

use super::{Supervisor, environment};
use crate::config::{Comfyui, Config};
use crate::wire::message::{GatewaySettings, GatewaySetup, GpuWish};

/// Threads that serve guests at the most: two are plenty on a GPU box, four never hurt.
const MOST_WORKERS: usize = 4;

impl Supervisor {
    /// Everything that a gateway starts with.
    pub(super) fn gateway_setup(&self) -> GatewaySetup {
        let config = &self.orders.config;
        GatewaySetup {
            settings: gateway_settings(config),
            identity: self.identity.clone(),
            key: self.key_state(),
            upstream: match &config.comfyui {
                Comfyui::Owned(settings) => SocketAddr::from(([127, 0, 0, 1], settings.port)),
                Comfyui::External(address) => *address,
            },
            comfyui: self.comfyui_state(),
            wish: self.wish.clone(),
            https_sockets: self.sockets.https.len(),
            metrics_sockets: self.sockets.metrics.len(),
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS),
        }
    }
}

/// Which GPU ComfyUI is given.
pub(super) fn gpu_wish(config: &Config) -> GpuWish {
    match &config.comfyui {
        Comfyui::Owned(settings) => environment::gpu_wish(std::env::vars_os(), settings),
        Comfyui::External(_) => GpuWish::default(),
    }
}

/// What of the configuration a gateway needs.
pub(super) fn gateway_settings(config: &Config) -> GatewaySettings {
    GatewaySettings { auth: config.auth.clone(), proxy: config.proxy.clone(), log: config.log.clone() }
}
