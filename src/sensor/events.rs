//! What was heard of the devices' critical events, for whoever reads next.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::wire::gpu::{GpuEvent, GpuReading, MOST_EVENTS};

/// The last events of each device that can be heard.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<BTreeMap<u32, Vec<GpuEvent>>>);

impl Heard {
    /// The events of device `index` are heard from now on.
    pub(super) fn listening(&self, index: u32) {
        self.events().entry(index).or_default();
    }

    /// The device had one.
    pub(super) fn note(&self, index: u32, xid: u64, at: SystemTime) {
        let mut events = self.events();
        let of_device = events.entry(index).or_default();
        of_device.push(GpuEvent { xid, at });
        let forgotten = of_device.len().saturating_sub(MOST_EVENTS);
        of_device.drain(..forgotten);
    }

    /// Adds what was heard to a reading.
    pub(super) fn tell(&self, reading: &mut GpuReading) {
        let GpuReading::Read(readings) = reading else { return };
        let events = self.events();
        for gpu in &mut readings.gpus {
            let of_device = events.get(&gpu.index);
            gpu.hears_events = of_device.is_some();
            gpu.events = of_device.cloned().unwrap_or_default();
        }
    }

    fn events(&self) -> MutexGuard<'_, BTreeMap<u32, Vec<GpuEvent>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::wire::gpu::{Gpu, Readings};

    #[test]
    fn a_device_keeps_its_last_events_and_one_that_cannot_be_heard_says_so() {
        let heard = Heard::default();
        heard.listening(0);
        for xid in 0..20 {
            heard.note(1, xid, SystemTime::UNIX_EPOCH);
        }
        let gpus = (0..3).map(|index| Gpu { index, ..Gpu::default() }).collect();
        let mut reading = GpuReading::Read(Readings { gpus, ..Readings::default() });
        heard.tell(&mut reading);
        let GpuReading::Read(Readings { gpus, .. }) = reading else { panic!("another reading") };
        assert!(gpus[0].hears_events && gpus[0].events.is_empty());
        assert_eq!(gpus[1].events.iter().map(|event| event.xid).collect::<Vec<_>>(), (4..20).collect::<Vec<_>>());
        assert!(!gpus[2].hears_events);
    }
}
