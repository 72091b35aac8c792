//! What became of ComfyUI's processes, for those who ask.

use std::time::SystemTime;

/// Counted since the guard was started.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct History {
    /// When the process that runs was started.
    pub(crate) started: Option<SystemTime>,
    /// Since when it serves.
    pub(crate) serving_since: Option<SystemTime>,
    /// Processes that were started.
    pub(crate) starts: u64,
    /// Those that ended by themselves and with an error.
    pub(crate) crashes: u64,
    /// The last end, in words.
    pub(crate) last_exit: Option<(SystemTime, String)>,
    /// What holds the process that runs, in words.
    pub(crate) held: Option<String>,
}

impl History {
    /// A process was started; what holds it, in words.
    pub(crate) fn begin(&mut self, now: SystemTime, held: String) {
        self.starts += 1;
        (self.started, self.serving_since, self.held) = (Some(now), None, Some(held));
    }

    /// It was seen to serve.
    pub(crate) fn serves(&mut self, now: SystemTime) {
        self.serving_since = Some(now);
    }

    /// It ended.
    pub(crate) fn end(&mut self, now: SystemTime, how: &str, crash: bool) {
        self.crashes += u64::from(crash);
        (self.started, self.serving_since, self.held) = (None, None, None);
        self.last_exit = Some((now, how.to_owned()));
    }
}
