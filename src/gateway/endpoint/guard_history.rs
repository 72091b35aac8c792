//! The last hour's figures for the plots of the status page: a point a second for a minute, one in ten seconds before that.
//!
//! Kept in the gateway alone, in rings that do not grow; it is empty after the gateway was started anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::gateway::shared::Shared;
use crate::telemetry::status::seconds;
use crate::wire::gpu::{Gpu, GpuReading};
use crate::wire::message::Answering;

const SECOND: Duration = Duration::from_secs(1);
/// Points of a second each.
const MINUTE: usize = 60;
/// Seconds that one point of the hour stands for.
const STEP: usize = 10;
const HOUR: usize = 3600 / STEP;
/// GPUs that are followed; a box with more has a monitoring of its own.
const MOST_GPUS: usize = 16;

/// The rings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct History {
    /// Since when points are kept, in seconds since 1970: before that nothing is known.
    since: f64,
    /// The last hour, the oldest first.
    hour: VecDeque<Point>,
    /// The last minute, the oldest first.
    minute: VecDeque<Point>,
    #[serde(skip)]
    noted: usize,
}

/// The figures of a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Seconds since 1970.
    at: f64,
    /// Prompts that wait or run; none while ComfyUI does not say.
    queue: Option<u64>,
    /// The GPUs; empty while the driver does not say.
    gpus: Vec<GpuPoint>,
}

/// The figures of a GPU; what it does not support is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct GpuPoint {
    /// Its number in the driver's order.
    index: u32,
    memory_used: Option<u64>,
    utilisation_percent: Option<u32>,
    temperature_celsius: Option<u32>,
}

/// Notes a point each second, for as long as the gateway runs.
pub(crate) fn start(shared: Arc<Shared>) {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(SECOND);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            let point = now(&shared);
            shared.history().note(point);
        }
    });
}

fn now(shared: &Shared) -> Point {
    let health = shared.health.borrow();
    let gpus = match &health.gpu {
        GpuReading::Read(readings) => {
            readings.gpus.iter().filter(|gpu| !gpu.lost).take(MOST_GPUS).map(of_gpu).collect()
        }
        _ => Vec::new(),
    };
    Point {
        at: seconds(SystemTime::now()),
        queue: (health.answering == Answering::Yes).then_some(health.remaining),
        gpus,
    }
}

fn of_gpu(gpu: &Gpu) -> GpuPoint {
    GpuPoint {
        index: gpu.index,
        memory_used: gpu.memory.map(|memory| memory.used),
        utilisation_percent: gpu.utilisation,
        temperature_celsius: gpu.temperature,
    }
}

impl History {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { since: seconds(SystemTime::now()), hour: VecDeque::new(), minute: VecDeque::new(), noted: 0 }
    }

    fn note(&mut self, point: Point) {
        push(&mut self.minute, point, MINUTE);
        self.noted += 1;
        if self.noted.is_multiple_of(STEP)
            && let Some(point) = folded(self.minute.iter().rev().take(STEP))
        {
            push(&mut self.hour, point, HOUR);
        }
    }
}

fn push(ring: &mut VecDeque<Point>, point: Point, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(point);
}

/// One point for several, the newest first: its time is theirs, load is their mean, and of all else the highest counts, as a peak is
/// what somebody looks for in a plot.
fn folded<'a>(points: impl Iterator<Item = &'a Point> + Clone) -> Option<Point> {
    let newest = points.clone().next()?;
    let gpus = newest.gpus.iter().map(|gpu| {
        let same = points.clone().flat_map(|point| &point.gpus).filter(|one| one.index == gpu.index);
        let loads: Vec<u32> = same.clone().filter_map(|one| one.utilisation_percent).collect();
        GpuPoint {
            index: gpu.index,
            memory_used: same.clone().filter_map(|one| one.memory_used).max(),
            utilisation_percent: loads.iter().sum::<u32>().checked_div(loads.len() as u32),
            temperature_celsius: same.filter_map(|one| one.temperature_celsius).max(),
        }
    });
    let gpus = gpus.collect();
    Some(Point { at: newest.at, queue: points.filter_map(|point| point.queue).max(), gpus })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(second: u32) -> Point {
        let gpu = |index| GpuPoint {
            index,
            memory_used: Some(u64::from(second)),
            utilisation_percent: (index == 0).then_some(second % 10),
            temperature_celsius: Some(40 + second % 10),
        };
        Point { at: f64::from(second), queue: Some(u64::from(second % 7)), gpus: vec![gpu(0), gpu(3)] }
    }

    fn after(seconds: u32) -> History {
        let mut history = History::new();
        (0..seconds).for_each(|second| history.note(point(second)));
        history
    }

    #[test]
    fn an_hour_in_steps_and_a_minute_in_seconds_are_kept_and_no_more() {
        let history = after(10_000);
        assert_eq!((history.hour.len(), history.minute.len()), (360, 60));
        let ends = |ring: &VecDeque<Point>| (ring.front().unwrap().at, ring.back().unwrap().at);
        assert_eq!(ends(&history.hour), (6409.0, 9999.0));
        assert_eq!(ends(&history.minute), (9940.0, 9999.0));
        assert_eq!((after(9).hour.len(), after(10).hour.len()), (0, 1));
    }

    #[test]
    fn a_point_of_the_hour_is_the_mean_of_the_load_and_the_peak_of_the_rest() {
        let history = after(20);
        let last = history.hour.back().unwrap();
        assert_eq!((last.at, last.queue), (19.0, Some(6)));
        let expected = |index, utilisation_percent| GpuPoint {
            index,
            memory_used: Some(19),
            utilisation_percent,
            temperature_celsius: Some(49),
        };
        assert_eq!(last.gpus, [expected(0, Some(4)), expected(3, None)], "what is not supported stays none");
    }

    #[test]
    fn what_was_not_known_is_a_gap() {
        let mut history = History::new();
        (0..10).for_each(|second| history.note(Point { at: f64::from(second), queue: None, gpus: Vec::new() }));
        assert_eq!(history.hour.back().unwrap(), &Point { at: 9.0, queue: None, gpus: Vec::new() });
    }

    #[test]
    fn the_largest_history_is_of_a_bearable_size() {
        let mut history = History::new();
        let gpu = GpuPoint {
            index: 15,
            memory_used: Some(u64::MAX),
            utilisation_percent: Some(100),
            temperature_celsius: Some(100),
        };
        for _ in 0..4000 {
            history.note(Point { at: 1_764_000_000.123, queue: Some(u64::MAX), gpus: vec![gpu; MOST_GPUS] });
        }
        assert!(serde_json::to_string(&history).unwrap().len() < 1 << 20);
    }
}
