//! The machine below: clock, disks, memory, and whether the guard comes back after a reboot.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::finding::Finding;
use crate::cli::status::size;

/// No machine that runs this version lives before (2025-01-01).
const EARLIEST: Duration = Duration::from_secs(1_735_689_600);
/// 2100-01-01.
const LATEST: Duration = Duration::from_secs(4_102_444_800);

/// Sessions and certificates end by the clock. `synchronised`: as the kernel knows it, where it tells.
pub(super) fn clock(now: SystemTime, synchronised: Option<bool>) -> Finding {
    const ABOUT: &str = "clock";
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if !(EARLIEST..LATEST).contains(&since) {
        return Finding::problem(
            ABOUT,
            "this machine's clock is years off: certificates are not valid yet or no more, and sessions end at the wrong time",
            "`timedatectl set-ntp true`, or `date -s`",
        );
    }
    match synchronised {
        Some(false) => Finding::warning(
            ABOUT,
            "nothing keeps this machine's clock right",
            "`timedatectl set-ntp true` (package systemd-timesyncd), or chrony; in a container it is the host's to do",
        ),
        Some(true) => Finding::ok(ABOUT, "synchronised"),
        None => Finding::ok(ABOUT, "plausible; the kernel does not tell whether it is synchronised"),
    }
}

/// A file system that something is kept on.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    /// What is kept there.
    pub(super) what: &'static str,
    pub(super) path: PathBuf,
    pub(super) total: u64,
    /// What others than root may still write.
    pub(super) free: u64,
}

/// Less than this, or than this share, is little; a tenth of it is nothing.
const LITTLE: u64 = 1 << 30;
const LITTLE_SHARE: u64 = 20;

/// Where there is room, and where not.
pub(super) fn disks(disks: &[Disk]) -> Vec<Finding> {
    const ABOUT: &str = "disk";
    let mut findings: Vec<Finding> = disks
        .iter()
        .filter_map(|disk| {
            let (free, path) = (size(disk.free), disk.path.display());
            let found = format!("{free} of {} are free at {path} ({})", size(disk.total), disk.what);
            // A small file system of its own, with a tenth free, is meant to be small.
            let little = disk.free < disk.total / LITTLE_SHARE || disk.free < LITTLE.min(disk.total / 2);
            let none = disk.free < (disk.total / LITTLE_SHARE / 10).min(LITTLE / 10);
            let cure = format!("make room: `du -xh --max-depth 2 {path} | sort -h | tail`");
            match (none, little) {
                (true, _) => Some(Finding::problem(ABOUT, found, cure)),
                (_, true) => Some(Finding::warning(ABOUT, found, cure)),
                _ => None,
            }
        })
        .collect();
    if findings.is_empty() {
        let what: Vec<&str> = disks.iter().map(|disk| disk.what).collect();
        findings.push(Finding::ok(ABOUT, format!("there is room for {}", what.join(", "))));
    }
    findings
}

/// `comfyui.limits.memory` against what there is, in bytes.
pub(super) fn memory(total: Option<u64>, limit: Option<u64>) -> Finding {
    const ABOUT: &str = "memory";
    match (total, limit) {
        (Some(total), Some(limit)) if limit >= total => Finding::warning(
            ABOUT,
            format!(
                "comfyui.limits.memory ({}) is all that this machine has ({}): it holds nothing back",
                size(limit),
                size(total)
            ),
            "leave a tenth, and 2 GiB at the least, to the rest of the machine",
        ),
        (Some(total), None) => Finding::ok(
            ABOUT,
            format!("{}; ComfyUI may have all of it (comfyui.limits.memory is not set)", size(total)),
        ),
        (Some(total), Some(limit)) => {
            Finding::ok(ABOUT, format!("ComfyUI may have {} of {}", size(limit), size(total)))
        }
        (None, _) => Finding::ok(ABOUT, "the kernel does not tell how much there is"),
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub(super) fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The package's unit; none: there is none, or no systemd.
pub(super) fn unit(enabled: Option<bool>) -> Option<Finding> {
    const ABOUT: &str = "unit";
    match enabled? {
        true => Some(Finding::ok(ABOUT, "comfy-guard.service is started with the machine")),
        false => Some(Finding::warning(
            ABOUT,
            "comfy-guard.service is not enabled: after a reboot ComfyUI and its guard are gone",
            "`systemctl enable comfy-guard.service comfy-guard.socket`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade::{Ok as Fine, Problem, Warning};
    use crate::cli::doctor::finding::tests::grades;

    #[test]
    fn a_clock_is_wrong_unkept_or_right() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let table = [
            (at(0), Some(true), Problem),
            (at(1_577_836_800), Some(true), Problem),
            (at(5_000_000_000), None, Problem),
            (at(1_769_860_800), Some(false), Warning),
            (at(1_769_860_800), Some(true), Fine),
            (at(1_769_860_800), None, Fine),
        ];
        for (now, synchronised, grade) in table {
            assert_eq!(clock(now, synchronised).grade, grade, "{now:?} {synchronised:?}");
        }
    }

    #[test]
    fn disks_that_fill_up_are_told_before_they_are_full() {
        const GIB: u64 = 1 << 30;
        let disk = |total, free| Disk { what: "output", path: PathBuf::from("/srv"), total, free };
        let table = [
            (disk(100 * GIB, 50 * GIB), Fine),
            (disk(100 * GIB, 4 * GIB), Warning),
            (disk(100 * GIB, GIB / 20), Problem),
            (disk(10 * GIB, GIB * 9 / 10), Warning),
            (disk(100 << 20, 80 << 20), Fine),
            (disk(100 << 20, 0), Problem),
        ];
        for (one, grade) in table {
            let told = disks(std::slice::from_ref(&one));
            assert_eq!(grades(&told), [("disk", grade)], "{told:?}");
        }
        assert_eq!(disks(&[disk(100 * GIB, 0), disk(100 * GIB, 99 * GIB), disk(100 * GIB, 3 * GIB)]).len(), 2);
    }

    #[test]
    fn a_limit_of_everything_is_none() {
        let table =
            [(Some(64), Some(64), Warning), (Some(64), Some(48), Fine), (Some(64), None, Fine), (None, Some(1), Fine)];
        for (total, limit, grade) in table {
            assert_eq!(memory(total, limit).grade, grade, "{total:?} {limit:?}");
        }
        assert_eq!(memory_total("MemFree: 1 kB\nMemTotal:       24576 kB\n"), Some(25_165_824));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn a_unit_that_is_not_enabled_is_told_and_none_is_not() {
        assert_eq!(unit(Some(false)).map(|finding| finding.grade), Some(Warning));
        assert_eq!(unit(Some(true)).map(|finding| finding.grade), Some(Fine));
        assert_eq!(unit(None), None);
    }
}
