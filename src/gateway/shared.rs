//! What all threads of the gateway look at: settings, certificate, key, and how ComfyUI is.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::{mpsc, watch};

use super::GatewayError;
use super::endpoint::guard::Pace;
use super::endpoint::guard_history::History;
use super::endpoint::health::Health;
use super::judge::Judge;
use super::seen::Refusals;
use super::sessions::Sessions;
use super::tls;
use crate::telemetry::metrics::Metrics;
use crate::wire::message::{FromGateway, GatewaySettings, GatewaySetup, KeyState, TlsIdentity};

/// The key in force: `number` grows with every change, and what was let in under a smaller one has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyEpoch {
    /// Which key, counted from the start.
    pub(crate) number: u64,
    /// Whether there is one.
    pub(crate) state: KeyState,
}

/// Shared by the link, the probe and the workers.
pub(crate) struct Shared {
    /// `[auth]`, `[proxy]`, `[log]` as they are now.
    pub(crate) settings: ArcSwap<GatewaySettings>,
    /// What new connections shake hands with.
    pub(crate) tls: ArcSwap<rustls::ServerConfig>,
    /// Where ComfyUI listens.
    pub(crate) upstream: SocketAddr,
    /// The `Host` that ComfyUI is told.
    pub(crate) upstream_host: HeaderValue,
    /// Who knows whether a key is right.
    pub(crate) judge: Judge,
    /// Who knows which sessions live.
    pub(crate) sessions: Sessions,
    /// The key in force.
    pub(crate) key: watch::Sender<KeyEpoch>,
    /// How ComfyUI is.
    pub(crate) health: watch::Sender<Health>,
    /// The last hour's figures.
    history: Mutex<History>,
    /// When guests last had ComfyUI restarted.
    pub(crate) restarts: Pace,
    /// What is told to the supervisor.
    pub(crate) supervisor: mpsc::Sender<FromGateway>,
    /// Whether the gateway is ending.
    pub(crate) draining: watch::Sender<bool>,
    /// What is counted for `/metrics`.
    pub(crate) metrics: Metrics,
    /// What was refused lately.
    pub(crate) refusals: Refusals,
    /// Connections that are open.
    pub(crate) connections: AtomicUsize,
    /// Sockets without a credential that are open.
    pub(crate) anonymous_sockets: AtomicUsize,
}

impl Shared {
    /// From the supervisor's first message.
    pub(crate) fn new(setup: GatewaySetup, questions: mpsc::Sender<FromGateway>) -> Result<Self, GatewayError> {
        let host = HeaderValue::try_from(setup.upstream.to_string());
        Ok(Self {
            tls: ArcSwap::new(Arc::new(tls::server_config(&setup.identity)?)),
            upstream_host: host.unwrap_or(HeaderValue::from_static("127.0.0.1")),
            upstream: setup.upstream,
            supervisor: questions.clone(),
            sessions: Sessions::new(questions.clone()),
            judge: Judge::new(questions)
                .map_err(|source| GatewayError::System { step: "read random bytes", source })?,
            key: watch::Sender::new(KeyEpoch { number: 0, state: setup.key }),
            health: watch::Sender::new(Health::new(setup.comfyui, setup.wish)),
            history: Mutex::new(History::new()),
            restarts: Pace::default(),
            draining: watch::Sender::new(false),
            metrics: Metrics::new(),
            refusals: Refusals::default(),
            connections: AtomicUsize::new(0),
            anonymous_sockets: AtomicUsize::new(0),
            settings: ArcSwap::from_pointee(setup.settings),
        })
    }

    /// The last hour's figures, to be held for a moment only.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves new connections with another certificate; one that cannot be used leaves the old one in force.
    pub(crate) fn replace_identity(&self, identity: &TlsIdentity) {
        match tls::server_config(identity) {
            Ok(config) => {
                self.tls.store(Arc::new(config));
                tracing::info!("new connections get the new certificate");
            }
            Err(error) => tracing::error!(%error, "the new certificate cannot be used; the old one stays"),
        }
    }

    /// Another key: everything remembered is forgotten, and what rests on the old key ends.
    pub(crate) fn replace_key(&self, state: KeyState) {
        self.key.send_modify(|epoch| *epoch = KeyEpoch { number: epoch.number + 1, state });
        let number = self.key.borrow().number;
        self.judge.forget(number);
        self.sessions.forget(number);
    }
}
