//! How much of a reading is told: the driver's library is not believed, and a message has to fit its packet with room for others.
//!
//! Held twice: in the sensor, so that its message can be sent, and in the supervisor, because a sensor that was taken over could fill
//! what the next gateway is started with.

use super::{Gpu, GpuReading, MigDevice};
use crate::wire::line::printable;

/// Devices. The largest boards have 16.
pub(crate) const MOST_GPUS: usize = 32;
/// Critical events of one device; older ones are forgotten.
pub(crate) const MOST_EVENTS: usize = 16;
/// Reasons for slow clocks: as many as there are.
const MOST_THROTTLES: usize = 9;
/// Processes of one device, and of all.
const MOST_PROCESSES: (usize, usize) = (64, 256);
/// Instances of one device (the hardware makes 7 at the most), and of all.
const MOST_MIG_DEVICES: (usize, usize) = (8, 64);
/// A text of the driver's, in bytes. A UUID in the long form of old drivers has 51.
const LONGEST_TEXT: usize = 64;
/// What went wrong, in the driver's words, in bytes.
const LONGEST_REASON: usize = 512;

impl GpuReading {
    /// The same, within bounds and without control characters.
    pub(crate) fn bounded(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Absent(why) => Self::Absent(text(&why, LONGEST_REASON)),
            Self::Failed { fault, why } => Self::Failed { fault, why: text(&why, LONGEST_REASON) },
            Self::Read(mut readings) => {
                readings.driver = short(readings.driver);
                readings.gpus.truncate(MOST_GPUS);
                let (mut processes, mut instances) = (MOST_PROCESSES.1, MOST_MIG_DEVICES.1);
                for gpu in &mut readings.gpus {
                    bound(gpu);
                    gpu.processes.truncate(MOST_PROCESSES.0.min(processes));
                    processes -= gpu.processes.len();
                    gpu.mig_devices.truncate(MOST_MIG_DEVICES.0.min(instances));
                    instances -= gpu.mig_devices.len();
                }
                Self::Read(readings)
            }
        }
    }
}

fn bound(gpu: &mut Gpu) {
    gpu.name = short(gpu.name.take());
    gpu.uuid = short(gpu.uuid.take());
    gpu.pci = short(gpu.pci.take());
    if let Some(reasons) = &mut gpu.throttle {
        reasons.truncate(MOST_THROTTLES);
    }
    // The newest are at the end.
    let forgotten = gpu.events.len().saturating_sub(MOST_EVENTS);
    gpu.events.drain(..forgotten);
    for MigDevice { uuid, name, .. } in &mut gpu.mig_devices {
        *uuid = short(uuid.take());
        *name = short(name.take());
    }
}

fn short(told: Option<String>) -> Option<String> {
    told.map(|told| text(&told, LONGEST_TEXT))
}

/// At most `longest` bytes, printable.
fn text(told: &str, longest: usize) -> String {
    let mut safe = printable(told);
    let end = (0..=longest.min(safe.len())).rev().find(|end| safe.is_char_boundary(*end));
    safe.truncate(end.unwrap_or(0));
    safe
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::wire::channel::MAX_MESSAGE;
    use crate::wire::gpu::{
        Clocks, ComputeMode, GpuEvent, GpuMemory, GpuProcess, PcieLink, Readings, RemappedRows, RetiredPages, Throttle,
    };
    use crate::wire::message::FromSensor;
    use std::time::{Duration, SystemTime};

    const MEMORY: GpuMemory = GpuMemory { total: u64::MAX, used: u64::MAX, free: u64::MAX };
    const COUNT: Option<u64> = Some(u64::MAX);
    const FIGURE: Option<u32> = Some(u32::MAX);

    /// A device of which a hostile library says as much as it can.
    fn boundless() -> Gpu {
        let long = || Some("\u{1b}ö".repeat(500));
        let at = SystemTime::UNIX_EPOCH + Duration::new(u64::from(u32::MAX), 999_999_999);
        Gpu {
            index: u32::MAX,
            lost: true,
            name: long(),
            uuid: long(),
            pci: long(),
            memory: Some(MEMORY),
            utilisation: FIGURE,
            memory_utilisation: FIGURE,
            temperature: FIGURE,
            slowdown_temperature: FIGURE,
            shutdown_temperature: FIGURE,
            power: FIGURE,
            power_limit: FIGURE,
            clocks: Clocks { graphics: FIGURE, sm: FIGURE, memory: FIGURE },
            throttle: Some(vec![Throttle::Display; 500]),
            hot: Some(true),
            ecc: Some(true),
            corrected_errors: COUNT,
            uncorrected_errors: COUNT,
            retired_pages: Some(RetiredPages { single_bit: COUNT, double_bit: COUNT, pending: Some(true) }),
            remapped_rows: Some(RemappedRows {
                corrected: COUNT,
                uncorrected: COUNT,
                pending: Some(true),
                failed: Some(true),
            }),
            pcie: PcieLink { generation: FIGURE, width: FIGURE, max_generation: FIGURE, max_width: FIGURE },
            fan: FIGURE,
            performance_state: FIGURE,
            compute_mode: Some(ComputeMode::Prohibited),
            mig: Some(true),
            mig_devices: vec![MigDevice { index: u32::MAX, uuid: long(), name: long(), memory: Some(MEMORY) }; 100],
            processes: vec![GpuProcess { pid: u32::MAX, memory: COUNT, mig_device: FIGURE }; 500],
            hears_events: true,
            events: (0..100).map(|xid| GpuEvent { xid: u64::MAX - xid, at }).collect(),
        }
    }

    #[test]
    fn the_largest_reading_leaves_a_quarter_of_its_message_free() {
        let readings = Readings { driver: Some("9".repeat(500)), gpus: vec![boundless(); 100], ..Readings::default() };
        let GpuReading::Read(bounded) = GpuReading::Read(readings).bounded() else { panic!("another reading") };
        assert_eq!(bounded.gpus.len(), MOST_GPUS);
        assert_eq!(bounded.gpus.iter().map(|gpu| gpu.processes.len()).sum::<usize>(), MOST_PROCESSES.1);
        assert_eq!(bounded.gpus.iter().map(|gpu| gpu.mig_devices.len()).sum::<usize>(), MOST_MIG_DEVICES.1);
        let size = postcard::to_stdvec(&FromSensor::Reading(GpuReading::Read(bounded))).unwrap().len();
        assert!(size < MAX_MESSAGE * 3 / 4, "{size}");
    }

    #[test]
    fn the_newest_events_are_kept_and_texts_are_printable() {
        let GpuReading::Read(bounded) =
            GpuReading::Read(Readings { gpus: vec![boundless()], ..Readings::default() }).bounded()
        else {
            panic!("another reading")
        };
        let gpu = bounded.gpus.first().unwrap();
        assert_eq!(gpu.events.len(), MOST_EVENTS);
        assert_eq!(gpu.events.last().unwrap().xid, u64::MAX - 99);
        let name = gpu.name.as_deref().unwrap();
        assert!(name.len() <= LONGEST_TEXT && !name.chars().any(char::is_control), "{name}");
    }

    #[test]
    fn what_is_within_bounds_stays_as_it_is() {
        let mut gpu = boundless();
        (gpu.name, gpu.uuid, gpu.pci) = (Some("NVIDIA T4".to_owned()), None, None);
        gpu.throttle = Some(Vec::new());
        gpu.mig_devices.clear();
        gpu.processes.truncate(3);
        gpu.events.truncate(2);
        let reading = GpuReading::Read(Readings { gpus: vec![gpu], ..Readings::default() });
        assert_eq!(reading.clone().bounded(), reading);
        let absent = GpuReading::Absent("no library".to_owned());
        assert_eq!(absent.clone().bounded(), absent);
    }
}
