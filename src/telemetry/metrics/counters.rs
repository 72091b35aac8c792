//! Counters and histograms by label, their handles resolved when they are made: counting is one addition, and allocates nothing.

use std::marker::PhantomData;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::Label;

type Pair = (&'static str, &'static str);

/// A counter for each value of a label.
#[derive(Debug)]
pub(crate) struct Counters<L> {
    counters: Vec<Counter>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    /// All at zero. The name is without `_total`.
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::<[Pair; 1], Counter>::default();
        let counters = L::ALL.iter().map(|value| family.get_or_create_owned(&[pair(*value)])).collect();
        registry.register(name, help, family);
        Self { counters, label: PhantomData }
    }

    /// One more.
    pub(crate) fn count(&self, value: L) {
        self.add(value, 1);
    }

    /// So many more.
    pub(crate) fn add(&self, value: L, more: u64) {
        if let Some(counter) = self.counters.get(value.place()) {
            counter.inc_by(more);
        }
    }

    /// How many so far.
    pub(crate) fn get(&self, value: L) -> u64 {
        self.counters.get(value.place()).map_or(0, Counter::get)
    }
}

/// A counter for each pair of two labels' values.
#[derive(Debug)]
pub(crate) struct Table<A, B> {
    counters: Vec<Counter>,
    labels: PhantomData<(A, B)>,
}

impl<A: Label, B: Label> Table<A, B> {
    /// All at zero, but for the pairs that `cannot_be`, which have none. The name is without `_total`.
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str, can_be: fn(A, B) -> bool) -> Self {
        let family = Family::<[Pair; 2], Counter>::default();
        let pairs = A::ALL.iter().flat_map(|a| B::ALL.iter().map(move |b| (*a, *b)));
        let counters = pairs
            .map(
                |(a, b)| {
                    if can_be(a, b) { family.get_or_create_owned(&[pair(a), pair(b)]) } else { Counter::default() }
                },
            )
            .collect();
        registry.register(name, help, family);
        Self { counters, labels: PhantomData }
    }

    /// One more.
    pub(crate) fn count(&self, a: A, b: B) {
        if let Some(counter) = self.counters.get(a.place() * B::ALL.len() + b.place()) {
            counter.inc();
        }
    }
}

/// A histogram of seconds for each value of a label.
#[derive(Debug)]
pub(crate) struct Histograms<L> {
    histograms: Vec<Histogram>,
    label: PhantomData<L>,
}

impl<L: Label> Histograms<L> {
    /// All empty. `bounds`: the upper ends of the buckets, in seconds.
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str, bounds: &'static [f64]) -> Self {
        let make = move || Histogram::new(bounds.iter().copied());
        let family = Family::<[Pair; 1], Histogram, _>::new_with_constructor(make);
        let histograms = L::ALL.iter().map(|value| family.get_or_create_owned(&[pair(*value)])).collect();
        registry.register(name, help, family);
        Self { histograms, label: PhantomData }
    }

    /// It took so many seconds.
    pub(crate) fn observe(&self, value: L, seconds: f64) {
        if let Some(histogram) = self.histograms.get(value.place()) {
            histogram.observe(seconds);
        }
    }
}

fn pair<L: Label>(value: L) -> Pair {
    (L::KEY, value.word())
}
