//! The driver's word as JSON, for `detail.gpu` of `/health` and for `status`. Pure.

use serde_json::{Value, json};

use crate::wire::gpu::{DriverFault, Gpu, GpuReading};

/// For guests with a credential: every device, in the units that the names say. What is not supported is `null`.
pub(crate) fn detail(reading: &GpuReading) -> Value {
    match reading {
        GpuReading::Unknown => json!({ "state": "unknown" }),
        GpuReading::Absent(why) => json!({ "state": "absent", "why": why }),
        GpuReading::Failed { fault, why } => json!({ "state": word(*fault), "why": why }),
        GpuReading::Read(readings) => json!({
            "state": "read",
            "driver": readings.driver,
            "cuda": readings.cuda.map(|(major, minor)| format!("{major}.{minor}")),
            "gpus": readings.gpus.iter().map(one).collect::<Vec<_>>(),
        }),
    }
}

fn word(fault: DriverFault) -> &'static str {
    match fault {
        DriverFault::Mismatch => "driver_mismatch",
        DriverFault::Hung => "hung",
        DriverFault::Other => "failed",
    }
}

fn one(gpu: &Gpu) -> Value {
    json!({
        "index": gpu.index,
        "lost": gpu.lost,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "pci": gpu.pci,
        "memory": gpu.memory.map(|memory| json!({ "total": memory.total, "used": memory.used, "free": memory.free })),
        "utilisation_percent": gpu.utilisation,
        "temperature_celsius": gpu.temperature,
        "power_milliwatts": gpu.power,
        "power_limit_milliwatts": gpu.power_limit,
        "thermal_slowdown": gpu.hot,
        "uncorrected_memory_errors": gpu.uncorrected_errors,
        "processes": gpu.processes.iter().map(|process| json!({ "pid": process.pid, "memory": process.memory })).collect::<Vec<_>>(),
    })
}
