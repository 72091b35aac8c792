//! The GPUs as the sensor read them last. What a GPU does not support has no series.

use std::time::SystemTime;

use super::page::{Labels, Page, since_1970, truth};
use crate::wire::gpu::{DriverFault, Gpu, GpuReading, Readings, Throttle};

/// More than any machine has; what a driver that was taken over says beyond is left out.
const MOST: usize = 64;
/// Instances that one GPU can be divided into, with room to spare.
const MOST_INSTANCES: usize = 16;

/// A figure of one GPU: its name, what it is, and how it is had.
type Figure = (&'static str, &'static str, fn(&Gpu) -> Option<f64>);
/// A figure that falls into several: its name, what it is, the label that tells them apart, and the values.
type Figures = (&'static str, &'static str, &'static str, Split);
type Split = fn(&Gpu) -> Vec<(&'static str, Option<f64>)>;

const GAUGES: &[Figure] = &[
    ("gpu_lost", "Whether the GPU fell off the bus", |gpu| Some(truth(gpu.lost))),
    ("gpu_memory_total_bytes", "Memory of the GPU", |gpu| gpu.memory.map(|memory| memory.total as f64)),
    ("gpu_memory_used_bytes", "Memory that is taken, by the driver too", |gpu| {
        gpu.memory.map(|memory| memory.used as f64)
    }),
    ("gpu_memory_free_bytes", "Memory that can still be had", |gpu| gpu.memory.map(|memory| memory.free as f64)),
    ("gpu_utilization_ratio", "Share of the last sample period in which a kernel ran", |gpu| {
        gpu.utilisation.map(share)
    }),
    ("gpu_memory_utilization_ratio", "Share of the last sample period in which memory was read or written", |gpu| {
        gpu.memory_utilisation.map(share)
    }),
    ("gpu_temperature_celsius", "Temperature of the GPU", |gpu| gpu.temperature.map(f64::from)),
    ("gpu_temperature_slowdown_celsius", "From here on the hardware slows down", |gpu| {
        gpu.slowdown_temperature.map(f64::from)
    }),
    ("gpu_temperature_shutdown_celsius", "From here on the GPU switches itself off", |gpu| {
        gpu.shutdown_temperature.map(f64::from)
    }),
    ("gpu_power_watts", "Power that is drawn", |gpu| gpu.power.map(watts)),
    ("gpu_power_limit_watts", "Power that may be drawn", |gpu| gpu.power_limit.map(watts)),
    ("gpu_hot", "Whether the clocks are held down because of heat", |gpu| gpu.hot.map(truth)),
    ("gpu_ecc_enabled", "Whether the memory is guarded by ECC", |gpu| gpu.ecc.map(truth)),
    ("gpu_retired_pages_pending", "Whether further pages wait for a reboot to be retired", |gpu| {
        gpu.retired_pages?.pending.map(truth)
    }),
    ("gpu_remapped_rows_pending", "Whether further rows wait for a reset to be remapped", |gpu| {
        gpu.remapped_rows?.pending.map(truth)
    }),
    ("gpu_row_remapping_failed", "Whether a row could not be remapped: the GPU is to be replaced", |gpu| {
        gpu.remapped_rows?.failed.map(truth)
    }),
    ("gpu_pcie_generation", "Generation of the PCI Express link now; that of an idle GPU may be low", |gpu| {
        gpu.pcie.generation.map(f64::from)
    }),
    ("gpu_pcie_generation_max", "The best generation that GPU and machine can do together", |gpu| {
        gpu.pcie.max_generation.map(f64::from)
    }),
    ("gpu_pcie_lanes", "Lanes of the PCI Express link now", |gpu| gpu.pcie.width.map(f64::from)),
    ("gpu_pcie_lanes_max", "The most lanes that GPU and machine can do together", |gpu| {
        gpu.pcie.max_width.map(f64::from)
    }),
    ("gpu_fan_speed_ratio", "Share of the first fan's full speed, as it is meant to turn", |gpu| gpu.fan.map(share)),
    ("gpu_performance_state", "From 0 (fastest) to 15 (slowest)", |gpu| gpu.performance_state.map(f64::from)),
    ("gpu_mig_enabled", "Whether the GPU is divided into instances", |gpu| gpu.mig.map(truth)),
    ("gpu_processes", "Processes that use the GPU", |gpu| Some(gpu.processes.len() as f64)),
    ("gpu_processes_memory_bytes", "Memory of these processes, where the driver tells", |gpu| {
        let told = gpu.processes.iter().filter_map(|process| process.memory);
        Some(told.sum::<u64>() as f64)
    }),
    ("gpu_last_xid", "Number of the last critical event (XID) that was heard", |gpu| {
        gpu.events.last().map(|event| event.xid as f64)
    }),
    ("gpu_last_xid_timestamp_seconds", "When it was heard", |gpu| gpu.events.last().map(|event| since_1970(event.at))),
];

const SPLIT_GAUGES: &[Figures] = &[
    ("gpu_clock_hertz", "How fast the parts of the GPU run", "clock", |gpu| {
        let hertz = |megahertz: Option<u32>| megahertz.map(|megahertz| f64::from(megahertz) * 1e6);
        let clocks = &gpu.clocks;
        vec![("graphics", hertz(clocks.graphics)), ("sm", hertz(clocks.sm)), ("memory", hertz(clocks.memory))]
    }),
    ("gpu_throttled", "Whether this holds the clocks down", "reason", |gpu| {
        let Some(reasons) = &gpu.throttle else { return Vec::new() };
        REASONS.iter().map(|(reason, word)| (*word, Some(truth(reasons.contains(reason))))).collect()
    }),
    ("gpu_retired_pages", "Pages of memory that were taken out of use", "cause", |gpu| {
        let Some(pages) = gpu.retired_pages else { return Vec::new() };
        vec![("single_bit", pages.single_bit.map(number)), ("double_bit", pages.double_bit.map(number))]
    }),
    ("gpu_remapped_rows", "Rows of memory that spare ones stand in for", "cause", |gpu| {
        let Some(rows) = gpu.remapped_rows else { return Vec::new() };
        vec![("corrected", rows.corrected.map(number)), ("uncorrected", rows.uncorrected.map(number))]
    }),
];

const SPLIT_COUNTERS: &[Figures] =
    &[("gpu_memory_errors", "Memory errors since the driver was loaded", "kind", |gpu| {
        vec![("corrected", gpu.corrected_errors.map(number)), ("uncorrected", gpu.uncorrected_errors.map(number))]
    })];

/// Why clocks are held down; heat and power are what a person can do something about.
const REASONS: [(Throttle, &str); 9] = [
    (Throttle::Idle, "idle"),
    (Throttle::ApplicationsClocks, "applications_clocks"),
    (Throttle::SwPowerCap, "sw_power_cap"),
    (Throttle::HwSlowdown, "hw_slowdown"),
    (Throttle::SyncBoost, "sync_boost"),
    (Throttle::SwThermal, "sw_thermal"),
    (Throttle::HwThermal, "hw_thermal"),
    (Throttle::HwPowerBrake, "hw_power_brake"),
    (Throttle::Display, "display"),
];

const STATES: [&str; 6] = ["unknown", "absent", "read", "driver_mismatch", "hung", "failed"];

impl Page {
    /// All that a reading says.
    pub(crate) fn gpus(&mut self, reading: &GpuReading, now: SystemTime) {
        self.states("gpu_reading", "What is known of the GPUs: the state that is 1", &STATES, state(reading));
        let GpuReading::Read(readings) = reading else { return };
        self.driver(readings, now);
        let gpus = || readings.gpus.iter().take(MOST);
        let named = gpus().map(|gpu| {
            let mut labels = labels(gpu);
            labels.push(("name", gpu.name.clone().unwrap_or_default()));
            labels.push(("pci", gpu.pci.clone().unwrap_or_default()));
            (labels, 1.0)
        });
        self.gauges("gpu_info", "A GPU's name and place", named);
        for (name, help, figure) in GAUGES {
            self.gauges(name, help, gpus().filter_map(|gpu| Some((labels(gpu), figure(gpu)?))));
        }
        for (name, help, key, figures) in SPLIT_GAUGES {
            self.gauges(name, help, gpus().flat_map(|gpu| split(gpu, key, *figures)));
        }
        for (name, help, key, figures) in SPLIT_COUNTERS {
            self.counts(name, help, gpus().flat_map(|gpu| split(gpu, key, *figures)));
        }
        self.instances(readings);
    }

    fn driver(&mut self, readings: &Readings, now: SystemTime) {
        let cuda = readings.cuda.map(|(major, minor)| format!("{major}.{minor}")).unwrap_or_default();
        let driver = readings.driver.clone().unwrap_or_default();
        let labels = [("driver", driver), ("cuda", cuda)];
        self.info("gpu_driver_info", "The driver's version and the newest CUDA that it speaks", labels);
        let age = now.duration_since(readings.at).unwrap_or_default();
        self.gauge("gpu_reading_age_seconds", "Time since the driver was read", age.as_secs_f64());
    }

    /// The parts of a divided GPU, each a device of its own to CUDA.
    fn instances(&mut self, readings: &Readings) {
        let instances = || {
            readings.gpus.iter().take(MOST).flat_map(|gpu| {
                gpu.mig_devices.iter().take(MOST_INSTANCES).map(move |instance| {
                    let mut labels = labels(gpu);
                    labels.push(("instance", instance.index.to_string()));
                    labels.push(("instance_uuid", instance.uuid.clone().unwrap_or_default()));
                    (labels, instance.memory)
                })
            })
        };
        let total = instances().filter_map(|(labels, memory)| Some((labels, memory?.total as f64)));
        self.gauges("gpu_instance_memory_total_bytes", "Memory of a part of a divided GPU", total);
        let used = instances().filter_map(|(labels, memory)| Some((labels, memory?.used as f64)));
        self.gauges("gpu_instance_memory_used_bytes", "Memory of it that is taken", used);
    }
}

fn split(gpu: &Gpu, key: &'static str, figures: Split) -> impl Iterator<Item = (Labels, f64)> {
    figures(gpu).into_iter().filter_map(move |(word, value)| {
        let mut labels = labels(gpu);
        labels.push((key, word.to_owned()));
        Some((labels, value?))
    })
}

fn state(reading: &GpuReading) -> &'static str {
    match reading {
        GpuReading::Unknown => "unknown",
        GpuReading::Absent(_) => "absent",
        GpuReading::Read(_) => "read",
        GpuReading::Failed { fault: DriverFault::Mismatch, .. } => "driver_mismatch",
        GpuReading::Failed { fault: DriverFault::Hung, .. } => "hung",
        GpuReading::Failed { fault: DriverFault::Other, .. } => "failed",
    }
}

fn labels(gpu: &Gpu) -> Labels {
    vec![("gpu", gpu.index.to_string()), ("uuid", gpu.uuid.clone().unwrap_or_default())]
}

fn watts(milliwatts: u32) -> f64 {
    f64::from(milliwatts) / 1000.0
}

fn share(percent: u32) -> f64 {
    f64::from(percent) / 100.0
}

fn number(count: u64) -> f64 {
    count as f64
}
