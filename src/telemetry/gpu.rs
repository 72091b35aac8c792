//! The driver's word as JSON, for `detail.gpu` of `/health` and for `status`. Pure.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::wire::gpu::{DriverFault, Gpu, GpuEvent, GpuMemory, GpuReading, MigDevice};

/// For guests with a credential: every device, in the units that the names say. What is not supported is `null`. Times are seconds since
/// 1970; the reading's age is that at `now`.
pub(crate) fn detail(reading: &GpuReading, now: SystemTime) -> Value {
    match reading {
        GpuReading::Unknown => json!({ "state": "unknown" }),
        GpuReading::Absent(why) => json!({ "state": "absent", "why": why }),
        GpuReading::Failed { fault, why } => json!({ "state": word(*fault), "why": why }),
        GpuReading::Read(readings) => json!({
            "state": "read",
            "read_at": seconds(readings.at),
            // A clock that was set back makes no reading of the future.
            "age_seconds": now.duration_since(readings.at).map_or(0.0, |age| age.as_secs_f64()),
            "driver": readings.driver,
            "cuda": readings.cuda.map(|(major, minor)| format!("{major}.{minor}")),
            "gpus": readings.gpus.iter().map(device).collect::<Vec<_>>(),
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

fn device(gpu: &Gpu) -> Value {
    json!({
        "index": gpu.index,
        "lost": gpu.lost,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "pci": gpu.pci,
        "memory": gpu.memory.map(memory),
        "utilisation_percent": gpu.utilisation,
        "memory_utilisation_percent": gpu.memory_utilisation,
        "temperature_celsius": gpu.temperature,
        "slowdown_celsius": gpu.slowdown_temperature,
        "shutdown_celsius": gpu.shutdown_temperature,
        "power_milliwatts": gpu.power,
        "power_limit_milliwatts": gpu.power_limit,
        "clocks_mhz": { "graphics": gpu.clocks.graphics, "sm": gpu.clocks.sm, "memory": gpu.clocks.memory },
        "throttled_by": gpu.throttle,
        "thermal_slowdown": gpu.hot,
        "ecc": gpu.ecc,
        "corrected_memory_errors": gpu.corrected_errors,
        "uncorrected_memory_errors": gpu.uncorrected_errors,
        "retired_pages": gpu.retired_pages,
        "remapped_rows": gpu.remapped_rows,
        "pcie": gpu.pcie,
        "fan_percent": gpu.fan,
        "performance_state": gpu.performance_state,
        "compute_mode": gpu.compute_mode,
        "mig": gpu.mig,
        "mig_devices": gpu.mig_devices.iter().map(mig_device).collect::<Vec<_>>(),
        "processes": gpu.processes,
        "events": gpu.hears_events.then(|| gpu.events.iter().map(event).collect::<Vec<_>>()),
    })
}

fn memory(bytes: GpuMemory) -> Value {
    json!({ "total": bytes.total, "used": bytes.used, "free": bytes.free })
}

fn mig_device(instance: &MigDevice) -> Value {
    json!({
        "index": instance.index,
        "uuid": instance.uuid,
        "name": instance.name,
        "memory": instance.memory.map(memory),
    })
}

fn event(event: &GpuEvent) -> Value {
    json!({ "xid": event.xid, "at": seconds(event.at) })
}

/// To the millisecond.
fn seconds(at: SystemTime) -> f64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::gpu::{Readings, Throttle};
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn told(gpu: Gpu, now: SystemTime) -> Value {
        detail(&GpuReading::Read(Readings { at: at(100), gpus: vec![gpu], ..Readings::default() }), now)
    }

    #[test]
    fn what_a_device_does_not_support_is_null_and_not_zero() {
        let told = told(Gpu { index: 3, ..Gpu::default() }, at(101));
        let gpu = told.pointer("/gpus/0").unwrap().as_object().unwrap();
        let figures =
            gpu.iter().filter(|(name, _)| !matches!(name.as_str(), "index" | "lost" | "mig_devices" | "processes"));
        for (name, value) in figures {
            let values: Vec<&Value> = value.as_object().map_or(vec![value], |several| several.values().collect());
            assert!(values.iter().all(|value| value.is_null()), "{name}: {value}");
        }
    }

    #[test]
    fn a_reading_has_an_age_that_is_never_negative() {
        assert_eq!(told(Gpu::default(), at(103)).get("age_seconds").unwrap(), 3.0);
        assert_eq!(told(Gpu::default(), at(90)).get("age_seconds").unwrap(), 0.0);
    }

    #[test]
    fn reasons_and_events_have_their_words() {
        let gpu = Gpu {
            throttle: Some(vec![Throttle::Idle, Throttle::SwPowerCap, Throttle::HwPowerBrake]),
            hears_events: true,
            events: vec![GpuEvent { xid: 79, at: at(99) }],
            ..Gpu::default()
        };
        let told = told(gpu, at(100));
        assert_eq!(told.pointer("/gpus/0/throttled_by").unwrap(), &json!(["idle", "sw_power_cap", "hw_power_brake"]));
        assert_eq!(told.pointer("/gpus/0/events").unwrap(), &json!([{ "xid": 79, "at": 99.0 }]));
    }
}
