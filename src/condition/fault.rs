//! What went wrong on a GPU since ComfyUI was started: memory errors and the driver's XID events.
//!
//! The driver counts since it was loaded and tells its events for ever; what lies before ComfyUI's start did not hit it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crate::wire::gpu::{Gpu, GpuEvent};

/// XIDs of all GPUs that are remembered: there are fewer than that.
const MOST_XIDS: usize = 256;

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gravity {
    /// The program that made it: its own work is lost, the GPU goes on.
    Program,
    /// The board: what computes on it fails until it is started anew, or the GPU is reset.
    Board,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Whom it hits.
    pub(crate) gravity: Gravity,
    /// What it was.
    pub(crate) what: String,
}

/// XIDs and what they mean (NVIDIA, "XID Errors"); one that is not here is told by its number and taken for a program's.
const XIDS: &[(u64, Gravity, &str)] = &[
    (13, Gravity::Program, "graphics engine exception"),
    (31, Gravity::Program, "memory page fault of a program"),
    (32, Gravity::Program, "invalid or corrupted push buffer"),
    (38, Gravity::Board, "driver firmware error"),
    (43, Gravity::Program, "the GPU stopped processing for a program"),
    (45, Gravity::Program, "a program's work was cleaned up"),
    (48, Gravity::Board, "memory error of two bits"),
    (61, Gravity::Board, "internal micro-controller breakpoint or warning"),
    (62, Gravity::Board, "internal micro-controller halt"),
    (64, Gravity::Board, "a bad page or row could not be retired"),
    (68, Gravity::Program, "video decoder exception"),
    (69, Gravity::Program, "graphics engine class error"),
    (74, Gravity::Board, "NVLink error"),
    (79, Gravity::Board, "fell off the bus"),
    (92, Gravity::Board, "high rate of memory errors of one bit"),
    (94, Gravity::Board, "contained memory error: the program has to be started again"),
    (95, Gravity::Board, "uncontained memory error: the GPU has to be reset"),
    (109, Gravity::Board, "context switch timed out"),
    (119, Gravity::Board, "the GPU's system processor does not answer: the GPU has to be reset"),
    (120, Gravity::Board, "error of the GPU's system processor: the GPU has to be reset"),
    (140, Gravity::Board, "memory error that could not be recovered from: the GPU has to be reset"),
];

/// What counts as having been there before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Baseline {
    since: Option<SystemTime>,
    errors: Vec<(u32, u64)>,
    /// Heard since, by GPU: the sensor forgets them when it ends, and the older ones when there are many.
    xids: BTreeSet<(u32, u64)>,
}

impl Baseline {
    /// ComfyUI was started now: what was there is no longer its concern.
    pub(crate) fn begin(&mut self, gpus: &[Gpu], now: SystemTime) {
        self.since = Some(now);
        self.xids.clear();
        self.errors = gpus.iter().filter_map(|gpu| Some((gpu.index, gpu.uncorrected_errors?))).collect();
    }

    /// Takes what is seen of a GPU for the first time as having been there, and keeps what is heard of it.
    pub(crate) fn note(&mut self, gpus: &[Gpu]) {
        for gpu in gpus {
            let heard: Vec<(u32, u64)> = self.fresh_xids(gpu).map(|xid| (gpu.index, xid)).collect();
            self.xids.extend(heard.into_iter().take(MOST_XIDS.saturating_sub(self.xids.len())));
            if let Some(errors) = gpu.uncorrected_errors {
                match self.errors.iter_mut().find(|(index, _)| *index == gpu.index) {
                    // Counted anew: the driver was loaded again.
                    Some((_, known)) => *known = errors.min(*known),
                    None => self.errors.push((gpu.index, errors)),
                }
            }
        }
    }

    /// What went wrong on this GPU since.
    pub(crate) fn faults(&self, gpu: &Gpu) -> Vec<Fault> {
        let known = self.errors.iter().find(|(index, _)| *index == gpu.index).map(|(_, errors)| *errors);
        let fresh = gpu.uncorrected_errors.zip(known).map_or(0, |(now, known)| now.saturating_sub(known));
        let memory = (fresh > 0).then(|| Fault {
            gravity: Gravity::Board,
            what: match fresh {
                1 => "a memory error that could not be corrected".to_owned(),
                _ => format!("{fresh} memory errors that could not be corrected"),
            },
        });
        let heard = self.xids.iter().filter(|(index, _)| *index == gpu.index).map(|(_, xid)| *xid);
        let numbers: BTreeSet<u64> = self.fresh_xids(gpu).chain(heard).collect();
        memory.into_iter().chain(numbers.into_iter().map(of_xid)).collect()
    }

    fn fresh_xids<'gpu>(&self, gpu: &'gpu Gpu) -> impl Iterator<Item = u64> + use<'gpu> {
        let since = self.since;
        let is_fresh = move |event: &&GpuEvent| since.is_none_or(|since| event.at >= since);
        gpu.events.iter().filter(is_fresh).map(|event| event.xid)
    }
}

fn of_xid(number: u64) -> Fault {
    match XIDS.iter().find(|(known, ..)| *known == number) {
        Some((_, gravity, meaning)) => Fault { gravity: *gravity, what: format!("XID {number} ({meaning})") },
        None => Fault { gravity: Gravity::Program, what: format!("XID {number}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gpu::GpuEvent;
    use std::time::Duration;

    fn gpu(errors: Option<u64>, events: &[(u64, u64)]) -> Gpu {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let events = events.iter().map(|(xid, seconds)| GpuEvent { xid: *xid, at: at(*seconds) }).collect();
        Gpu { uncorrected_errors: errors, events, ..Gpu::default() }
    }

    #[test]
    fn what_was_there_before_comfyui_is_no_fault_and_what_comes_after_is() {
        let mut baseline = Baseline::default();
        baseline.begin(&[gpu(Some(3), &[])], SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        assert!(baseline.faults(&gpu(Some(3), &[(48, 99)])).is_empty());
        let faults = baseline.faults(&gpu(Some(5), &[(48, 99), (31, 100), (95, 101), (31, 102)]));
        let told: Vec<(Gravity, &str)> = faults.iter().map(|fault| (fault.gravity, fault.what.as_str())).collect();
        assert_eq!(
            told,
            [
                (Gravity::Board, "2 memory errors that could not be corrected"),
                (Gravity::Program, "XID 31 (memory page fault of a program)"),
                (Gravity::Board, "XID 95 (uncontained memory error: the GPU has to be reset)"),
            ]
        );
        baseline.begin(&[gpu(Some(5), &[])], SystemTime::UNIX_EPOCH + Duration::from_secs(103));
        assert!(baseline.faults(&gpu(Some(5), &[(95, 101)])).is_empty());
    }

    #[test]
    fn a_first_look_and_a_reloaded_driver_are_no_faults() {
        let mut baseline = Baseline::default();
        baseline.note(&[gpu(Some(7), &[])]);
        assert!(baseline.faults(&gpu(Some(7), &[])).is_empty());
        baseline.note(&[gpu(Some(0), &[])]);
        assert!(baseline.faults(&gpu(Some(0), &[])).is_empty());
        assert_eq!(baseline.faults(&gpu(Some(1), &[])).len(), 1, "the count began anew");
        assert!(baseline.faults(&gpu(None, &[])).is_empty(), "not supported");
    }

    #[test]
    fn what_was_heard_is_not_forgotten_with_the_sensor_and_is_with_comfyui() {
        let mut baseline = Baseline::default();
        baseline.begin(&[], SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        baseline.note(&[gpu(None, &[(79, 101), (48, 99)])]);
        assert_eq!(baseline.faults(&gpu(None, &[])), [of_xid(79)]);
        assert!(baseline.faults(&Gpu { index: 1, ..Gpu::default() }).is_empty(), "another GPU's");
        baseline.begin(&[], SystemTime::UNIX_EPOCH + Duration::from_secs(102));
        assert!(baseline.faults(&gpu(None, &[])).is_empty());
    }

    #[test]
    fn an_unknown_xid_is_told_and_closes_nothing() {
        assert_eq!(of_xid(9999), Fault { gravity: Gravity::Program, what: "XID 9999".to_owned() });
        assert!(XIDS.iter().map(|row| row.0).collect::<Vec<_>>().is_sorted());
    }
}
