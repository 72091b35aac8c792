//! Which of the machine's GPUs is ComfyUI's, and what is wrong with it. Pure.

use super::health::Device;
use crate::wire::gpu::{DriverFault, Gpu, GpuReading};
use crate::wire::message::GpuWish;

/// What is wrong with the GPU, where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It fell off the bus.
    Lost,
    /// The library and the kernel's driver differ.
    Mismatch,
    /// The driver does not answer.
    Hung,
    /// There is one, and ComfyUI computes without it.
    Unused,
}

/// The GPU that ComfyUI uses, or will use once it runs.
///
/// ComfyUI's device `cuda:N` is the N-th of `CUDA_VISIBLE_DEVICES`, by number or by UUID (CUDA C++ Programming Guide, "CUDA Environment
/// Variables"). Without `CUDA_DEVICE_ORDER=PCI_BUS_ID` CUDA counts the fastest first and the driver counts by bus, so a number whose
/// name is another one's is not believed: then the name decides.
pub(super) fn chosen<'a>(gpus: &'a [Gpu], device: Option<&Device>, wish: &GpuWish) -> Option<&'a Gpu> {
    if wish.cpu || device.is_some_and(|device| device.kind != "cuda") {
        return None;
    }
    let told = device.map(|device| device.name.as_str());
    let number = told.and_then(number_of).unwrap_or(0);
    let by_number = match &wish.visible {
        None => gpus.get(number),
        Some(list) => list.split(',').nth(number).and_then(|one| find(gpus, one.trim())),
    };
    let bears = |gpu: &&Gpu| match (told, &gpu.name) {
        (Some(told), Some(name)) => told.contains(name.as_str()),
        _ => true,
    };
    by_number.filter(bears).or_else(|| gpus.iter().find(bears)).or(by_number)
}

/// `cuda:1 NVIDIA H100` is number one.
fn number_of(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("cuda:")?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn find<'a>(gpus: &'a [Gpu], one: &str) -> Option<&'a Gpu> {
    match one.parse::<u32>() {
        Ok(index) => gpus.iter().find(|gpu| gpu.index == index),
        // A UUID may be cut short as long as it is clear which is meant.
        Err(_) => {
            gpus.iter().find(|gpu| gpu.uuid.as_ref().is_some_and(|uuid| !one.is_empty() && uuid.starts_with(one)))
        }
    }
}

/// What keeps ComfyUI from computing on its GPU.
pub(super) fn trouble(reading: &GpuReading, device: Option<&Device>, wish: &GpuWish) -> Option<Trouble> {
    if wish.cpu {
        return None;
    }
    match reading {
        GpuReading::Failed { fault: DriverFault::Mismatch, .. } => Some(Trouble::Mismatch),
        GpuReading::Failed { fault: DriverFault::Hung, .. } => Some(Trouble::Hung),
        GpuReading::Read(_) if device.is_some_and(|device| device.kind == "cpu") => Some(Trouble::Unused),
        GpuReading::Read(readings) => {
            chosen(&readings.gpus, device, wish).is_some_and(|gpu| gpu.lost).then_some(Trouble::Lost)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::gpu::Readings;

    fn gpu(index: u32, name: &str) -> Gpu {
        Gpu { index, name: Some(name.to_owned()), uuid: Some(format!("GPU-{index}a{index}b-0000")), ..Gpu::default() }
    }

    fn device(name: &str, kind: &str) -> Device {
        Device { name: name.to_owned(), kind: kind.to_owned(), vram_total: 0, vram_free: 0 }
    }

    fn visible(list: &str) -> GpuWish {
        GpuWish { cpu: false, visible: Some(list.to_owned()) }
    }

    #[test]
    fn the_gpu_is_found_by_number_by_uuid_and_by_name() {
        let (small, big) = ("NVIDIA T4", "NVIDIA H100");
        let same = [gpu(0, small), gpu(1, small), gpu(2, small)];
        let mixed = [gpu(0, small), gpu(1, big)];
        let open = GpuWish::default();
        let table: [(&[Gpu], &str, &GpuWish, Option<u32>); 9] = [
            (&same, "cuda:0 NVIDIA T4 : cudaMallocAsync", &open, Some(0)),
            (&same, "cuda:2 NVIDIA T4", &open, Some(2)),
            (&same, "cuda:0 NVIDIA T4", &visible("2,0"), Some(2)),
            (&same, "cuda:1 NVIDIA T4", &visible("2, 0"), Some(0)),
            (&same, "cuda:0 NVIDIA T4", &visible("GPU-1a1b"), Some(1)),
            (&same, "cuda:0 NVIDIA T4", &visible("GPU-1a1b-0000,0"), Some(1)),
            // The fastest first: CUDA's number 0 is the driver's 1.
            (&mixed, "cuda:0 NVIDIA H100", &open, Some(1)),
            (&mixed, "cuda:1 NVIDIA T4", &open, Some(0)),
            (&[], "cuda:0 NVIDIA T4", &open, None),
        ];
        for (gpus, name, wish, expected) in table {
            let found = chosen(gpus, Some(&device(name, "cuda")), wish).map(|gpu| gpu.index);
            assert_eq!(found, expected, "{name} {wish:?}");
        }
        assert_eq!(chosen(&same, None, &visible("1")).map(|gpu| gpu.index), Some(1), "before ComfyUI has told");
        assert_eq!(chosen(&same, Some(&device("cpu", "cpu")), &open), None);
    }

    #[test]
    fn trouble_is_about_comfyuis_own_gpu() {
        let lost = |which: usize| {
            let mut gpus = vec![gpu(0, "NVIDIA T4"), gpu(1, "NVIDIA T4")];
            gpus.get_mut(which).unwrap().lost = true;
            GpuReading::Read(Readings { gpus, ..Readings::default() })
        };
        let failed = |fault| GpuReading::Failed { fault, why: String::new() };
        let open = GpuWish::default();
        let on = |name| Some(device(name, "cuda"));
        let table = [
            (lost(0), on("cuda:0 NVIDIA T4"), Some(Trouble::Lost)),
            (lost(1), on("cuda:0 NVIDIA T4"), None),
            (lost(1), on("cuda:1 NVIDIA T4"), Some(Trouble::Lost)),
            (lost(1), Some(device("cpu", "cpu")), Some(Trouble::Unused)),
            (failed(DriverFault::Mismatch), None, Some(Trouble::Mismatch)),
            (failed(DriverFault::Hung), None, Some(Trouble::Hung)),
            (failed(DriverFault::Other), None, None),
            (GpuReading::Absent(String::new()), Some(device("cpu", "cpu")), None),
            (GpuReading::Unknown, None, None),
        ];
        for (reading, device, expected) in table {
            assert_eq!(trouble(&reading, device.as_ref(), &open), expected, "{reading:?} {device:?}");
            assert_eq!(trouble(&reading, device.as_ref(), &GpuWish { cpu: true, visible: None }), None);
        }
    }
}
