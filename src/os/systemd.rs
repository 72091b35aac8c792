//! The service manager's protocol (sd_notify(3), sd_listen_fds(3)): one object owns the states, so that READY can
//! never follow STOPPING.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sd_notify::NotifyState;

use super::descriptors;

/// What the service manager has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

/// The one voice that speaks to the service manager; silent where there is none.
#[derive(Debug)]
pub(crate) struct Systemd {
    told: Told,
    status: String,
}

impl Systemd {
    /// Nothing has been said yet.
    pub(crate) fn new() -> Self {
        Self { told: Told::Nothing, status: String::new() }
    }

    /// Guests can be served; also the end of a reload.
    pub(crate) fn ready(&mut self) {
        if matches!(self.told, Told::Nothing | Told::Reloading) {
            self.told = Told::Ready;
            say(&[NotifyState::Ready]);
        }
    }

    /// Whether READY has been said.
    pub(crate) fn is_ready(&self) -> bool {
        self.told != Told::Nothing
    }

    /// A reload begins; [`Systemd::ready`] ends it.
    pub(crate) fn reloading(&mut self) {
        if self.told == Told::Ready {
            self.told = Told::Reloading;
            match NotifyState::monotonic_usec_now() {
                Ok(now) => say(&[NotifyState::Reloading, now]),
                Err(_) => say(&[NotifyState::Reloading]),
            }
        }
    }

    /// The end begins. Nothing but STATUS follows.
    pub(crate) fn stopping(&mut self) {
        self.told = Told::Stopping;
        say(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`; said when it changes.
    pub(crate) fn status(&mut self, text: &str) {
        if self.status != text {
            text.clone_into(&mut self.status);
            say(&[NotifyState::Status(text)]);
        }
    }

    /// Start-up takes longer: the manager waits at least `time` more.
    pub(crate) fn extend_start(&self, time: Duration) {
        if self.told == Told::Nothing {
            say(&[NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))]);
        }
    }

    /// The guard is alive: to be said only after a real check.
    pub(crate) fn watchdog(&self) {
        say(&[NotifyState::Watchdog]);
    }

    /// How often the manager wants to hear [`Systemd::watchdog`] at the least.
    pub(crate) fn watchdog_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }
}

fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager did not hear");
    }
}

/// The sockets that the service manager passed, by the names of the socket unit.
///
/// # Errors
/// When the environment says that sockets were passed and they are not there.
pub(crate) fn passed_sockets() -> io::Result<Vec<(String, OwnedFd)>> {
    sd_notify::listen_fds_with_names()?.map(|(number, name)| Ok((name, descriptors::inherited(number)?))).collect()
}

/// Whether stderr is the journal (systemd.exec(5), `$JOURNAL_STREAM`), so that logging can go to it with fields.
pub(crate) fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(facts) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", facts.st_dev, facts.st_ino)
}
