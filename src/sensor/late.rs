//! When another sensor would see more than this one: a driver, a library or a device that came after the start.
//!
//! Nothing becomes executable and no further device can be opened once the sandbox is closed, so a sensor takes up nothing new: it ends
//! well, and the supervisor starts another.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::os::files::{self, Signature};
use crate::wire::gpu::{DriverFault, GpuReading, MOST_GPUS};

/// How often it is looked around.
const PACE: Duration = Duration::from_secs(1);
/// A driver that cannot be asked is tried again after this time: a new kernel module may have been loaded.
const REFUSED: Duration = Duration::from_secs(2);
/// The same for one that is not loaded although its library is there: as a rule its nodes tell sooner.
const ABSENT: Duration = Duration::from_secs(30);

/// What it depends on, and since when there is nothing to read.
#[derive(Debug)]
pub(super) struct Outlook {
    candidates: Vec<PathBuf>,
    before: Surroundings,
    looked: Instant,
    blind_since: Option<Instant>,
}

/// What a sensor finds when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Surroundings {
    library: Vec<Option<Signature>>,
    driver: Vec<bool>,
}

/// What has changed since the start.
#[derive(Debug, Clone, Copy, Default)]
struct Changed {
    /// The library's file.
    library: bool,
    /// The driver, or its devices.
    driver: bool,
}

impl Outlook {
    /// Before the library is looked for at these places.
    pub(super) fn new(candidates: Vec<PathBuf>) -> Self {
        let before = Surroundings::of(&candidates);
        Self { candidates, before, looked: Instant::now(), blind_since: None }
    }

    /// Whether this sensor has done what it can.
    pub(super) fn is_over(&mut self, reading: &GpuReading) -> bool {
        let now = Instant::now();
        if now.duration_since(self.looked) < PACE {
            return false;
        }
        self.looked = now;
        let is_blind = matches!(reading, GpuReading::Absent(_) | GpuReading::Failed { .. });
        self.blind_since = is_blind.then(|| self.blind_since.unwrap_or(now));
        let surroundings = Surroundings::of(&self.candidates);
        let changed = Changed {
            library: surroundings.library != self.before.library,
            driver: surroundings.driver != self.before.driver,
        };
        let has_library = self.before.library.iter().any(Option::is_some);
        may_see_more(reading, changed, has_library, self.blind_since.map(|since| now.duration_since(since)))
    }
}

impl Surroundings {
    /// Asked by name, as the sandbox allows: it lets no folder be listed.
    fn of(candidates: &[PathBuf]) -> Self {
        let devices = (0..MOST_GPUS).map(|number| format!("/dev/nvidia{number}"));
        let driver = ["/sys/module/nvidia", "/dev/nvidiactl"].map(str::to_owned).into_iter().chain(devices);
        Self {
            library: candidates.iter().map(|path| files::signature(path)).collect(),
            driver: driver.map(|path| PathBuf::from(path).exists()).collect(),
        }
    }
}

/// `blind`: for how long there has been nothing to read.
fn may_see_more(reading: &GpuReading, changed: Changed, has_library: bool, blind: Option<Duration>) -> bool {
    let blind_for = |time| blind.is_some_and(|blind| blind >= time);
    match reading {
        // Ended by the supervisor, which says so.
        GpuReading::Failed { fault: DriverFault::Hung, .. } => false,
        GpuReading::Failed { .. } => changed.driver || changed.library || blind_for(REFUSED),
        GpuReading::Absent(_) => changed.driver || changed.library || has_library && blind_for(ABSENT),
        // A library that was replaced belongs to the next boot: the one that is loaded still speaks to the driver that runs.
        GpuReading::Read(_) | GpuReading::Unknown => changed.driver,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gpu::Readings;

    #[test]
    fn another_sensor_is_wanted_when_it_may_see_more() {
        let failed = |fault| GpuReading::Failed { fault, why: String::new() };
        let (absent, read) = (GpuReading::Absent(String::new()), GpuReading::Read(Readings::default()));
        let (same, library, driver) =
            (Changed::default(), Changed { library: true, driver: false }, Changed { library: false, driver: true });
        let (short, long) = (Some(Duration::from_secs(2)), Some(Duration::from_secs(60)));
        let table = [
            (&absent, same, false, long, false, "no driver here, and none has come"),
            (&absent, library, false, short, true, "the library was installed"),
            (&absent, driver, false, short, true, "the driver was loaded"),
            (&absent, same, true, short, false, "a library without a driver"),
            (&absent, same, true, long, true, "the same, for long"),
            (&failed(DriverFault::Mismatch), same, true, None, false, "just seen"),
            (&failed(DriverFault::Mismatch), same, true, short, true, "the new module may be loaded by now"),
            (&failed(DriverFault::Other), same, true, short, true, "whatever it was"),
            (&failed(DriverFault::Hung), driver, true, long, false, "the supervisor's affair"),
            (&read, library, true, None, false, "an update that waits for a reboot"),
            (&read, driver, true, None, true, "another device"),
            (&read, same, true, None, false, "all is well"),
            (&GpuReading::Unknown, same, true, None, false, "not read yet"),
        ];
        for (reading, changed, has_library, blind, expected, why) in table {
            assert_eq!(may_see_more(reading, changed, has_library, blind), expected, "{why}");
        }
    }

    #[test]
    fn a_library_that_comes_later_is_seen() {
        let directory = tempfile::tempdir().expect("a folder");
        let path = directory.path().join("libnvidia-ml.so.1");
        let mut outlook = Outlook::new(vec![path.clone()]);
        outlook.looked = Instant::now().checked_sub(PACE).expect("an hour after boot");
        assert!(!outlook.is_over(&GpuReading::Absent(String::new())));
        std::fs::write(&path, "").expect("a file");
        outlook.looked = Instant::now().checked_sub(PACE).expect("an hour after boot");
        assert!(outlook.is_over(&GpuReading::Absent(String::new())));
    }
}
