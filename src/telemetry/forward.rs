//! Logging in a role: lines go to the supervisor, because a sandboxed process has no journal socket to write to.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use super::output::{filter, level_of};
use crate::config::LogLevel;
use crate::wire::line::{Line, printable};

/// Lines that wait for the channel; more are dropped and counted, so that a flood of refusals costs no memory.
const QUEUE: usize = 512;

/// Installs the role's log; its lines come out of the receiver.
pub(crate) fn install(level: LogLevel) -> mpsc::Receiver<Line> {
    let (lines, receiver) = mpsc::channel(QUEUE);
    let forward = Forward { lines, dropped: AtomicU64::new(0) };
    let subscriber = tracing_subscriber::registry().with(forward.with_filter(filter(level)));
    if let Err(error) = tracing::subscriber::set_global_default(subscriber) {
        tracing::error!(%error, "the log was installed twice");
    }
    receiver
}

struct Forward {
    lines: mpsc::Sender<Line>,
    dropped: AtomicU64,
}

impl<S: Subscriber> Layer<S> for Forward {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            text.add("lines_dropped", &dropped);
        }
        let line = Line { level: level_of(*event.metadata().level()), text: printable(&text.0) };
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

/// The message, then `name=value` for each field.
struct Text(String);

impl Text {
    fn add(&mut self, name: &str, value: &dyn std::fmt::Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let written = if name == "message" {
            write!(self.0, "{space}{value:?}")
        } else {
            write!(self.0, "{space}{name}={value:?}")
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field.name(), value);
    }
}
