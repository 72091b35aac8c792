//! What the sensor reads of the GPUs, each figure in its unit. What a GPU does not support is `None`, never zero.

use serde::{Deserialize, Serialize};

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
    /// The driver's version.
    pub(crate) driver: Option<String>,
    /// The newest CUDA that it speaks, as major and minor.
    pub(crate) cuda: Option<(i32, i32)>,
    /// The devices in the driver's order.
    pub(crate) gpus: Vec<Gpu>,
}

/// One device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gpu {
    /// Its number in the driver's order, which is that of the PCI bus.
    pub(crate) index: u32,
    /// It fell off the bus: what else stands here is what was read last, or nothing.
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
    /// Degrees Celsius.
    pub(crate) temperature: Option<u32>,
    /// Milliwatts drawn.
    pub(crate) power: Option<u32>,
    /// Milliwatts that it may draw.
    pub(crate) power_limit: Option<u32>,
    /// Whether its clocks are held down because of heat.
    pub(crate) hot: Option<bool>,
    /// Memory errors that could not be corrected, since the driver was loaded.
    pub(crate) uncorrected_errors: Option<u64>,
    /// Who uses it.
    pub(crate) processes: Vec<GpuProcess>,
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

/// A process that uses a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GpuProcess {
    /// Its id.
    pub(crate) pid: u32,
    /// Bytes of the device's memory that it has, where the driver tells.
    pub(crate) memory: Option<u64>,
}
