//! The driver's library (NVML): the only file that calls it. Reads; changes nothing.

use std::path::Path;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};

use crate::wire::gpu::{DriverFault, Gpu, GpuMemory, GpuProcess, GpuReading, Readings};

/// More than any machine has; a library that says otherwise is not believed.
const MOST_GPUS: u32 = 64;
/// Processes that are told of one device.
const MOST_PROCESSES: usize = 64;
/// A text of the driver's, in characters.
const LONGEST_TEXT: usize = 128;

/// The loaded library.
pub(super) struct Driver(Nvml);

impl Driver {
    /// Loads the library at `path` and speaks to the driver for the first time.
    ///
    /// # Errors
    /// What to tell instead of readings.
    pub(super) fn load(path: &Path) -> Result<Self, GpuReading> {
        Nvml::builder().lib_path(path.as_os_str()).init().map(Self).map_err(|error| reading_of(&error))
    }

    /// One look at everything. May hang for ever where the driver does.
    pub(super) fn read(&self) -> GpuReading {
        let count = match self.0.device_count() {
            Ok(0) => return GpuReading::Absent("the driver knows no device".to_owned()),
            Ok(count) => count.min(MOST_GPUS),
            Err(error) => return reading_of(&error),
        };
        GpuReading::Read(Readings {
            at: std::time::SystemTime::now(),
            driver: self.0.sys_driver_version().ok().map(|text| short(&text)),
            cuda: self.0.sys_cuda_driver_version().ok().map(|version| (version / 1000, version % 1000 / 10)),
            gpus: (0..count).map(|index| self.look_at(index)).collect(),
        })
    }

    fn look_at(&self, index: u32) -> Gpu {
        match self.0.device_by_index(index) {
            Ok(device) => describe(index, &device),
            Err(error) => Gpu { index, lost: is_lost(&error), ..Gpu::default() },
        }
    }
}

fn describe(index: u32, device: &Device<'_>) -> Gpu {
    let memory = device.memory_info();
    Gpu {
        index,
        // A device that fell off the bus says so to whatever it is asked.
        lost: memory.as_ref().is_err_and(is_lost),
        name: device.name().ok().map(|text| short(&text)),
        uuid: device.uuid().ok().map(|text| short(&text)),
        pci: device.pci_info().ok().map(|info| short(&info.bus_id)),
        memory: memory.ok().map(|found| GpuMemory { total: found.total, used: found.used, free: found.free }),
        utilisation: device.utilization_rates().ok().map(|rates| rates.gpu),
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
        power: device.power_usage().ok(),
        power_limit: device.enforced_power_limit().ok(),
        hot: device.current_throttle_reasons().ok().map(is_thermal),
        uncorrected_errors: device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile).ok(),
        processes: device.running_compute_processes().map(processes).unwrap_or_default(),
        ..Gpu::default()
    }
}

fn processes(found: Vec<nvml_wrapper::struct_wrappers::device::ProcessInfo>) -> Vec<GpuProcess> {
    let described = found.into_iter().map(|process| GpuProcess {
        pid: process.pid,
        memory: match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
        mig_device: None,
    });
    described.take(MOST_PROCESSES).collect()
}

fn is_thermal(reasons: ThrottleReasons) -> bool {
    reasons.intersects(ThrottleReasons::SW_THERMAL_SLOWDOWN | ThrottleReasons::HW_THERMAL_SLOWDOWN)
}

fn is_lost(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired)
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

/// What an error of the library as a whole means.
fn reading_of(error: &NvmlError) -> GpuReading {
    let why = short(&error.to_string());
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded => {
            GpuReading::Absent(why)
        }
        NvmlError::LibRmVersionMismatch => GpuReading::Failed { fault: DriverFault::Mismatch, why },
        _ => GpuReading::Failed { fault: DriverFault::Other, why },
    }
}
