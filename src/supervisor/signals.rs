//! Signals as events.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::event::Event;
use crate::os::process;

/// SIGHUP, SIGTERM, SIGINT and the ends of children, as events.
pub(super) fn listen(events: &mpsc::Sender<Event>) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut child = signal(SignalKind::child())?;
    let events = events.clone();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                _ = hangup.recv() => Event::Reload,
                _ = terminate.recv() => Event::Stop,
                _ = interrupt.recv() => Event::Stop,
                _ = child.recv() => {
                    while let Some((pid, status)) = process::reap() {
                        if events.send(Event::Died { pid, status }).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}
