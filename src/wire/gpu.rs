//! What the sensor reads of the GPUs, each figure in its unit. What a GPU does not support is `None`, never zero.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

mod bounds;

pub(crate) use bounds::{MOST_EVENTS, MOST_GPUS};

/// What the sensor knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum GpuReading {
    /// Not read yet.
    Unknown,
    /// This machine has no NVIDIA library, no driver or no device.
    Absent(String),
    /// There is a driver, and it cannot be asked.
    Failed {
        /// What is wrong with it.
        fault: DriverFault,
        /// In the driver's words.
        why: String,
    },
    /// What there is.
    Read(Readings),
}

/// Why a driver cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DriverFault {
    /// The library and the kernel's driver are of different versions: an update without a reboot.
    Mismatch,
    /// A call has not come back.
    Hung,
    /// Anything else.
    Other,
}

/// One look at the driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Readings {
    /// When it was looked.
    pub(crate) at: SystemTime,
    /// The driver's version.
    pub(crate) driver: Option<String>,
    /// The newest CUDA that it speaks, as major and minor.
    pub(crate) cuda: Option<(i32, i32)>,
    /// The devices in the driver's order.
    pub(crate) gpus: Vec<Gpu>,
}

impl Default for Readings {
    fn default() -> Self {
        Self { at: SystemTime::UNIX_EPOCH, driver: None, cuda: None, gpus: Vec::new() }
    }
}

/// One device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gpu {
    /// Its number in the driver's order, which is that of the PCI bus.
    pub(crate) index: u32,
    /// It fell off the bus: of what else stands here, only its name, UUID and address are known, from when it was there.
    pub(crate) lost: bool,
    /// For people: `NVIDIA H100 80GB HBM3`.
    pub(crate) name: Option<String>,
    /// `GPU-…`, the same over reboots.
    pub(crate) uuid: Option<String>,
    /// Domain, bus and device: `00000000:01:00.0`.
    pub(crate) pci: Option<String>,
    /// Its memory.
    pub(crate) memory: Option<GpuMemory>,
    /// Share of the last sample period in which a kernel ran, in percent.
    pub(crate) utilisation: Option<u32>,
    /// Share of the last sample period in which its memory was read or written, in percent.
    pub(crate) memory_utilisation: Option<u32>,
    /// Degrees Celsius.
    pub(crate) temperature: Option<u32>,
    /// From so many degrees Celsius on the hardware slows it down.
    pub(crate) slowdown_temperature: Option<u32>,
    /// From so many degrees Celsius on it switches itself off.
    pub(crate) shutdown_temperature: Option<u32>,
    /// Milliwatts drawn.
    pub(crate) power: Option<u32>,
    /// Milliwatts that it may draw.
    pub(crate) power_limit: Option<u32>,
    /// How fast it runs.
    pub(crate) clocks: Clocks,
    /// Why it does not run faster; empty: nothing holds it.
    pub(crate) throttle: Option<Vec<Throttle>>,
    /// Whether its clocks are held down because of heat.
    pub(crate) hot: Option<bool>,
    /// Whether its memory is guarded by ECC.
    pub(crate) ecc: Option<bool>,
    /// Memory errors that were corrected, since the driver was loaded.
    pub(crate) corrected_errors: Option<u64>,
    /// Memory errors that could not be corrected, since the driver was loaded.
    pub(crate) uncorrected_errors: Option<u64>,
    /// Pages of its memory that were taken out of use (before Ampere).
    pub(crate) retired_pages: Option<RetiredPages>,
    /// Rows of its memory that others stand in for (from Ampere on).
    pub(crate) remapped_rows: Option<RemappedRows>,
    /// Its link to the processor.
    pub(crate) pcie: PcieLink,
    /// Percent of the first fan's full speed, as it is meant to turn.
    pub(crate) fan: Option<u32>,
    /// 0 (fastest) to 15 (slowest).
    pub(crate) performance_state: Option<u32>,
    /// Who may compute on it.
    pub(crate) compute_mode: Option<ComputeMode>,
    /// Whether it is divided into instances (MIG).
    pub(crate) mig: Option<bool>,
    /// Those instances.
    pub(crate) mig_devices: Vec<MigDevice>,
    /// Who computes on it, as far as the driver says.
    pub(crate) processes: Vec<GpuProcess>,
    /// Whether the driver tells its critical events.
    pub(crate) hears_events: bool,
    /// The last of them, the oldest first.
    pub(crate) events: Vec<GpuEvent>,
}

/// Bytes of a device's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GpuMemory {
    /// All of it.
    pub(crate) total: u64,
    /// Taken, by the driver too.
    pub(crate) used: u64,
    /// What can still be had.
    pub(crate) free: u64,
}

/// Frequencies in MHz.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clocks {
    /// Of the graphics part.
    pub(crate) graphics: Option<u32>,
    /// Of the multiprocessors.
    pub(crate) sm: Option<u32>,
    /// Of the memory.
    pub(crate) memory: Option<u32>,
}

/// What holds a device's clocks down (NVML API Reference, "Clocks Event Reasons").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Throttle {
    /// It has nothing to do.
    Idle,
    /// Somebody set them so.
    ApplicationsClocks,
    /// The power limit.
    SwPowerCap,
    /// The hardware halves them or worse: heat, or power.
    HwSlowdown,
    /// Another GPU of its group.
    SyncBoost,
    /// The driver, because of heat.
    SwThermal,
    /// The hardware, because of heat.
    HwThermal,
    /// The power supply says so.
    HwPowerBrake,
    /// The display's clock.
    Display,
}

/// Pages of memory that are no longer used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetiredPages {
    /// After errors of one bit.
    pub(crate) single_bit: Option<u64>,
    /// After errors of two.
    pub(crate) double_bit: Option<u64>,
    /// Whether more of them wait for a reboot.
    pub(crate) pending: Option<bool>,
}

/// Rows of memory that spare ones stand in for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemappedRows {
    /// After errors that were corrected.
    pub(crate) corrected: Option<u64>,
    /// After errors that were not.
    pub(crate) uncorrected: Option<u64>,
    /// Whether more of them wait for a reset.
    pub(crate) pending: Option<bool>,
    /// Whether a row could not be remapped: the device is to be replaced.
    pub(crate) failed: Option<bool>,
}

/// A PCI Express link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PcieLink {
    /// Its generation now; an idle one may be slow.
    pub(crate) generation: Option<u32>,
    /// Lanes now.
    pub(crate) width: Option<u32>,
    /// The best that device and machine can do together.
    pub(crate) max_generation: Option<u32>,
    /// As many lanes.
    pub(crate) max_width: Option<u32>,
}

/// Who may compute on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ComputeMode {
    /// Everybody.
    Shared,
    /// One thread.
    ExclusiveThread,
    /// One process.
    ExclusiveProcess,
    /// Nobody.
    Prohibited,
}

/// An instance of a divided device, which is to CUDA a device of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MigDevice {
    /// Its number among its GPU's.
    pub(crate) index: u32,
    /// `MIG-…`
    pub(crate) uuid: Option<String>,
    /// For people: `NVIDIA H100 80GB HBM3 MIG 1g.10gb`.
    pub(crate) name: Option<String>,
    /// Its memory.
    pub(crate) memory: Option<GpuMemory>,
}

/// A process that uses a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GpuProcess {
    /// Its id.
    pub(crate) pid: u32,
    /// Bytes of the device's memory that it has, where the driver tells.
    pub(crate) memory: Option<u64>,
    /// On which of the device's instances.
    pub(crate) mig_device: Option<u32>,
}

/// A critical event (XID) of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GpuEvent {
    /// Its number in NVIDIA's list of XID errors.
    pub(crate) xid: u64,
    /// When it was heard of.
    pub(crate) at: SystemTime,
}
