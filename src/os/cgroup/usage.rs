//! What the processes of a group use together.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Group;

/// The kernel's figures (cgroup-v2, "Controllers"); none: that controller is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Bytes of it that they may have.
    pub(crate) memory_limit: Option<u64>,
    /// Microseconds of processors.
    pub(crate) cpu: Option<u64>,
    /// Bytes read from disks.
    pub(crate) read: Option<u64>,
    /// Bytes written to disks.
    pub(crate) written: Option<u64>,
    /// Processes and threads.
    pub(crate) tasks: Option<u64>,
}

impl Group {
    /// What its processes use now.
    pub(crate) fn usage(&self) -> Usage {
        let text = |file: &str| read(&self.path().join(file));
        let number = |file: &str| text(file)?.trim().parse().ok();
        let io = text("io.stat");
        Usage {
            memory: number("memory.current"),
            memory_limit: number("memory.max"),
            cpu: text("cpu.stat").and_then(|text| field(&text, "usage_usec")),
            read: io.as_ref().map(|text| sum(text, "rbytes")),
            written: io.as_ref().map(|text| sum(text, "wbytes")),
            tasks: number("pids.current"),
        }
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A line `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Lines `8:0 rbytes=1 wbytes=2 ...`, one for each device.
fn sum(text: &str, name: &str) -> u64 {
    let fields = text.split_ascii_whitespace().filter_map(|field| field.split_once('='));
    fields.filter(|(key, _)| *key == name).filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read_as_they_are_written() {
        assert_eq!(field("usage_usec 1234\nuser_usec 1000\n", "usage_usec"), Some(1234));
        assert_eq!(field("user_usec 1000\n", "usage_usec"), None);
        let io = "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n259:0 rbytes=5 wbytes=7\n";
        assert_eq!((sum(io, "rbytes"), sum(io, "wbytes"), sum("", "rbytes")), (15, 27, 0));
    }
}
