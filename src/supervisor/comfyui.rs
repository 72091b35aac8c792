//! ComfyUI's life: started, seen to serve, started again when it ends, stopped by the ladder, nothing left behind.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::backoff::{self, Death, Facts, Next};
use super::history::History;
use super::ladder;
use super::tail::Tail;
use super::{cage, environment};
use crate::config::OwnedComfyui;
use crate::os::cgroup::Group;
use crate::os::process::{self, Ending, Pid};
use crate::os::spawn::{self, Identity, Plan};
use crate::os::users::Account;
use crate::sandbox::comfyui as sandbox;
use crate::units::Bytes;
use crate::wire::message::{Answering, ProcessState};

/// The ComfyUI that the guard owns.
#[derive(Debug)]
pub(crate) struct Comfyui {
    settings: OwnedComfyui,
    max_upload: Bytes,
    account: Option<(Account, Identity)>,
    group: Option<Group>,
    tail: Tail,
    life: Life,
    in_a_row: u32,
    /// Why it is not running, or did not run before; none since it serves.
    trouble: Option<String>,
    history: History,
}

/// Why ComfyUI is not restarted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RestartRefused {
    /// Nothing is started any more.
    #[error("the guard itself is ending")]
    Ending,
    /// `comfyui.external`
    #[error("this ComfyUI is not the guard's own (comfyui.external): restart it where it was started")]
    External,
}

#[derive(Debug)]
enum Life {
    /// Not running, due at this time.
    Down { start_at: Instant, first: bool },
    /// Running; since when it serves, if it does.
    Up { pid: Pid, served_since: Option<Instant> },
    /// Told to end; and then to be started again, or not.
    Ending { pid: Pid, since: Instant, rung: Ending, again: bool },
    /// Not to be started again.
    Failed { why: String },
    /// Ended because the guard ends.
    Gone,
}

impl Comfyui {
    /// Due at once. `account`: as whom, where the guard may switch users; `group`: in which cgroup, where it was handed one.
    pub(crate) fn new(
        settings: OwnedComfyui,
        max_upload: Bytes,
        account: Option<(Account, Identity)>,
        group: Option<Group>,
    ) -> Self {
        let life = Life::Down { start_at: Instant::now(), first: true };
        let (tail, history) = (Tail::default(), History::default());
        Self { settings, max_upload, account, group, tail, life, in_a_row: 0, trouble: None, history }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<Pid> {
        match &self.life {
            Life::Up { pid, .. } | Life::Ending { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// When [`Comfyui::act`] has something to do.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.life {
            Life::Down { start_at, .. } => Some(*start_at),
            Life::Ending { since, .. } => {
                ladder::rung(self.settings.stop_timeout.0, since.elapsed()).1.map(|after| *since + after)
            }
            _ => None,
        }
    }

    /// Starts it when it is due; climbs the stop ladder.
    pub(crate) fn act(&mut self, now: Instant) {
        match &self.life {
            Life::Down { start_at, .. } if *start_at <= now => self.start(now),
            Life::Ending { pid, since, rung, again } => {
                let (next, _) = ladder::rung(self.settings.stop_timeout.0, now.duration_since(*since));
                if next != *rung {
                    let (pid, since, again) = (*pid, *since, *again);
                    tracing::warn!(%pid, "ComfyUI has not ended; next: {next:?}");
                    self.life = Life::Ending { pid, since, rung: next, again };
                    self.signal(pid, next);
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, now: Instant) {
        if let Err(why) = self.try_start() {
            tracing::error!("{why}");
            self.plan_next(Death::NeverLived, Duration::ZERO, why, now);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the listener is a question and is closed at once")]
    fn try_start(&mut self) -> Result<(), String> {
        let port = self.settings.port;
        // ComfyUI would load for a minute and only then say that its port is taken.
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| format!("ComfyUI cannot be started: port {port} on 127.0.0.1 is not free ({error}); end the program that holds it (ss -ltnp) or set comfyui.port"))?;
        let account = self.account.as_ref().map(|(account, _)| (account.name.as_str(), account.home.as_path()));
        let environment = environment::environment(std::env::vars_os(), account, &self.settings);
        let own_user = self.account.is_some();
        let places = sandbox::places(&self.settings, &environment, own_user);
        let arguments = environment::arguments(&self.settings, self.max_upload);
        let limits = self.settings.limits;
        let held = cage::limit(self.group.as_ref(), limits, own_user);
        let plan = Plan {
            program: Path::new(cage::SELF),
            name: "comfy-guard:",
            arguments: &cage::command_line(&self.settings, &places, arguments),
            environment: &environment,
            directory: None,
            identity: self.account.as_ref().map(|(_, identity)| identity.clone()),
            channel: None,
            piped: true,
            group: self.group.as_ref().map(Group::entrance),
            limits: sandbox::limits(&self.settings, own_user, held),
        };
        let child = spawn::start(&plan).map_err(|error| format!("ComfyUI cannot be started: {error}"))?;
        for pipe in child.output {
            self.tail.follow(pipe).map_err(|error| format!("ComfyUI's output cannot be read: {error}"))?;
        }
        let limits = cage::describe(limits, own_user, held);
        tracing::info!(pid = %child.pid, limits, "ComfyUI started");
        self.history.begin(SystemTime::now(), format!("cage {}, {limits}", self.settings.cage.name()));
        self.life = Life::Up { pid: child.pid, served_since: None };
        Ok(())
    }

    /// The gateway has seen how its port answers.
    pub(crate) fn observed(&mut self, answering: Answering, now: Instant) {
        if let Life::Up { pid, served_since: served @ None } = &mut self.life
            && answering == Answering::Yes
        {
            *served = Some(now);
            self.trouble = None;
            self.history.serves(SystemTime::now());
            tracing::info!(pid = %pid, "ComfyUI serves");
        }
    }

    /// Notes a death; whether it was ComfyUI's.
    pub(crate) fn died(&mut self, pid: Pid, status: ExitStatus, now: Instant) -> bool {
        if self.pid() != Some(pid) {
            return false;
        }
        let how = process::describe(status);
        // What it started and left must neither hold its port nor outlive it.
        self.signal(pid, Ending::Kill);
        let crash = matches!(self.life, Life::Up { .. }) && !status.success();
        self.history.end(SystemTime::now(), &how, crash);
        if let Life::Ending { again: true, .. } = self.life {
            tracing::info!(%pid, how, "ComfyUI ended, as asked; started again");
            self.life = Life::Down { start_at: now, first: false };
        } else if let Life::Up { served_since, .. } = self.life {
            let served = served_since.map_or(Duration::ZERO, |since| now.duration_since(since));
            let death = if status.success() { Death::Asked } else { Death::Crash };
            let last = self.tail.last().unwrap_or_default();
            let why = format!("ComfyUI ended ({how}); its last line: {last}");
            self.plan_next(death, served, why, now);
        } else {
            tracing::info!(%pid, how, "ComfyUI ended");
            self.life = Life::Gone;
        }
        true
    }

    fn plan_next(&mut self, death: Death, served: Duration, why: String, now: Instant) {
        match backoff::after_comfyui(Facts { death, in_a_row: self.in_a_row, served }) {
            Next::Restart { after, in_a_row } => {
                if death == Death::Asked {
                    tracing::info!("{why}; started again");
                } else {
                    tracing::warn!("{why}; started again in {after:?}");
                }
                self.in_a_row = in_a_row;
                self.life = Life::Down { start_at: now + after, first: false };
                self.trouble = Some(short(&why));
            }
            Next::GiveUp => {
                tracing::error!(
                    "{why}; that was once too often: it is not started again until SIGHUP or a restart of the guard"
                );
                self.life = Life::Failed { why };
            }
        }
    }

    /// A reload: a ComfyUI that was given up gets another chance; a change of its settings counts from its next start.
    pub(crate) fn reload(&mut self, settings: OwnedComfyui, max_upload: Bytes, now: Instant) {
        // Port and user are bound into the other processes: they change with a restart of the guard.
        let (port, user, groups) = (self.settings.port, self.settings.user.clone(), self.settings.groups.clone());
        self.settings = OwnedComfyui { port, user, groups, ..settings };
        self.max_upload = max_upload;
        if matches!(self.life, Life::Failed { .. }) {
            self.in_a_row = 0;
            self.life = Life::Down { start_at: now, first: false };
        }
    }

    /// Somebody wants it stopped and started: by the ladder where it runs, at once where it does not, given up or not.
    ///
    /// # Errors
    /// The guard itself is ending.
    pub(crate) fn restart(&mut self, now: Instant) -> Result<&'static str, RestartRefused> {
        let said = match self.life {
            Life::Up { pid, .. } => {
                self.life = Life::Ending { pid, since: now, rung: Ending::Interrupt, again: true };
                self.signal(pid, Ending::Interrupt);
                "ComfyUI is being stopped, and is started again then"
            }
            Life::Ending { again: true, .. } => "ComfyUI is being stopped already, and is started again then",
            Life::Down { .. } | Life::Failed { .. } => {
                self.life = Life::Down { start_at: now, first: false };
                "ComfyUI was not running, and is started now"
            }
            Life::Ending { again: false, .. } | Life::Gone => return Err(RestartRefused::Ending),
        };
        // Whoever asks has looked: what went wrong before is a closed story.
        self.in_a_row = 0;
        self.trouble = None;
        tracing::info!("asked to restart ComfyUI");
        Ok(said)
    }

    /// Begins the stop.
    pub(crate) fn stop(&mut self, now: Instant) {
        match &mut self.life {
            Life::Up { pid, .. } => {
                let pid = *pid;
                self.life = Life::Ending { pid, since: now, rung: Ending::Interrupt, again: false };
                self.signal(pid, Ending::Interrupt);
            }
            Life::Ending { again, .. } => *again = false,
            _ => self.life = Life::Gone,
        }
    }

    /// While none runs: kills what is left in its cgroup. Whether nothing is.
    pub(crate) fn sweep(&self) -> bool {
        let Some(group) = self.group.as_ref().filter(|group| group.is_populated()) else { return true };
        if let Err(error) = group.kill() {
            tracing::error!(%error, "what is left in ComfyUI's cgroup cannot be killed");
        }
        false
    }

    /// To its process group; a kill also to its whole cgroup, which nothing that it started can have left.
    fn signal(&self, leader: Pid, how: Ending) {
        if let Err(error) = process::end_group(leader, how) {
            tracing::error!(pid = %leader, %error, "ComfyUI's process group cannot be signalled");
        }
        if how == Ending::Kill
            && let Some(Err(error)) = self.group.as_ref().map(Group::kill)
        {
            tracing::error!(%error, "ComfyUI's cgroup cannot be killed");
        }
    }

    /// Whether nothing of it runs, and nothing will.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.life, Life::Gone)
    }

    /// Why it does not serve, where it has ended or could not be started.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What became of its processes.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Its output.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Its cgroup, where it has one.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// What the gateway is told.
    pub(crate) fn state(&self) -> ProcessState {
        match &self.life {
            Life::Up { served_since: Some(_), .. } => ProcessState::Running,
            Life::Up { .. } | Life::Down { first: true, .. } => ProcessState::Starting,
            Life::Down { .. } | Life::Ending { again: true, .. } => ProcessState::Restarting,
            Life::Failed { why } => ProcessState::Failed { why: short(why) },
            Life::Ending { .. } | Life::Gone => ProcessState::Stopping,
        }
    }
}

/// Fit for a status line and a message to the gateway: a traceback's last line can be long.
fn short(why: &str) -> String {
    why.chars().take(500).collect()
}
