//! The end: guests finish, ComfyUI is stopped by the ladder, then the roles go; nothing is left.

use std::time::Duration;

use tokio::time::Instant;

use super::comfyui::Comfyui;
use super::{Supervisor, ladder};
use crate::config::Comfyui as ComfyuiSettings;
use crate::os::process;
use crate::wire::message::ToGateway;

impl Supervisor {
    /// Begins the end; told a second time, nothing is waited for any longer.
    pub(super) fn stop(&mut self) {
        let now = Instant::now();
        if self.stopping.is_some() {
            tracing::warn!("told to end once more: nothing is waited for any longer");
            self.drained = true;
            return;
        }
        tracing::info!("ending");
        self.stopping = Some(now);
        self.systemd.stopping();
        self.systemd.status("Stopping");
        self.gateway.ending();
        self.sensor.ending();
        self.drained = self.gateway.pid().is_none();
        self.gateway.tell(ToGateway::Drain(ladder::drain_time(self.stop_timeout())));
    }

    /// Whether the guard has been told to end and nothing of it is left but the roles, which then go too.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(since) = self.stopping else { return false };
        let now = Instant::now();
        let drained = self.drained || now >= since + ladder::drain_time(self.stop_timeout());
        let comfyui_gone = self.comfyui.as_ref().is_none_or(Comfyui::is_gone);
        if !(drained && comfyui_gone && self.sweep()) {
            return false;
        }
        for pid in [self.gateway.pid(), self.sensor.pid()].into_iter().flatten() {
            if let Err(error) = process::end(pid, process::Ending::Kill) {
                tracing::warn!(%pid, %error, "a role cannot be ended");
            }
        }
        process::children().is_empty()
    }

    /// What the whole end may take.
    pub(super) fn stop_timeout(&self) -> Duration {
        match &self.orders.config.comfyui {
            ComfyuiSettings::Owned(settings) => settings.stop_timeout.0,
            ComfyuiSettings::External(_) => Duration::from_secs(15),
        }
    }
}
