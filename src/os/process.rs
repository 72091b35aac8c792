//! Processes: their ends, signals to them and to their groups, and what they leave behind.

use std::ffi::{CStr, OsString};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// A process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pid(nix::unistd::Pid);

impl Pid {
    /// The id of a child that the standard library started.
    pub(crate) fn of(child: &std::process::Child) -> Self {
        Self(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)))
    }
}

impl Pid {
    /// Its number.
    pub(crate) fn number(self) -> u32 {
        u32::try_from(self.0.as_raw()).unwrap_or_default()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The signals that the guard sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGINT: ComfyUI cleans up.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl Ending {
    fn signal(self) -> Signal {
        match self {
            Self::Interrupt => Signal::SIGINT,
            Self::Terminate => Signal::SIGTERM,
            Self::Kill => Signal::SIGKILL,
        }
    }
}

/// Gives this process the name that `top` and `ps -e` show (at most 15 bytes); a role would else be called `exe`.
pub(crate) fn name_self(name: &CStr) -> io::Result<()> {
    Ok(prctl::set_name(name)?)
}

/// Gives up what this process inherited of being preferred to others: a nice value below zero, and a protection from the OOM killer.
///
/// # Errors
/// The kernel refuses; the other of the two is changed all the same.
pub(crate) fn give_up_precedence() -> io::Result<()> {
    const OOM_SCORE: &str = "/proc/self/oom_score_adj";
    // SAFETY: getpriority(2) and setpriority(2) take numbers; 0 means this process. Only -1 with an errno is an error, and -1 is
    // below zero too.
    let nice = if unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) } < 0 {
        // SAFETY: as above.
        Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) }).map(drop)
    } else {
        Ok(())
    };
    let protected = fs::read_to_string(OOM_SCORE)?.trim().parse::<i32>().is_ok_and(|score| score < 0);
    if protected {
        fs::OpenOptions::new().write(true).open(OOM_SCORE)?.write_all(b"0")?;
    }
    Ok(nice?)
}

/// Makes orphans of children come to this process instead of init, so that none is lost (`PR_SET_CHILD_SUBREAPER`).
pub(crate) fn adopt_orphans() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Becomes another program, which is looked for in `PATH`; the error, if it does not.
#[allow(clippy::disallowed_methods, reason = "no child: a command hands its terminal on")]
pub(crate) fn become_program(program: &str, arguments: &[OsString]) -> io::Error {
    Command::new(program).args(arguments).exec()
}

/// Signals a child; one that has gone already is no error.
pub(crate) fn end(pid: Pid, how: Ending) -> io::Result<()> {
    gone_is_fine(signal::kill(pid.0, how.signal()))
}

/// Signals the whole process group that `leader` leads; a group that has gone already is no error.
pub(crate) fn end_group(leader: Pid, how: Ending) -> io::Result<()> {
    gone_is_fine(signal::killpg(leader.0, how.signal()))
}

fn gone_is_fine(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A process of somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stranger {
    /// What it calls itself; it may lie.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) user: super::users::Uid,
}

/// Whether there is such a process, as far as this one's namespace reaches.
pub(crate) fn exists(pid: u32) -> bool {
    // Zero and less would mean groups of processes.
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    pid.is_some_and(|pid| signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(Errno::ESRCH))
}

/// What can be read of a process; none where `/proc` does not show it.
pub(crate) fn stranger(pid: u32) -> Option<Stranger> {
    use std::os::unix::fs::MetadataExt;
    let place = format!("/proc/{pid}");
    let name = fs::read_to_string(format!("{place}/comm")).ok()?;
    let user = super::users::Uid(fs::metadata(&place).ok()?.uid());
    Some(Stranger { name: name.trim_end().to_owned(), user })
}

/// Whether a process descends from this one; none where `/proc` does not show it.
pub(crate) fn is_own(pid: u32) -> Option<bool> {
    let own = std::process::id();
    let mut pid = pid;
    // More generations than this are a loop: a process that ended and whose number was given away while it was looked at.
    for _ in 0..64 {
        match parent(pid)? {
            parent if parent == own => return Some(true),
            0 => return Some(false),
            parent => pid = parent,
        }
    }
    Some(false)
}

/// proc_pid_stat(5): the fourth field, behind the name in parentheses, which may hold anything.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Collects one child that has ended, if there is one.
pub(crate) fn reap() -> Option<(Pid, ExitStatus)> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some((Pid(pid), ExitStatus::from_raw(code << 8))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Some((Pid(pid), ExitStatus::from_raw(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return None,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Waits, blocking, for one child and leaves nothing of it.
#[cfg(test)]
pub(crate) fn wait_for(pid: Pid) -> io::Result<()> {
    nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid.0), WaitPidFlag::WEXITED)?;
    Ok(())
}

/// The direct children of this process' main thread, adopted orphans included.
///
/// Empty where the kernel does not list them (`CONFIG_PROC_CHILDREN`).
pub(crate) fn children() -> Vec<Pid> {
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
    list.split_ascii_whitespace()
        .filter_map(|id| id.parse().ok())
        .map(|id| Pid(nix::unistd::Pid::from_raw(id)))
        .collect()
}

/// Kills every direct child that is not in `known`; how many there were.
///
/// What a killed process had started comes to this process in turn: call again until none is left.
pub(crate) fn kill_strangers(known: &[Pid]) -> usize {
    let strangers: Vec<Pid> = children().into_iter().filter(|pid| !known.contains(pid)).collect();
    for pid in &strangers {
        if let Err(error) = end(*pid, Ending::Kill) {
            tracing::warn!(pid = %pid, %error, "cannot kill a process that ComfyUI left behind");
        }
    }
    strangers.len()
}

/// How a process ended, in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => format!("{status:?}"),
    }
}
