//! The guard's conditions, its own facts and ComfyUI's, as the supervisor tells them.

use super::page::{Page, truth};
use crate::wire::condition::{Name, TABLE};
use crate::wire::overview::{ComfyuiFacts, GuardFacts, Overview, Usage};

/// The words of [`ComfyuiFacts::process`].
const STATES: [&str; 6] = ["starting", "running", "restarting", "failed", "stopping", "external"];
/// ComfyUI's own text: no longer than a version is.
const LONGEST_VERSION: usize = 64;

impl Page {
    /// All that the supervisor says. `closed`: what closes the service at this moment, as the gateway sees it, which is sooner.
    pub(crate) fn overview(&mut self, overview: &Overview, closed: Option<Name>) {
        self.gauge("healthy", "Whether guests are served: /health says 200", truth(closed.is_none()));
        let holds = |name: Name| closed == Some(name) || overview.conditions.iter().any(|held| held.name == name);
        let conditions = TABLE.iter().map(|(name, word, serves, _)| {
            let closes = if *serves { "false" } else { "true" };
            (vec![("name", (*word).to_owned()), ("closes", closes.to_owned())], truth(holds(*name)))
        });
        self.gauges("condition", "Whether something is not as it should be; closes: /health is 503", conditions);
        self.guard(&overview.guard);
        self.comfyui(&overview.comfyui);
    }

    fn guard(&mut self, guard: &GuardFacts) {
        self.info("build_info", "The guard's version", [("version", env!("CARGO_PKG_VERSION").to_owned())]);
        self.time("start_time_seconds", "When the guard was started", guard.started);
        self.time(
            "certificate_expiry_timestamp_seconds",
            "When the certificate that is served ends",
            guard.certificate_ends,
        );
        self.time("key_set_timestamp_seconds", "When the key was set, where a file tells", guard.key_set);
        self.gauge("authentication_enabled", "Whether a key is needed", truth(guard.authentication));
        self.gauge("sessions", "Browsers that are signed in", f64::from(guard.sessions));
        let restarts = [("gateway", guard.gateway_restarts), ("sensor", guard.sensor_restarts)];
        let restarts = restarts.map(|(role, count)| (vec![("role", role.to_owned())], count as f64));
        self.counts("role_restarts", "Starts of a process of the guard's after the first", restarts);
    }

    fn comfyui(&mut self, comfyui: &ComfyuiFacts) {
        self.states("comfyui_state", "What ComfyUI's process does: the state that is 1", &STATES, &comfyui.process);
        if comfyui.process == "external" {
            return;
        }
        self.time("comfyui_start_time_seconds", "When ComfyUI's process was started", comfyui.started);
        self.time("comfyui_serving_since_timestamp_seconds", "Since when it serves", comfyui.serving_since);
        self.count("comfyui_restarts", "Starts of ComfyUI after the first", comfyui.restarts as f64);
        self.count("comfyui_crashes", "Ends of ComfyUI by itself and with an error", comfyui.crashes as f64);
        self.time(
            "comfyui_last_exit_timestamp_seconds",
            "When it ended last",
            comfyui.last_exit.as_ref().map(|(at, _)| *at),
        );
        let progress = comfyui.progress.map(|percent| f64::from(percent) / 100.0);
        self.gauge("comfyui_step_progress_ratio", "How far the step that runs has come", progress);
        if let Some(usage) = &comfyui.usage {
            self.usage(usage);
        }
    }

    fn usage(&mut self, usage: &Usage) {
        let number = |count: Option<u64>| count.map(|count| count as f64);
        self.gauge("comfyui_memory_bytes", "Main memory of ComfyUI and all that it started", number(usage.memory));
        self.gauge("comfyui_memory_limit_bytes", "What it may have of it", number(usage.memory_limit));
        self.gauge("comfyui_tasks", "Its processes and threads", number(usage.tasks));
        let seconds = usage.cpu.map(|microseconds| microseconds as f64 / 1e6);
        self.count("comfyui_cpu_seconds", "Time of processors that it took", seconds);
        self.count("comfyui_read_bytes", "What it read from disks", number(usage.read));
        self.count("comfyui_written_bytes", "What it wrote to disks", number(usage.written));
    }

    /// ComfyUI's queue and what it calls itself.
    pub(crate) fn queue(&mut self, remaining: u64, version: Option<&str>) {
        // One worker: of what is left, one prompt runs at most.
        let running = remaining.min(1);
        let jobs = [("pending", remaining - running), ("running", running)];
        let jobs = jobs.map(|(state, count)| (vec![("state", state.to_owned())], count as f64));
        self.gauges("queue_jobs", "ComfyUI's jobs that wait or run", jobs);
        if let Some(version) = version {
            let version = version.chars().take(LONGEST_VERSION).collect();
            self.info("comfyui_info", "ComfyUI's version", [("version", version)]);
        }
    }
}
