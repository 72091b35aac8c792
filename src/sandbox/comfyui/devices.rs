//! The devices that ComfyUI may use. All others stay closed, though their modes may be open: /dev/fuse, /dev/net/tun, sound, cameras.

use std::fs;
use std::path::PathBuf;

/// A name in /dev, whether it is only the beginning of one, and who needs it.
const DEVICES: &[(&str, bool, &str)] = &[
    ("null", false, "everybody"),
    ("zero", false, "old allocators"),
    ("full", false, "tests of disks that are full"),
    ("random", false, "old cryptography"),
    ("urandom", false, "every Python"),
    ("tty", false, "git asks there; without a terminal it is told so"),
    ("ptmx", false, "programs that want a terminal of their own"),
    ("pts", false, "the same"),
    ("nvidia", true, "CUDA: nvidia0, nvidiactl, nvidia-uvm, nvidia-uvm-tools, nvidia-modeset, nvidia-caps/"),
    ("dri", false, "Vulkan, video decoding, Intel and AMD GPUs"),
    ("kfd", false, "ROCm"),
    ("dxg", false, "the GPU of a Windows host"),
    ("accel", false, "neural processors"),
];

// Not there: /dev/infiniband. It reaches other machines past every rule about sockets, and one ComfyUI needs one machine; who
// has nodes that train on several names it in comfyui.writable.

/// Those that this machine has now. Nodes of a driver that is loaded later are seen by the next start.
pub(super) fn present() -> Vec<PathBuf> {
    let names =
        fs::read_dir("/dev").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let wanted = |name: &str| {
        DEVICES.iter().any(|(device, begins, _)| if *begins { name.starts_with(device) } else { name == *device })
    };
    names.filter(|name| wanted(name)).map(|name| PathBuf::from("/dev").join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_every_program_needs_is_there_and_nothing_unasked() {
        let present = present();
        for name in ["/dev/null", "/dev/zero", "/dev/urandom"] {
            assert!(present.contains(&PathBuf::from(name)), "{name} in {present:?}");
        }
        for name in ["/dev", "/dev/shm", "/dev/fuse", "/dev/kvm", "/dev/mem", "/dev/vda", "/dev/loop-control"] {
            assert!(!present.iter().any(|path| path == Path::new(name)), "{name} in {present:?}");
        }
    }
}
