//! What is not counted but known, written down when somebody asks.

use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Names and values of labels.
pub(super) type Labels = Vec<(&'static str, String)>;

type Float = std::sync::atomic::AtomicU64;

/// One scrape's worth of facts.
#[derive(Debug)]
pub(crate) struct Page(Registry);

impl Page {
    /// Says nothing yet.
    pub(crate) fn new() -> Self {
        Self(Registry::with_prefix("comfy_guard"))
    }

    /// One number; none where it is not known, and then there is no series.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) {
        self.gauges(name, help, value.into().map(|value| (Vec::new(), value)));
    }

    /// What is said in labels: the number is 1.
    pub(crate) fn info<const N: usize>(&mut self, name: &str, help: &str, labels: [(&'static str, String); N]) {
        self.gauges(name, help, [(Vec::from(labels), 1.0)]);
    }

    /// A point in time, in seconds since 1970.
    pub(crate) fn time(&mut self, name: &str, help: &str, at: impl Into<Option<SystemTime>>) {
        self.gauge(name, help, at.into().map(since_1970));
    }

    /// One of these words is 1, the others 0.
    pub(super) fn states(&mut self, name: &str, help: &str, words: &[&str], now: &str) {
        let states = words.iter().map(|word| (vec![("state", (*word).to_owned())], truth(*word == now)));
        self.gauges(name, help, states);
    }

    /// A number for each set of labels.
    pub(super) fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, Float>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    /// A count that somebody else keeps, for each set of labels. The name is without `_total`.
    pub(super) fn counts(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Counter<f64, Float>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    /// As [`Page::counts`], of one that has no labels.
    pub(super) fn count(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) {
        self.counts(name, help, value.into().map(|value| (Vec::new(), value)));
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0
    }
}

/// 1 for what is so.
pub(super) fn truth(so: bool) -> f64 {
    f64::from(u8::from(so))
}

/// Seconds.
pub(super) fn since_1970(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
