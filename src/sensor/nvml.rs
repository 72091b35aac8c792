//! The driver's library (NVML): the only file that calls it. Reads; changes nothing. What the wrapper has no safe call for is left out:
//! which GPU instance and compute instance a MIG device is.

use std::path::Path;
use std::time::{Duration, SystemTime};

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{
    Clock, ComputeMode as Mode, EccCounter, MemoryError, TemperatureSensor, TemperatureThreshold,
};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::{MemoryInfo, ProcessInfo};
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, EventSet, Nvml};

use crate::wire::gpu::{
    Clocks, ComputeMode, DriverFault, Gpu, GpuMemory, GpuProcess, GpuReading, MOST_GPUS, MigDevice, PcieLink, Readings,
    RemappedRows, RetiredPages, Throttle,
};

/// The most instances that the driver is asked for, whatever number it names.
const MOST_INSTANCES: u32 = 32;
/// NVML's number for an event whose XID the driver does not know.
const UNKNOWN_XID: u64 = 999;

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
        let count = match self.count() {
            Ok(0) => return GpuReading::Absent("the driver knows no device".to_owned()),
            Ok(count) => count,
            Err(error) => return reading_of(&error),
        };
        GpuReading::Read(Readings {
            at: SystemTime::now(),
            driver: self.0.sys_driver_version().ok(),
            cuda: self.0.sys_cuda_driver_version().ok().map(|version| (version / 1000, version % 1000 / 10)),
            gpus: (0..count).map(|index| self.look_at(index)).collect(),
        })
    }

    /// No more than can be told: a library that names another number is not believed.
    fn count(&self) -> Result<u32, NvmlError> {
        let most = u32::try_from(MOST_GPUS).unwrap_or(u32::MAX);
        self.0.device_count().map(|count| count.min(most))
    }

    fn look_at(&self, index: u32) -> Gpu {
        match self.0.device_by_index(index) {
            Ok(device) => describe(index, &device),
            Err(error) => Gpu { index, lost: is_lost(&error), ..Gpu::default() },
        }
    }

    /// Starts to hear the devices' critical events: those of the devices that tell them.
    ///
    /// Each has a set of its own: a set fails as a whole when one of its devices is lost, and a lost device does not say any more which
    /// one it is.
    pub(super) fn listeners(&self) -> Vec<Listener<'_>> {
        (0..self.count().unwrap_or(0)).filter_map(|index| self.listener(index).ok()).collect()
    }

    fn listener(&self, index: u32) -> Result<Listener<'_>, NvmlError> {
        let device = self.0.device_by_index(index)?;
        let told = device.supported_event_types()?;
        if !told.contains(EventTypes::CRITICAL_XID_ERROR) {
            return Err(NvmlError::NotSupported);
        }
        let set = self.0.create_event_set()?;
        let set = device.register_events(EventTypes::CRITICAL_XID_ERROR, set).map_err(|error| error.error)?;
        Ok(Listener { index, set })
    }
}

/// Ears for one device.
pub(super) struct Listener<'driver> {
    /// Its number in the driver's order.
    pub(super) index: u32,
    set: EventSet<'driver>,
}

impl Listener<'_> {
    /// Waits for a critical event: its XID, or none within `patience`.
    ///
    /// # Errors
    /// At once, when the device cannot be heard now.
    pub(super) fn hear(&self, patience: Duration) -> Result<Option<u64>, NvmlError> {
        match self.set.wait(u32::try_from(patience.as_millis()).unwrap_or(u32::MAX)) {
            Ok(event) => Ok(event.event_data.map(|error| match error {
                XidError::Value(xid) => xid,
                XidError::Unknown => UNKNOWN_XID,
            })),
            Err(NvmlError::Timeout) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// All of a device. Each figure is asked for alone: what this one does not support is none, and takes no other along.
fn describe(index: u32, device: &Device<'_>) -> Gpu {
    let memory = device.memory_info();
    let utilisation = device.utilization_rates().ok();
    let throttle = device.current_throttle_reasons().ok();
    let mig = device.mig_mode().ok().map(|mode| mode.current != 0);
    let instances = if mig == Some(true) { instances(device) } else { Vec::new() };
    let (retired_pages, remapped_rows) = worn_memory(device);
    Gpu {
        index,
        // A device that fell off the bus says so to whatever it is asked.
        lost: memory.as_ref().is_err_and(is_lost),
        name: device.name().ok(),
        uuid: device.uuid().ok(),
        pci: device.pci_info().ok().map(|info| info.bus_id),
        memory: memory.ok().map(bytes),
        utilisation: utilisation.as_ref().map(|rates| rates.gpu),
        memory_utilisation: utilisation.as_ref().map(|rates| rates.memory),
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
        slowdown_temperature: device.temperature_threshold(TemperatureThreshold::Slowdown).ok(),
        shutdown_temperature: device.temperature_threshold(TemperatureThreshold::Shutdown).ok(),
        power: device.power_usage().ok(),
        power_limit: device.enforced_power_limit().ok(),
        clocks: Clocks {
            graphics: device.clock_info(Clock::Graphics).ok(),
            sm: device.clock_info(Clock::SM).ok(),
            memory: device.clock_info(Clock::Memory).ok(),
        },
        hot: throttle.map(|reasons| reasons.intersects(HEAT)),
        throttle: throttle.map(names),
        ecc: device.is_ecc_enabled().ok().map(|mode| mode.currently_enabled),
        corrected_errors: device.total_ecc_errors(MemoryError::Corrected, EccCounter::Volatile).ok(),
        uncorrected_errors: device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile).ok(),
        retired_pages,
        remapped_rows,
        pcie: PcieLink {
            generation: device.current_pcie_link_gen().ok(),
            width: device.current_pcie_link_width().ok(),
            max_generation: device.max_pcie_link_gen().ok(),
            max_width: device.max_pcie_link_width().ok(),
        },
        fan: device.fan_speed(0).ok(),
        performance_state: device.performance_state().ok().map(|state| state as u32).filter(|state| *state <= 15),
        compute_mode: device.compute_mode().ok().map(|mode| match mode {
            Mode::Default => ComputeMode::Shared,
            Mode::ExclusiveThread => ComputeMode::ExclusiveThread,
            Mode::ExclusiveProcess => ComputeMode::ExclusiveProcess,
            Mode::Prohibited => ComputeMode::Prohibited,
        }),
        mig,
        processes: processes(device, &instances),
        mig_devices: instances.iter().map(|(index, instance)| describe_instance(*index, instance)).collect(),
        hears_events: false,
        events: Vec::new(),
    }
}

fn bytes(found: MemoryInfo) -> GpuMemory {
    GpuMemory { total: found.total, used: found.used, free: found.free }
}

/// What the driver names when heat is why.
const HEAT: ThrottleReasons = ThrottleReasons::SW_THERMAL_SLOWDOWN.union(ThrottleReasons::HW_THERMAL_SLOWDOWN);

const REASONS: [(ThrottleReasons, Throttle); 9] = [
    (ThrottleReasons::GPU_IDLE, Throttle::Idle),
    (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, Throttle::ApplicationsClocks),
    (ThrottleReasons::SW_POWER_CAP, Throttle::SwPowerCap),
    (ThrottleReasons::HW_SLOWDOWN, Throttle::HwSlowdown),
    (ThrottleReasons::SYNC_BOOST, Throttle::SyncBoost),
    (ThrottleReasons::SW_THERMAL_SLOWDOWN, Throttle::SwThermal),
    (ThrottleReasons::HW_THERMAL_SLOWDOWN, Throttle::HwThermal),
    (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, Throttle::HwPowerBrake),
    (ThrottleReasons::DISPLAY_CLOCK_SETTING, Throttle::Display),
];

fn names(reasons: ThrottleReasons) -> Vec<Throttle> {
    REASONS.iter().filter(|(reason, _)| reasons.contains(*reason)).map(|(_, name)| *name).collect()
}

/// Retired pages and remapped rows, in one call; which of the two a device has depends on its age.
fn worn_memory(device: &Device<'_>) -> (Option<RetiredPages>, Option<RemappedRows>) {
    const FIELDS: [u32; 7] = [
        field_id::NVML_FI_DEV_RETIRED_SBE,
        field_id::NVML_FI_DEV_RETIRED_DBE,
        field_id::NVML_FI_DEV_RETIRED_PENDING,
        field_id::NVML_FI_DEV_REMAPPED_COR,
        field_id::NVML_FI_DEV_REMAPPED_UNC,
        field_id::NVML_FI_DEV_REMAPPED_PENDING,
        field_id::NVML_FI_DEV_REMAPPED_FAILURE,
    ];
    let Ok(found) = device.field_values_for(&FIELDS.map(FieldId)) else { return (None, None) };
    let mut figures = found.into_iter().map(|sample| count(sample.ok()?.value.ok()?));
    let mut next = || figures.next().flatten();
    let pages = RetiredPages { single_bit: next(), double_bit: next(), pending: next().map(|told| told != 0) };
    let rows = RemappedRows {
        corrected: next(),
        uncorrected: next(),
        pending: next().map(|told| told != 0),
        failed: next().map(|told| told != 0),
    };
    (
        Some(pages).filter(|pages| *pages != RetiredPages::default()),
        Some(rows).filter(|rows| *rows != RemappedRows::default()),
    )
}

fn count(value: SampleValue) -> Option<u64> {
    match value {
        SampleValue::U32(value) => Some(value.into()),
        SampleValue::U64(value) => Some(value),
        SampleValue::I64(value) => u64::try_from(value).ok(),
        SampleValue::F64(_) => None,
    }
}

/// The instances of a divided device, by their numbers, which may have gaps.
fn instances<'nvml>(device: &Device<'nvml>) -> Vec<(u32, Device<'nvml>)> {
    let most = device.mig_device_count().unwrap_or(0).min(MOST_INSTANCES);
    (0..most).filter_map(|index| Some((index, device.mig_device_by_index(index).ok()?))).collect()
}

fn describe_instance(index: u32, instance: &Device<'_>) -> MigDevice {
    MigDevice {
        index,
        uuid: instance.uuid().ok(),
        name: instance.name().ok(),
        memory: instance.memory_info().ok().map(bytes),
    }
}

/// Who uses the device. A divided one tells that of each instance to everybody, and of the whole to root alone.
fn processes(device: &Device<'_>, instances: &[(u32, Device<'_>)]) -> Vec<GpuProcess> {
    let of = |device: &Device<'_>, mig_device| {
        let found = device.running_compute_processes().unwrap_or_default();
        found.into_iter().map(move |process| describe_process(&process, mig_device))
    };
    let mut all: Vec<GpuProcess> = instances.iter().flat_map(|(index, instance)| of(instance, Some(*index))).collect();
    let others: Vec<GpuProcess> =
        of(device, None).filter(|process| all.iter().all(|known| known.pid != process.pid)).collect();
    all.extend(others);
    all
}

fn describe_process(process: &ProcessInfo, mig_device: Option<u32>) -> GpuProcess {
    let memory = match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    };
    GpuProcess { pid: process.pid, memory, mig_device }
}

fn is_lost(error: &NvmlError) -> bool {
    matches!(error, NvmlError::GpuLost | NvmlError::ResetRequired)
}

/// What an error of the library as a whole means.
fn reading_of(error: &NvmlError) -> GpuReading {
    let why = error.to_string();
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::DriverNotLoaded => {
            GpuReading::Absent(why)
        }
        NvmlError::LibRmVersionMismatch => GpuReading::Failed { fault: DriverFault::Mismatch, why },
        _ => GpuReading::Failed { fault: DriverFault::Other, why },
    }
}
