//! What `/metrics` tells, in Prometheus' conventions: names with their unit, base units, counters that end in `_total`.
//!
//! What is counted while guests are served is here and in `counters`; what is known anyway (`page`, `gpu`, `overview`) is written down
//! when somebody asks. docs/metrics.md names every metric; a test holds it to this room.

mod counters;
mod gpu;
mod labels;
mod overview;
mod page;
#[cfg(test)]
mod tests;

use std::fmt;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
pub(crate) use prometheus_client::metrics::counter::Counter as ByteCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub(crate) use counters::{Counters, Histograms, Table};
pub(crate) use labels::{
    Class, Code, CredentialKind, Dialled, Handshake, Job, Label, Outcome, Resumed, Socket, TlsVersion,
};
pub(crate) use page::Page;

/// Time to the head of an answer: ComfyUI's own answers take milliseconds, a picture from a cold disk some seconds.
const ANSWER_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// A handshake: a millisecond of computing, and the guest's way here and back.
const HANDSHAKE_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A job: from a node that is cached to a film.
const JOB_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Everything that is counted while guests are served.
pub(crate) struct Metrics {
    registry: Registry,
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Handshakes by how they ended.
    pub(crate) handshakes: Counters<Handshake>,
    /// Seconds of those that ended well.
    pub(crate) handshake_seconds: Histogram,
    /// Connections by version of TLS, and whether a session was taken up again.
    pub(crate) tls: Table<TlsVersion, Resumed>,
    /// Requests by what they were about and the status of the answer.
    pub(crate) requests: Table<Class, Code>,
    /// Seconds to the head of the answer.
    pub(crate) answer_seconds: Histograms<Class>,
    /// Credentials that were judged.
    pub(crate) authentications: Table<CredentialKind, Outcome>,
    refusals: Family<[(&'static str, &'static str); 1], Counter>,
    /// WebSockets opened.
    pub(crate) sockets: Counters<Socket>,
    open_sockets: Vec<Gauge>,
    /// Bytes from guests, without TLS.
    pub(crate) received: Counter,
    /// Bytes to guests, without TLS.
    pub(crate) sent: Counter,
    /// Connections to ComfyUI.
    pub(crate) dialled: Counters<Dialled>,
    /// Prompts that guests have queued.
    pub(crate) queued: Counter,
    /// ComfyUI's jobs that have ended.
    pub(crate) jobs: Counters<Job>,
    /// Seconds that they ran.
    pub(crate) job_seconds: Histogram,
}

impl Metrics {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("comfy_guard");
        let r = &mut registry;
        let open_sockets = Family::<[(&'static str, &'static str); 1], Gauge>::default();
        let handles = |socket: &Socket| open_sockets.get_or_create_owned(&[(Socket::KEY, socket.word())]);
        let (any_pair, any_tls) = (|_, _| true, |_, _| true);
        Self {
            accepted: counter(r, "connections_accepted", "Connections from guests that were accepted"),
            handshakes: Counters::register(r, "handshakes", "TLS handshakes, by how they ended"),
            handshake_seconds: histogram(
                r,
                "handshake_seconds",
                "Time from the connection to the end of a TLS handshake that ended well",
                HANDSHAKE_SECONDS,
            ),
            tls: Table::register(r, "tls_connections", "Connections by TLS version and resumption", any_tls),
            requests: Table::register(
                r,
                "requests",
                "Requests, by what they were about and the answer's status",
                any_pair,
            ),
            answer_seconds: Histograms::register(
                r,
                "response_seconds",
                "Time from a request's head to its answer's head",
                ANSWER_SECONDS,
            ),
            authentications: Table::register(
                r,
                "authentications",
                "Credentials that were judged, by their form and what came of it",
                |form, outcome| (form == CredentialKind::None) == (outcome == Outcome::None),
            ),
            refusals: registered(r, "refusals", "Answers that refuse, by the error that they name", Family::default()),
            sockets: Counters::register(r, "websockets", "WebSockets that were opened"),
            open_sockets: {
                let handles = Socket::ALL.iter().map(handles).collect();
                r.register("websockets_open", "WebSockets that are open", open_sockets.clone());
                handles
            },
            received: counter(r, "received_bytes", "Bytes from guests inside TLS: heads, bodies and WebSockets"),
            sent: counter(r, "sent_bytes", "Bytes to guests inside TLS: heads, bodies and WebSockets"),
            dialled: Counters::register(
                r,
                "upstream_connections",
                "Connections to ComfyUI that guests' requests needed",
            ),
            queued: counter(r, "jobs_queued", "Prompts that ComfyUI took from guests of the guard"),
            jobs: Counters::register(r, "jobs", "Jobs of ComfyUI that have ended, by how"),
            job_seconds: histogram(r, "job_seconds", "Time that a job of ComfyUI ran", JOB_SECONDS),
            registry,
        }
    }

    /// An answer named this error. The words are those of the source: no guest can make one.
    pub(crate) fn refused(&self, error: &'static str) {
        self.refusals.get_or_create(&[("error", error)]).inc();
    }

    /// A WebSocket is open until what is given back is dropped.
    pub(crate) fn open_socket(&self, socket: Socket) -> OpenSocket {
        self.sockets.count(socket);
        let gauge = self.open_sockets.get(socket.place()).cloned().unwrap_or_default();
        gauge.inc();
        OpenSocket(gauge)
    }

    /// WebSockets that are open.
    pub(crate) fn sockets_open(&self) -> u64 {
        self.open_sockets.iter().map(|gauge| u64::try_from(gauge.get()).unwrap_or(0)).sum()
    }

    /// The whole text: what was counted, and what the page says.
    pub(crate) fn render(&self, format: Format, page: &Page) -> String {
        let mut text = String::with_capacity(32 * 1024);
        // A String takes everything, so there is no error to be lost.
        let written = match format {
            Format::Text => prometheus_text::encode(&mut text, &self.registry)
                .and_then(|()| prometheus_text::encode(&mut text, page.registry())),
            Format::OpenMetrics => {
                text::encode_registry(&mut text, &self.registry).and_then(|()| text::encode(&mut text, page.registry()))
            }
        };
        debug_assert!(written.is_ok());
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Counts a WebSocket as open for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenSocket(Gauge);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The form of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// What suits who sends this `Accept`: OpenMetrics only to those who name it.
    pub(crate) fn of(accept: &str) -> Self {
        let named =
            |range: &str| range.split(';').next().is_some_and(|kind| kind.trim() == "application/openmetrics-text");
        if accept.split(',').any(named) { Self::OpenMetrics } else { Self::Text }
    }

    /// Its `Content-Type`.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    registered(registry, name, help, Counter::default())
}

fn histogram(registry: &mut Registry, name: &str, help: &str, bounds: &'static [f64]) -> Histogram {
    registered(registry, name, help, Histogram::new(bounds.iter().copied()))
}

fn registered<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}
