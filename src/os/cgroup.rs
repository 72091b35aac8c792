//! Control groups (cgroups(7), version 2): a group for the guard and one for ComfyUI, below the one that was handed over.
//!
//! A group that was not handed over is left alone: it belongs to a session or to the system, and its processes are not ours.

mod owner;
mod place;
mod usage;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

use super::users::{Gid, Uid};
pub(crate) use owner::groups_of;
pub(crate) use place::NoGroup;
pub(crate) use usage::Usage;

/// What a limit needs, as the kernel calls it.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// What is counted besides.
const COUNTED: &str = "io";
/// The period of `cpu.max`, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

/// The most that the processes of a group may use together; none: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ceiling {
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Thousandths of a processor.
    pub(crate) cpu: Option<u32>,
    /// Processes and threads.
    pub(crate) tasks: u32,
}

/// Which limits the kernel holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// [`Ceiling::memory`]
    pub(crate) memory: bool,
    /// [`Ceiling::cpu`]
    pub(crate) cpu: bool,
    /// [`Ceiling::tasks`]
    pub(crate) tasks: bool,
}

/// ComfyUI's group.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    /// Opened while the rights are there: the kernel asks who opened it, not who writes.
    entrance: File,
    controllers: Vec<&'static str>,
}

impl Group {
    /// Divides the group that this process was started in: this process moves to `guard`, and `comfyui` is made beside it.
    /// `owner`: to whom it is to belong, where this process is root still.
    ///
    /// Call before any other process or thread is started: they are born where their parent is.
    ///
    /// # Errors
    /// Nothing was handed over, or the kernel refuses; nothing that was in force before is changed then.
    pub(crate) fn divide(owner: Option<(Uid, Gid)>) -> Result<Self, NoGroup> {
        let top = place::handed_over()?;
        let refused = |step: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| NoGroup::Refused { step, path, source }
        };
        let (guard, path) = (top.join("guard"), top.join("comfyui"));
        for group in [&guard, &path] {
            make(group).map_err(refused("make", group))?;
        }
        let own = std::process::id().to_string();
        write(&guard.join("cgroup.procs"), &own).map_err(refused("move into", &guard))?;
        // Only now: a group with processes in it can have no controllers for the groups below it.
        for controller in CONTROLLERS.into_iter().chain([COUNTED]) {
            if let Err(error) = write(&top.join("cgroup.subtree_control"), &format!("+{controller}")) {
                tracing::debug!(%error, controller, "not there for ComfyUI's cgroup");
            }
        }
        if let Some((uid, gid)) = owner {
            give_away(&path, uid, gid).map_err(refused("give away", &path))?;
        }
        let procs = path.join("cgroup.procs");
        let entrance = OpenOptions::new().write(true).open(&procs).map_err(refused("open", &procs))?;
        let enabled = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
        let enabled: Vec<&str> = enabled.split_ascii_whitespace().collect();
        let controllers = CONTROLLERS.into_iter().filter(|name| enabled.contains(name)).collect();
        Ok(Self { path, entrance, controllers })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The processes in it; a group below it is none of the guard's making, and ComfyUI may make none.
    pub(crate) fn members(&self) -> Vec<u32> {
        place::members(&self.path).unwrap_or_default()
    }

    /// What a child writes itself into to become a member (`cgroup.procs`).
    pub(crate) fn entrance(&self) -> BorrowedFd<'_> {
        self.entrance.as_fd()
    }

    /// Sets the limits; which of them hold. One that does not is told in the log.
    pub(crate) fn limit(&self, ceiling: Ceiling) -> Held {
        let memory = ceiling.memory.map_or("max".to_owned(), |bytes| bytes.to_string());
        // Else a hostile node would fill the swap with what it may not have in memory.
        let swap = if ceiling.memory.is_some() { "0" } else { "max" };
        let cpu = ceiling.cpu.map_or("max".to_owned(), |share| (u64::from(share) * PERIOD / 1000).to_string());
        Held {
            memory: self.holds("memory", "memory.max", &memory)
                && self.holds_if_there("memory.swap.max", swap)
                // Half of a ComfyUI, without the worker that was killed, serves nobody.
                && self.holds("memory", "memory.oom.group", "1"),
            cpu: self.holds("cpu", "cpu.max", &format!("{cpu} {PERIOD}")),
            tasks: self.holds("pids", "pids.max", &ceiling.tasks.to_string()),
        }
    }

    fn holds(&self, controller: &str, file: &str, value: &str) -> bool {
        if !self.controllers.contains(&controller) {
            return false;
        }
        let path = self.path.join(file);
        write(&path, value)
            .map_err(
                |error| tracing::warn!(%error, path = %path.display(), value, "a limit of ComfyUI's cgroup is refused"),
            )
            .is_ok()
    }

    /// A kernel without swap accounting has no such file.
    fn holds_if_there(&self, file: &str, value: &str) -> bool {
        !self.path.join(file).exists() || self.holds("memory", file, value)
    }

    /// Kills every member, those that are being forked included. An older kernel (before 5.14) has to be asked again until
    /// [`Group::is_populated`] says no.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match write(&self.path.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.kill_one_by_one(),
            result => result,
        }
    }

    fn kill_one_by_one(&self) -> io::Result<()> {
        for pid in place::members(&self.path)? {
            match i32::try_from(pid).map(|pid| kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL)) {
                Ok(Ok(()) | Err(Errno::ESRCH)) | Err(_) => {}
                Ok(Err(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether any process is in it, those that have ended and were not collected left out.
    pub(crate) fn is_populated(&self) -> bool {
        // A group that cannot be read must not hold the guard back for ever.
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        // Left by a guard before this one.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// What systemd does for the group itself where the unit has a user (Delegate=), here for the one below it.
fn give_away(path: &Path, uid: Uid, gid: Gid) -> io::Result<()> {
    unix::chown(path, Some(uid.0), Some(gid.0))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            unix::chown(entry.path(), Some(uid.0), Some(gid.0))?;
        }
    }
    Ok(())
}

/// The kernel takes a value in one write, and makes no file.
fn write(path: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}
