//! The named conditions: what can be wrong with the guard, ComfyUI or the GPU, whether guests are served all the same, and the cure.
//!
//! One table for `/health`, the metrics, `status`, the log and the documentation (docs/operations.md, held to it by a test).

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// What is not as it should be. The order is that of gravity: the first that closes the service is the word in `/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Name {
    /// There is no key: nobody is let in.
    NoKey,
    /// The guard is ending.
    Stopping,
    /// The driver's library and its kernel part are of different versions.
    GpuDriverMismatch,
    /// A call of the driver's library does not come back.
    NvmlHung,
    /// ComfyUI's GPU fell off the bus.
    GpuLost,
    /// ComfyUI's GPU has made an error that it cannot go on from.
    GpuFault,
    /// A GPU is wanted, and ComfyUI computes without one.
    GpuUnavailable,
    /// ComfyUI was given up.
    Failed,
    /// Something listens on ComfyUI's port and does not answer.
    Unresponsive,
    /// The external ComfyUI is not there.
    Unreachable,
    /// ComfyUI ended and is being started again, or restarts itself.
    Restarting,
    /// ComfyUI is loading.
    Starting,
    /// The sensor does not stay up: nothing is known of the GPU.
    SensorDown,
    /// Heat holds the GPU's clocks down.
    GpuHot,
    /// The GPU's memory is all but full.
    VramPressure,
    /// A process computes on the GPU that is not ComfyUI's.
    ForeignGpuProcess,
    /// A program on the GPU has made an error that ended its own work only.
    GpuProgramError,
    /// There is no GPU, and none is wanted.
    GpuAbsent,
}

/// Name, its word, whether guests are served while it holds, and the cure.
pub(crate) const TABLE: &[(Name, &str, bool, &str)] = &[
    (Name::NoKey, "no_key", false, "run `comfy-guard set-key`"),
    (Name::Stopping, "stopping", false, "none is needed: the guard was told to end"),
    (
        Name::GpuDriverMismatch,
        "gpu_driver_mismatch",
        false,
        "reboot, or load the new kernel module (`modprobe -r nvidia_uvm nvidia && modprobe nvidia`)",
    ),
    (Name::NvmlHung, "nvml_hung", false, "see `dmesg`; as a rule only a reboot helps"),
    (
        Name::GpuLost,
        "gpu_lost",
        false,
        "see `dmesg` for its XID; it comes back with a reset of the GPU (`nvidia-smi --gpu-reset`, the guard stopped meanwhile) or a reboot",
    ),
    (
        Name::GpuFault,
        "gpu_fault",
        false,
        "restart ComfyUI (`comfy-guard restart`); if it comes again, stop the guard and reset the GPU (`nvidia-smi --gpu-reset`) or reboot, then have the board replaced",
    ),
    (
        Name::GpuUnavailable,
        "gpu_unavailable",
        false,
        "see ComfyUI's first lines (`comfy-guard logs`): its torch may be built for the CPU or another CUDA, or its user may not open /dev/nvidia*; `comfy-guard doctor` looks. If the CPU is meant: comfyui.arguments = [\"--cpu\"]",
    ),
    (Name::Failed, "failed", false, "mend what its last lines say, then `comfy-guard restart`"),
    (Name::Unresponsive, "unresponsive", false, "wait if a model is loading; else `comfy-guard restart`"),
    (Name::Unreachable, "unreachable", false, "start the ComfyUI that comfyui.external names"),
    (
        Name::Restarting,
        "restarting",
        false,
        "wait; if it happens again and again, its last lines say why (`comfy-guard logs`)",
    ),
    (Name::Starting, "starting", false, "wait: this takes from ten seconds to some minutes"),
    (Name::SensorDown, "sensor_down", true, "see the guard's log: the driver's library ends the process that asks it"),
    (Name::GpuHot, "gpu_hot", true, "see to fans and airflow, or lower the power limit (`nvidia-smi -pl`)"),
    (Name::VramPressure, "vram_pressure", true, "smaller pictures or batches, or `--lowvram` in comfyui.arguments"),
    (
        Name::ForeignGpuProcess,
        "foreign_gpu_process",
        true,
        "look at the process: miners do this. If it belongs there, add its unit or user to gpu.shared_with",
    ),
    (
        Name::GpuProgramError,
        "gpu_program_error",
        true,
        "see `dmesg`; if ComfyUI fails from now on, `comfy-guard restart`",
    ),
    (Name::GpuAbsent, "gpu_absent", true, "none is needed, unless a GPU should be there: then see `nvidia-smi`"),
];

impl Name {
    /// The word for programs.
    pub(crate) fn word(self) -> &'static str {
        self.row().1
    }

    /// Whether guests are served while it holds, so that `/health` stays 200.
    pub(crate) fn serves(self) -> bool {
        self.row().2
    }

    /// What to do about it.
    pub(crate) fn cure(self) -> &'static str {
        self.row().3
    }

    fn row(self) -> &'static (Self, &'static str, bool, &'static str) {
        const NONE: (Name, &str, bool, &str) = (Name::Failed, "failed", false, "");
        TABLE.iter().find(|(name, ..)| *name == self).unwrap_or(&NONE)
    }
}

/// A condition that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Condition {
    /// Which.
    pub(crate) name: Name,
    /// Since when.
    pub(crate) since: SystemTime,
    /// What was seen, in words.
    pub(crate) cause: String,
}

/// The word in `/health`: that of the gravest condition that closes the service; none: all is well.
pub(crate) fn closing(conditions: &[Condition]) -> Option<Name> {
    conditions.iter().map(|condition| condition.name).filter(|name| !name.serves()).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_name_has_its_row_in_the_order_of_gravity() {
        let names: Vec<Name> = TABLE.iter().map(|row| row.0).collect();
        assert!(names.is_sorted(), "the table is not in the order of the names");
        assert_eq!(names.last(), Some(&Name::GpuAbsent));
        assert_eq!(names.len(), Name::GpuAbsent as usize + 1, "a name has no row");
        for (name, word, _, cure) in TABLE {
            assert_eq!((name.word(), name.cure()), (*word, *cure));
            assert!(!cure.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        }
    }

    #[test]
    fn the_manual_has_each_with_its_code() {
        let manual = include_str!("../../docs/operations.md");
        let rows: Vec<&str> = manual.split("| condition |").nth(1).unwrap().lines().skip(2).collect();
        for (row, (_, word, serves, _)) in rows.iter().zip(TABLE) {
            let code = if *serves { "200" } else { "503" };
            assert!(row.starts_with(&format!("| `{word}` | {code} | ")), "{word}: {row}");
        }
    }

    #[test]
    fn what_closes_comes_before_what_does_not() {
        assert!(TABLE.iter().map(|row| row.2).collect::<Vec<_>>().is_sorted());
    }
}
