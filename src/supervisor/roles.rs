//! Roles: starting one, talking to it, noticing that it has died, hangs or says what it may not.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::backoff;
use super::event::Event;
use crate::os::packet;
use crate::os::process::{self, Ending, Pid};
use crate::os::spawn::{self, Identity, Limits, Plan, SpawnError};
use crate::wire::channel::{Channel, ChannelError, MAX_MESSAGE};
use crate::wire::line::printable;
use crate::wire::permit::{Judged, Permits, Role};

/// Messages that wait for a role; one that is this far behind has stopped reading.
const QUEUE: usize = 256;
/// A role that does not answer a check within this time is stuck: it is killed and started again.
const PATIENCE: Duration = Duration::from_secs(8);
/// Pause after a role that ended well: one that does so at once must not keep a processor busy.
const BREATH: Duration = Duration::from_millis(250);

/// A role that ends sooner than this after its start is not believed to have been well.
const STEADY: Duration = Duration::from_secs(30);

/// Why a role could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoleError {
    /// No socket pair.
    #[error("no channel to the {role}: {source}")]
    Channel {
        /// The role.
        role: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No process.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// One role: its process while there is one, and its history.
#[derive(Debug)]
pub(crate) struct RoleProcess<Out> {
    role: Role,
    identity: Option<Identity>,
    alive: Option<Alive<Out>>,
    generation: u64,
    deaths_in_a_row: u32,
    deaths: u64,
    start_at: Option<Instant>,
    /// What held the last one, if it stepped down.
    predecessor: Option<String>,
}

#[derive(Debug)]
struct Alive<Out> {
    pid: Pid,
    out: mpsc::Sender<Out>,
    ending: Arc<AtomicBool>,
    confinement: Option<String>,
    started: Instant,
    ready: bool,
    unanswered: Option<(u64, Instant)>,
}

impl<Out: Serialize + Send + Sync + 'static> RoleProcess<Out> {
    /// A role that is not running yet and is due at once.
    pub(crate) fn new(role: Role, identity: Option<Identity>) -> Self {
        let start_at = Some(Instant::now());
        Self { role, identity, alive: None, generation: 0, deaths_in_a_row: 0, deaths: 0, start_at, predecessor: None }
    }

    /// When it is to be started, if it is not running.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.start_at
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.alive.as_ref().map(|alive| alive.pid)
    }

    /// Which of its processes is running: answers to a question of an earlier one are dropped.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it has said that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.alive.as_ref().is_some_and(|alive| alive.ready)
    }

    /// Its processes that have ended since one was of use.
    pub(crate) fn deaths_in_a_row(&self) -> u32 {
        self.deaths_in_a_row
    }

    /// Its processes that have died since the guard was started; one that stepped down did not.
    pub(crate) fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Starts the process; `first` and the sockets are the first thing that it hears.
    pub(crate) fn start<In>(
        &mut self,
        first: Out,
        sockets: &[BorrowedFd<'_>],
        events: &mpsc::Sender<Event>,
        wrap: fn(In) -> Event,
    ) -> Result<(), RoleError>
    where
        In: DeserializeOwned + Judged + Send + 'static,
    {
        self.start_at = None;
        self.generation += 1;
        let failed = |source| RoleError::Channel { role: self.role.name(), source };
        let (ours, theirs) = packet::pair(4 * MAX_MESSAGE).map_err(failed)?;
        let channel = Arc::new(Channel::new(ours).map_err(failed)?);
        let sockets =
            sockets.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<Vec<_>>>().map_err(failed)?;
        let pid = self.spawn(theirs.as_fd())?;
        let (out, queue) = mpsc::channel(QUEUE);
        let ending = Arc::new(AtomicBool::new(false));
        tokio::spawn(write(channel.clone(), first, sockets, queue));
        tokio::spawn(read(channel, self.role, self.generation, ending.clone(), events.clone(), wrap));
        self.alive = Some(Alive {
            pid,
            out,
            ending,
            confinement: None,
            started: Instant::now(),
            ready: false,
            unanswered: None,
        });
        tracing::debug!(role = self.role.name(), %pid, "started");
        Ok(())
    }

    fn spawn(&self, channel: BorrowedFd<'_>) -> Result<Pid, SpawnError> {
        let plan = Plan {
            program: Path::new("/proc/self/exe"),
            name: "comfy-guard:",
            arguments: &[OsString::from(self.role.name())],
            environment: &[],
            directory: None,
            identity: self.identity.clone(),
            channel: Some(channel),
            piped: false,
            group: None,
            limits: Limits::default(),
        };
        Ok(spawn::start(&plan)?.pid)
    }

    /// Says something to it. One that has stopped reading is killed: the supervisor never waits for a role.
    pub(crate) fn tell(&mut self, message: Out) {
        let Some(alive) = &self.alive else { return };
        if alive.out.try_send(message).is_err() {
            self.kill("does not read its messages");
        }
    }

    /// Asks whether it is alive, unless it owes an answer still; one that has owed it for [`PATIENCE`] is killed.
    pub(crate) fn check(&mut self, now: Instant, number: u64, question: fn(u64) -> Out) {
        match self.alive.as_mut().map(|alive| &mut alive.unanswered) {
            Some(Some((_, since))) if now.duration_since(*since) > PATIENCE => self.kill("does not answer"),
            Some(unanswered @ None) => {
                *unanswered = Some((number, now));
                self.tell(question(number));
            }
            _ => {}
        }
    }

    /// It answered a check: whether that was the one which it owed.
    pub(crate) fn answered(&mut self, number: u64) -> bool {
        let owed = self.alive.as_mut().map(|alive| &mut alive.unanswered);
        owed.is_some_and(|owed| owed.take_if(|(asked, _)| *asked == number).is_some())
    }

    /// It said what holds it. Whether that is news: it is none from the successor of one that stepped down, if the same holds it.
    pub(crate) fn confined(&mut self, by: &str) -> bool {
        let Some(alive) = &mut self.alive else { return false };
        alive.confinement = Some(printable(by));
        self.predecessor.take() != alive.confinement
    }

    /// What holds it, in its own words; none before it has said so.
    pub(crate) fn confinement(&self) -> Option<&str> {
        self.alive.as_ref().and_then(|alive| alive.confinement.as_deref())
    }

    /// It said that it is ready. A role that has not said what holds it works without a sandbox, and is ended.
    pub(crate) fn became_ready(&mut self) {
        match &mut self.alive {
            Some(alive) if alive.confinement.is_some() => alive.ready = true,
            Some(_) => self.kill("is ready and in no sandbox"),
            None => {}
        }
    }

    /// It is being told to end: what it may say changes.
    pub(crate) fn ending(&mut self) {
        if let Some(alive) = &self.alive {
            alive.ending.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the process for good reason; its death is noticed like any other.
    pub(crate) fn kill(&mut self, why: &str) {
        let Some(alive) = &self.alive else { return };
        tracing::error!(role = self.role.name(), pid = %alive.pid, "{why}: killed");
        if let Err(error) = process::end(alive.pid, Ending::Kill) {
            tracing::error!(role = self.role.name(), pid = %alive.pid, %error, "cannot be killed");
        }
    }

    /// Notes that it ended well, by itself, so that another may see what it could not: no death, and no news. Whether it was this
    /// role's. Only one that was ready may; else it never worked.
    pub(crate) fn stepped_down(&mut self, pid: Pid, now: Instant) -> bool {
        let Some(alive) = self.alive.take_if(|alive| alive.pid == pid && alive.ready) else { return false };
        self.predecessor = alive.confinement;
        self.start_at = Some(now + BREATH);
        true
    }

    /// Notes a death; whether it was this role's. The next start is planned.
    pub(crate) fn died(&mut self, pid: Pid, how: &str, now: Instant) -> bool {
        let Some(alive) = self.alive.take_if(|alive| alive.pid == pid) else { return false };
        // A role that was of use for a while starts its count anew.
        let was_of_use = alive.ready && now.duration_since(alive.started) >= STEADY;
        self.deaths_in_a_row = if was_of_use { 0 } else { self.deaths_in_a_row };
        let after = backoff::after_role(self.deaths_in_a_row);
        self.deaths_in_a_row = self.deaths_in_a_row.saturating_add(1);
        self.deaths += 1;
        self.start_at = Some(now + after);
        if !alive.ending.load(Ordering::Relaxed) {
            tracing::error!(role = self.role.name(), %pid, how, "ended; started again in {after:?}");
        }
        true
    }

    /// Plans another start after one that failed.
    pub(crate) fn start_failed(&mut self, now: Instant) {
        self.deaths_in_a_row = self.deaths_in_a_row.saturating_add(1);
        self.start_at = Some(now + backoff::after_role(self.deaths_in_a_row));
    }

    /// It is not to be started any more.
    pub(crate) fn retire(&mut self) {
        self.start_at = None;
    }
}

/// Hands messages to the role until one side is gone.
async fn write<Out: Serialize>(
    channel: Arc<Channel>,
    first: Out,
    sockets: Vec<OwnedFd>,
    mut queue: mpsc::Receiver<Out>,
) {
    let with: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let mut sent = channel.send_with(&first, &with).await;
    while sent.is_ok() {
        let Some(message) = queue.recv().await else { return };
        sent = channel.send(&message).await;
        // Said to be wrong, and the others still heard: a role that hears nothing more would serve with what was true once.
        if let Err(error @ ChannelError::TooLong { .. }) = sent {
            tracing::error!("a message to a role is left out: {error}");
            sent = Ok(());
        }
    }
    if let Err(error) = sent {
        tracing::debug!(%error, "a role no longer listens");
    }
}

/// Takes the role's messages, each through the permit table, until it is gone or breaks the rules.
async fn read<In: DeserializeOwned + Judged>(
    channel: Arc<Channel>,
    role: Role,
    generation: u64,
    ending: Arc<AtomicBool>,
    events: mpsc::Sender<Event>,
    wrap: fn(In) -> Event,
) {
    let mut permits = Permits::new(role);
    let breach = loop {
        let message = match channel.receive::<In>().await {
            Ok(Some((message, passed))) if passed.is_empty() => message,
            Ok(Some(_)) => break "it passed descriptors, which no role may".to_owned(),
            Ok(None) => return,
            Err(error) => break error.to_string(),
        };
        if ending.load(Ordering::Relaxed) {
            permits.ending();
        }
        if let Err(breach) = permits.admit(&message) {
            break breach.to_string();
        }
        if events.send(wrap(message)).await.is_err() {
            return;
        }
    };
    if events.send(Event::Breach { role, generation, breach }).await.is_err() {
        tracing::debug!("the supervisor is ending");
    }
}
