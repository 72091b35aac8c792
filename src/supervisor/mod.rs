//! PROCESS 1, the supervisor: has the privileges, the key, the sockets and the children; reads no byte of the network.
//!
//! One loop owns all state. Everything that happens reaches it as an [`Event`]; what is to be done is decided in
//! `backoff`, `ladder` and `report`, which know neither clock nor process.

mod answers;
mod asked;
mod backoff;
mod cage;
mod comfyui;
mod conditions;
mod control;
mod environment;
mod event;
mod foreign;
mod hear;
mod history;
mod ladder;
mod overview;
mod reload;
mod report;
mod roles;
mod sessions;
mod setup;
mod shutdown;
mod signals;
mod start;
mod tail;
mod watch;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::condition::fault::Baseline;
use crate::config::{Comfyui as ComfyuiSettings, Config, Findings};
use crate::credential::names::Names;
use crate::credential::phc::Phc;
use crate::os::descriptors;
use crate::os::process::{self, Pid};
use crate::os::systemd::Systemd;
use crate::wire::gpu::GpuReading;
use crate::wire::message::{Answering, GpuWish, KeyState, ProcessState, SensorSetup, TlsIdentity, ToGateway, ToSensor};
use crate::wire::overview::{Overview, Seen};
use crate::wire::permit::Role;
use answers::Answers;
use comfyui::Comfyui;
use conditions::Conditions;
use control::Control;
use event::Event;
use foreign::Strangers;
use roles::RoleProcess;
use setup::gpu_wish;
use start::{Sockets, Started, Users};
use watch::Watch;

use crate::credential::session_store::SessionStore;
use crate::credential::sessions::Lifetimes;

pub(crate) use start::{KeySource, StartError};

/// How often the roles are asked whether they live, and the watchdog is fed at the least.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// How often what the gateway shows is put together.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the certificate is looked at without cause: its end comes closer by itself, and the guard renews its own.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(12 * 3600);
/// Addresses come late where the network is set up while the guard starts: looked for so often, and for so long after the start.
const NAMES_INTERVAL: Duration = Duration::from_secs(5);
const NAMES_SETTLE: Duration = Duration::from_secs(300);
/// How often sessions that time has ended are taken off the list.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// How soon strangers are looked for again while some are dying.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);

/// What `run` was told.
pub(crate) struct Orders {
    /// The configuration as it is now.
    pub(crate) config: Config,
    /// Reads it again.
    pub(crate) load: Box<dyn Fn() -> Result<Config, Findings>>,
    /// Where the key comes from.
    pub(crate) key_source: KeySource,
}

/// Runs the guard until it is told to end.
///
/// # Errors
/// When it cannot start. Whatever happens later is logged and survived.
pub(crate) fn run(orders: Orders) -> Result<(), StartError> {
    let started = start::prepare(&orders.config, &orders.key_source)?;
    process::adopt_orphans().map_err(|source| StartError::System { step: "adopt orphans", source })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .map_err(|source| StartError::System { step: "start the reactor", source })?;
    runtime.block_on(async {
        let (sender, events) = mpsc::channel(256);
        let mut started = started;
        started
            .control
            .serve(&sender)
            .map_err(|source| StartError::System { step: "serve the control socket", source })?;
        signals::listen(&sender).map_err(|source| StartError::System { step: "listen to signals", source })?;
        Supervisor::new(orders, started, sender).work(events).await;
        Ok(())
    })
}

/// All state of the guard.
struct Supervisor {
    orders: Orders,
    /// Gone with the supervisor.
    _control: Control,
    sockets: Sockets,
    addresses: Vec<String>,
    users: Users,
    key: Option<Phc>,
    identity: TlsIdentity,
    systemd: Systemd,
    events: mpsc::Sender<Event>,
    answers: Answers,
    gateway: RoleProcess<ToGateway>,
    sensor: RoleProcess<ToSensor>,
    comfyui: Option<Comfyui>,
    answering: Answering,
    /// What the sensor read last, what was there before ComfyUI, and who else computes there.
    gpu: GpuReading,
    baseline: Baseline,
    strangers: Strangers,
    /// Which GPU ComfyUI is given.
    wish: GpuWish,
    /// What the gateway has seen.
    seen: Seen,
    conditions: Conditions,
    /// What the gateway was told last.
    overview: Overview,
    started: SystemTime,
    /// What holds this process, in words.
    confinement: String,
    hung_since: Option<Instant>,
    /// Sensors that were ended because the driver is silent, since it spoke last.
    hung_sensors: u32,
    told: Option<ProcessState>,
    /// Counts the keys that were in force.
    key_epoch: u64,
    sessions: Option<SessionStore>,
    /// Ends of sessions that the gateway has not been told.
    unsaid: Vec<[u8; 32]>,
    key_file: Watch,
    session_file: Watch,
    certificate: Watch,
    /// What the machine was called when its certificate was looked at.
    names: Names,
    checks: u64,
    stopping: Option<Instant>,
    drained: bool,
}

impl Supervisor {
    fn new(orders: Orders, started: Started, events: mpsc::Sender<Event>) -> Self {
        let config = &orders.config;
        let addresses = addresses(&started);
        let comfyui = match &config.comfyui {
            ComfyuiSettings::Owned(settings) => {
                let account = started.users.comfyui.clone();
                Some(Comfyui::new((**settings).clone(), config.proxy.max_upload, account, started.group))
            }
            ComfyuiSettings::External(_) => None,
        };
        let lifetimes = Lifetimes::of(&config.auth);
        let session_store =
            started.key.as_ref().and_then(|key| sessions::open_store(&config.state.directory, key, lifetimes));
        tracing::info!("listening on {}", addresses.join(", "));
        let confinement = started.confinement.to_string();
        hear::tell_confinement("supervisor", Some(&confinement));
        let mut baseline = Baseline::default();
        baseline.begin(&[], SystemTime::now());
        Self {
            key_file: reload::key_watch(&orders),
            session_file: sessions::watch(session_store.as_ref()),
            sessions: session_store,
            unsaid: Vec::new(),
            key_epoch: 0,
            certificate: reload::certificate_watch(config),
            names: started.names,
            answers: Answers::new(events.clone()),
            gateway: RoleProcess::new(Role::Gateway, started.users.network.clone()),
            sensor: RoleProcess::new(Role::Sensor, started.users.network.clone()),
            _control: started.control,
            sockets: started.sockets,
            users: started.users,
            key: started.key,
            identity: started.identity,
            systemd: Systemd::new(),
            answering: Answering::Unknown,
            gpu: GpuReading::Unknown,
            baseline,
            strangers: Strangers::default(),
            wish: gpu_wish(config),
            seen: Seen::default(),
            conditions: Conditions::default(),
            overview: Overview::default(),
            started: SystemTime::now(),
            confinement,
            hung_since: None,
            hung_sensors: 0,
            told: None,
            checks: 0,
            stopping: None,
            drained: false,
            orders,
            addresses,
            events,
            comfyui,
        }
    }

    async fn work(mut self, mut events: mpsc::Receiver<Event>) {
        let mut check = tokio::time::interval(check_pace(self.systemd.watchdog()));
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        let mut certificate = tokio::time::interval_at(Instant::now() + CERTIFICATE_INTERVAL, CERTIFICATE_INTERVAL);
        let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
        let mut names = tokio::time::interval(NAMES_INTERVAL);
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        let settled = Instant::now() + NAMES_SETTLE;
        for ticker in [&mut check, &mut watch, &mut certificate, &mut expiry, &mut names, &mut look] {
            ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        while !self.is_over() {
            self.act();
            self.tell_news();
            let due = self.due();
            tokio::select! {
                event = events.recv() => if let Some(event) = event { self.handle(event) },
                _ = check.tick() => self.check(),
                _ = watch.tick() => self.look_at_files(),
                _ = certificate.tick() => self.reload_identity(),
                _ = names.tick(), if Instant::now() < settled => self.look_at_names(),
                _ = expiry.tick() => self.expire_sessions(),
                _ = look.tick() => self.look_around(),
                () = tokio::time::sleep_until(due) => {}
            }
        }
        tracing::info!("ended");
    }

    /// Starts what is due to be started, and moves a stop on.
    fn act(&mut self) {
        let now = Instant::now();
        if self.stopping.is_none() {
            self.start_roles(now);
        }
        if let Some(since) = self.stopping
            && (self.drained || now >= since + ladder::drain_time(self.stop_timeout()))
            && let Some(comfyui) = &mut self.comfyui
        {
            comfyui.stop(now);
        }
        let swept = self.sweep();
        if let Some(comfyui) = &mut self.comfyui
            && swept
        {
            let before = comfyui.pid();
            comfyui.act(now);
            if before.is_none() && comfyui.pid().is_some() {
                self.begin_anew();
            }
        }
    }

    fn start_roles(&mut self, now: Instant) {
        if self.gateway.due().is_some_and(|due| due <= now) {
            self.look_around();
            let setup = ToGateway::Setup(Box::new(self.gateway_setup()));
            let Sockets { https, redirect, metrics, .. } = &self.sockets;
            let sockets: Vec<BorrowedFd<'_>> =
                [https, redirect, metrics].into_iter().flatten().map(AsFd::as_fd).collect();
            let started = self.gateway.start(setup, &sockets, &self.events, Event::Gateway);
            match started {
                Ok(()) => {
                    self.gateway.tell(ToGateway::Gpu(self.gpu.clone()));
                    self.tell_overview();
                }
                Err(error) => {
                    tracing::error!("{error}");
                    self.gateway.start_failed(now);
                }
            }
            self.answering = Answering::Unknown;
        }
        if self.sensor.due().is_some_and(|due| due <= now) {
            let config = &self.orders.config;
            let setup = SensorSetup { log: config.log.clone(), library: config.gpu.library.clone() };
            if let Err(error) = self.sensor.start(ToSensor::Setup(setup), &[], &self.events, Event::Sensor) {
                tracing::error!("{error}");
                self.sensor.start_failed(now);
            }
        }
    }

    /// While no ComfyUI runs, every child that is not a role is something that the last one left: it is killed, and only
    /// then is there room for the next. Whether nothing is left.
    fn sweep(&mut self) -> bool {
        match &self.comfyui {
            Some(comfyui) if comfyui.pid().is_none() => {
                let known: Vec<Pid> = [self.gateway.pid(), self.sensor.pid()].into_iter().flatten().collect();
                let group_is_empty = comfyui.sweep();
                process::kill_strangers(&known) == 0 && group_is_empty
            }
            _ => true,
        }
    }

    /// When [`Supervisor::act`] is needed again at the latest.
    fn due(&self) -> Instant {
        let now = Instant::now();
        let comfyui = self.comfyui.as_ref().and_then(Comfyui::due).map(|at| at.max(now + SWEEP_PAUSE));
        let roles =
            [self.gateway.due(), self.sensor.due()].into_iter().flatten().map(|at| at.max(now + SWEEP_PAUSE)).min();
        let drain = self.stopping.map(|since| (since + ladder::drain_time(self.stop_timeout())).max(now + SWEEP_PAUSE));
        [comfyui, roles, drain].into_iter().flatten().min().unwrap_or(now + Duration::from_secs(3600))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Gateway(message) => self.hear_gateway(message),
            Event::Sensor(message) => self.hear_sensor(message),
            Event::Breach { role, generation, breach } => self.end_breaker(role, generation, &breach),
            Event::Died { pid, status } => self.bury(pid, status),
            Event::Judged { generation, question, verdict } => self.answer(generation, question, verdict),
            Event::Asked { request, reply } => self.asked(request, reply),
            Event::Reload => self.reload(),
            Event::Stop => self.stop(),
        }
    }

    fn check(&mut self) {
        let now = Instant::now();
        self.checks += 1;
        self.gateway.check(now, self.checks, ToGateway::Check);
        self.sensor.check(now, self.checks, ToSensor::Check);
        self.end_hung_sensor(now);
        // A slow start of ComfyUI is no failed start of the guard.
        self.systemd.extend_start(4 * CHECK_INTERVAL);
        self.systemd.flush();
    }

    /// Tells the gateway, the service manager and the log what is new about ComfyUI.
    fn tell_news(&mut self) {
        let comfyui = self.comfyui_state();
        if self.told.as_ref() != Some(&comfyui) {
            self.gateway.tell(ToGateway::Comfyui(comfyui.clone()));
            self.told = Some(comfyui.clone());
        }
        self.judge_conditions();
        if self.stopping.is_some() {
            return;
        }
        let (ready, text) = report::describe(report::Facts {
            gateway_ready: self.gateway.is_ready(),
            auth: self.orders.config.auth.enabled,
            key: self.key_state(),
            comfyui: &comfyui,
            trouble: self.comfyui.as_ref().and_then(Comfyui::trouble),
            answering: self.answering,
            address: &self.addresses.join(", "),
            conditions: self.conditions.held(),
        });
        self.systemd.status(&text);
        if ready && !self.systemd.is_ready() {
            tracing::info!("{text}");
            self.systemd.ready();
        }
    }

    fn comfyui_state(&self) -> ProcessState {
        self.comfyui.as_ref().map_or(ProcessState::External, Comfyui::state)
    }

    fn key_state(&self) -> KeyState {
        if self.key.is_some() { KeyState::Set } else { KeyState::Missing }
    }
}

/// Twice as often as the service manager wants, and never more seldom than [`CHECK_INTERVAL`].
fn check_pace(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(CHECK_INTERVAL, |interval| (interval / 3).min(CHECK_INTERVAL))
}

fn addresses(started: &Started) -> Vec<String> {
    let https = started.sockets.https.iter();
    let known = https.filter_map(|socket| descriptors::local_address(socket.as_fd()).ok());
    known.map(|address| format!("https://{address}")).collect()
}
