//! The service manager's protocol (sd_notify(3), sd_listen_fds(3)): one object owns the states, so that READY can
//! never follow STOPPING.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;

use super::descriptors;

/// Messages that wait for a manager that is behind; what is older than these is of no use any more.
const WAITING: usize = 16;

/// What the service manager has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

/// The one voice that speaks to the service manager; silent where there is none.
///
/// It never waits: a manager that does not read must not stop the process that ends children.
#[derive(Debug)]
pub(crate) struct Systemd {
    told: Told,
    status: String,
    socket: Option<UnixDatagram>,
    waiting: VecDeque<String>,
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Nothing has been said yet.
    pub(crate) fn new() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "the service manager's socket ($NOTIFY_SOCKET) cannot be reached");
                None
            }
        });
        let watchdog = sd_notify::watchdog_enabled();
        Self { told: Told::Nothing, status: String::new(), socket, waiting: VecDeque::new(), watchdog }
    }

    /// Guests can be served; also the end of a reload.
    pub(crate) fn ready(&mut self) {
        if matches!(self.told, Told::Nothing | Told::Reloading) {
            self.told = Told::Ready;
            self.say(&[NotifyState::Ready]);
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
                Ok(now) => self.say(&[NotifyState::Reloading, now]),
                Err(_) => self.say(&[NotifyState::Reloading]),
            }
        }
    }

    /// The end begins. Nothing but STATUS follows.
    pub(crate) fn stopping(&mut self) {
        self.told = Told::Stopping;
        self.say(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`; said when it changes.
    pub(crate) fn status(&mut self, text: &str) {
        if self.status != text {
            text.clone_into(&mut self.status);
            self.say(&[NotifyState::Status(text)]);
        }
    }

    /// Start-up takes longer: the manager waits at least `time` more.
    pub(crate) fn extend_start(&mut self, time: Duration) {
        if self.told == Told::Nothing {
            self.say(&[NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))]);
        }
    }

    /// The guard is alive: to be said only after a real check.
    pub(crate) fn alive(&mut self) {
        if self.watchdog.is_some() {
            self.say(&[NotifyState::Watchdog]);
        }
    }

    /// How often the manager wants to hear [`Systemd::alive`] at the least, if it watches this process.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends what a manager that was behind has not taken yet.
    pub(crate) fn flush(&mut self) {
        let Some(socket) = &self.socket else { return self.waiting.clear() };
        while let Some(message) = self.waiting.front() {
            match socket.send(message.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => tracing::debug!(%error, "the service manager did not hear"),
                Ok(_) => {}
            }
            self.waiting.pop_front();
        }
    }

    fn say(&mut self, states: &[NotifyState<'_>]) {
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(states.iter().map(|state| format!("{state}\n")).collect());
        self.flush();
    }
}

/// `sd_notify::notify` waits for a manager that is behind, and knows no abstract names: only its words are used here.
fn connect(name: &OsString) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// The sockets that the service manager passed, by the names of the socket unit.
///
/// # Errors
/// When the environment says that sockets were passed and they are not there.
pub(crate) fn passed_sockets() -> io::Result<Vec<(String, OwnedFd)>> {
    sd_notify::listen_fds_with_names()?.map(|(number, name)| Ok((name, descriptors::inherited(number)?))).collect()
}

/// A credential that the service manager gave this service (systemd.exec(5), `LoadCredential=`), if it gave one of this name.
pub(crate) fn credential(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os("CREDENTIALS_DIRECTORY")?).join(name);
    path.exists().then_some(path)
}

/// The system's unit that this process belongs to, by its cgroup; none: in none, or in one of a user's own service manager.
pub(crate) fn own_unit() -> Option<String> {
    unit_of(&std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

fn unit_of(cgroups: &str) -> Option<String> {
    let paths = cgroups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut units = paths.filter(|path| !path.contains("/user@")).flat_map(|path| path.split('/'));
    units.find(|part| part.ends_with(".service")).map(ToOwned::to_owned)
}

/// Whether systemd is this machine's service manager (sd_booted(3)).
pub(crate) fn manages_this_machine() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}

/// Whether stderr is the journal (systemd.exec(5), `$JOURNAL_STREAM`), so that logging can go to it with fields.
pub(crate) fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(facts) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", facts.st_dev, facts.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_one_of_the_cgroup() {
        let table = [
            ("0::/system.slice/comfy-guard.service/guard\n", Some("comfy-guard.service")),
            ("12:pids:/\n1:name=systemd:/gpu.slice/comfy@2.service\n0::/\n", Some("comfy@2.service")),
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/guard.service\n", None),
            ("0::/user.slice/user-0.slice/session-3.scope\n", None),
            ("", None),
        ];
        for (cgroups, unit) in table {
            assert_eq!(unit_of(cgroups).as_deref(), unit, "{cgroups}");
        }
    }
}
