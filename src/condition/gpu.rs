//! Which of the machine's GPUs is ComfyUI's.

use crate::wire::gpu::{Gpu, GpuMemory};
use crate::wire::message::GpuWish;
use crate::wire::overview::Device;

/// How the UUID of a part of a divided GPU begins.
const MIG: &str = "MIG-";

/// The GPU that ComfyUI uses, or will use once it runs.
///
/// ComfyUI's device `cuda:N` is the N-th of `CUDA_VISIBLE_DEVICES`, by number or by UUID (CUDA C++ Programming Guide, "CUDA Environment
/// Variables"). Without `CUDA_DEVICE_ORDER=PCI_BUS_ID` CUDA counts the fastest first and the driver counts by bus, so a number whose
/// name is another one's is not believed: then the name decides.
pub(crate) fn chosen<'a>(gpus: &'a [Gpu], device: Option<&Device>, wish: &GpuWish) -> Option<&'a Gpu> {
    if wish.cpu || device.is_some_and(|device| device.kind != "cuda") {
        return None;
    }
    let told = device.map(|device| device.name.as_str());
    let by_number = match &wish.visible {
        None => gpus.get(number_of(device)),
        Some(list) => entry(list, device).and_then(|one| find(gpus, one)),
    };
    let bears = |gpu: &&Gpu| match (told, &gpu.name) {
        (Some(told), Some(name)) => told.contains(name.as_str()),
        _ => true,
    };
    by_number.filter(bears).or_else(|| gpus.iter().find(bears)).or(by_number)
}

/// What `CUDA_VISIBLE_DEVICES` has for ComfyUI's device.
fn entry<'a>(list: &'a str, device: Option<&Device>) -> Option<&'a str> {
    list.split(',').nth(number_of(device)).map(str::trim)
}

/// `cuda:1 NVIDIA H100` is number one; before ComfyUI has told, the first.
fn number_of(device: Option<&Device>) -> usize {
    let digits = device.and_then(|device| device.name.strip_prefix("cuda:"));
    digits.and_then(|text| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).unwrap_or(0)
}

fn find<'a>(gpus: &'a [Gpu], one: &str) -> Option<&'a Gpu> {
    match one.parse::<u32>() {
        Ok(index) => gpus.iter().find(|gpu| gpu.index == index),
        // A UUID may be cut short as long as it is clear which is meant.
        Err(_) if one.is_empty() => None,
        Err(_) => gpus.iter().find(|gpu| {
            let own = gpu.uuid.iter();
            let instances = gpu.mig_devices.iter().filter_map(|instance| instance.uuid.as_ref());
            own.chain(instances).any(|uuid| uuid.starts_with(one))
        }),
    }
}

/// The memory that ComfyUI can have of its GPU: where that is divided, its own instance's.
pub(crate) fn memory(gpu: &Gpu, device: Option<&Device>, wish: &GpuWish) -> Option<GpuMemory> {
    if gpu.mig != Some(true) {
        return gpu.memory;
    }
    let named = wish.visible.as_deref().and_then(|list| entry(list, device));
    let instance = match named.filter(|one| one.starts_with(MIG)) {
        Some(one) => {
            gpu.mig_devices.iter().find(|instance| instance.uuid.as_ref().is_some_and(|uuid| uuid.starts_with(one)))
        }
        // CUDA takes the first one.
        None => gpu.mig_devices.first(),
    };
    instance.and_then(|instance| instance.memory)
}

/// The GPU for people: `GPU 0 (NVIDIA H100)`.
pub(crate) fn title(gpu: &Gpu) -> String {
    let name = gpu.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("GPU {}{name}", gpu.index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::gpu::MigDevice;

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
    fn of_a_divided_gpu_the_instance_counts() {
        let part = |index: u32, total| MigDevice {
            index,
            uuid: Some(format!("MIG-{index}f00")),
            name: None,
            memory: Some(GpuMemory { total, used: 1, free: total - 1 }),
        };
        let whole = Some(GpuMemory { total: 80, used: 0, free: 80 });
        let divided = Gpu {
            mig: Some(true),
            mig_devices: vec![part(0, 10), part(1, 20)],
            memory: whole,
            ..gpu(0, "NVIDIA H100")
        };
        let gpus = [divided.clone()];
        let told = device("cuda:0 NVIDIA H100 MIG 2g.20gb", "cuda");
        let total = |wish: &GpuWish| memory(&divided, Some(&told), wish).map(|memory| memory.total);
        assert_eq!(total(&visible("MIG-1f")), Some(20));
        assert_eq!(total(&GpuWish::default()), Some(10));
        assert_eq!(total(&visible("MIG-9")), None, "an instance that is gone has no memory");
        assert_eq!(chosen(&gpus, Some(&told), &visible("MIG-1f")).map(|gpu| gpu.index), Some(0));
        assert_eq!(memory(&Gpu { mig: None, ..divided.clone() }, Some(&told), &visible("0")), whole);
    }
}
