//! Starting a child: one irreversible step per line between fork and exec, each with its name when it fails.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use caps::CapSet;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::unistd::{Gid, Uid, getpid, getppid, getresuid, setgroups, setresgid, setresuid, setsid};

use super::descriptors::CHANNEL;
use super::process::Pid;

/// The ids that a child gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User id, in all three places.
    pub(crate) uid: u32,
    /// Group id, in all three places.
    pub(crate) gid: u32,
    /// Supplementary groups, and no others.
    pub(crate) groups: Vec<u32>,
}

/// What is to be started, and as what.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The file to execute.
    pub(crate) program: &'a Path,
    /// `argv[0]`, what `ps` shows.
    pub(crate) name: &'a str,
    /// The further arguments.
    pub(crate) arguments: &'a [OsString],
    /// The whole environment: nothing is inherited.
    pub(crate) environment: &'a [(OsString, OsString)],
    /// The working directory; `/` when none is given.
    pub(crate) directory: Option<&'a Path>,
    /// The ids; none: those of this process.
    pub(crate) identity: Option<Identity>,
    /// A socket that the child finds as descriptor 3.
    pub(crate) channel: Option<BorrowedFd<'a>>,
    /// Whether stdout and stderr come back as pipes; else they are this process' stderr.
    pub(crate) piped: bool,
    /// The `cgroup.procs` of the group that it is to be in; none: that of this process.
    pub(crate) group: Option<BorrowedFd<'a>>,
    /// What it may use; what is not said is as in this process.
    pub(crate) limits: Limits,
}

/// Resource limits of a child (setrlimit(2)); one above the own hard limit becomes that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open files that it may have without asking for more (the soft limit).
    pub(crate) open_files: Option<u64>,
    /// Bytes of memory that it may lock.
    pub(crate) locked_memory: Option<u64>,
    /// Processes and threads of its user, wherever they were started.
    pub(crate) processes: Option<u64>,
}

/// A started child.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process and, being a session leader, its process group.
    pub(crate) pid: Pid,
    /// Its stdout and stderr, where [`Plan::piped`].
    pub(crate) output: Vec<OwnedFd>,
}

/// Why a child did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    /// A step between fork and exec failed.
    #[error("cannot start {}: {step} failed: {source}", program.display())]
    Step {
        /// The file that was to be executed.
        program: PathBuf,
        /// What failed.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Fork or exec failed.
    #[error("cannot start {}: {source}", program.display())]
    Exec {
        /// The file that was to be executed.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Starts a child as planned; returns after exec has succeeded.
///
/// Call from the thread that lives as long as the process: `PR_SET_PDEATHSIG` is bound to the thread that forked.
#[allow(clippy::disallowed_methods, reason = "this is the one place where children are started")]
pub(crate) fn start(plan: &Plan<'_>) -> Result<Child, SpawnError> {
    let mut command = Command::new(plan.program);
    command.arg0(plan.name).args(plan.arguments).env_clear().envs(plan.environment.iter().map(|(k, v)| (k, v)));
    command.current_dir(plan.directory.unwrap_or(Path::new("/"))).stdin(Stdio::null());
    if plan.piped {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    } else {
        command.stdout(io::stderr()).stderr(Stdio::inherit());
    }
    let child_side = ChildSide {
        parent: getpid(),
        channel: plan.channel.map(|fd| fd.as_raw_fd()),
        identity: plan.identity.as_ref().map(|identity| {
            let groups = identity.groups.iter().map(|id| Gid::from_raw(*id)).collect();
            (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid), groups)
        }),
        group: plan.group.map(|fd| fd.as_raw_fd()),
        limits: plan.limits,
    };
    // SAFETY: between fork and exec the closure only makes system calls through thin wrappers; it takes no lock and
    // allocates nothing (an empty capability set needs no memory, the group list was built before the fork).
    unsafe { command.pre_exec(move || child_side.prepare()) };
    let mut child = command.spawn().map_err(|error| explain(plan.program, error))?;
    let output = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    Ok(Child { pid: Pid::of(&child), output: output.into_iter().flatten().collect() })
}

/// Becomes another program, with this process' environment and directory; returns only if that fails.
///
/// # Errors
/// The file cannot be executed.
#[allow(clippy::disallowed_methods, reason = "no child: this process goes on as the other program")]
pub(crate) fn replace(program: &Path, arguments: &[OsString]) -> Result<Infallible, SpawnError> {
    let source = Command::new(program).args(arguments).exec();
    Err(SpawnError::Exec { program: program.to_owned(), source })
}

/// What the child needs to know between fork and exec.
struct ChildSide {
    parent: nix::unistd::Pid,
    channel: Option<RawFd>,
    identity: Option<(Uid, Gid, Vec<Gid>)>,
    group: Option<RawFd>,
    limits: Limits,
}

/// The steps in their order; the number travels through the standard library's error pipe beside the errno.
const STEPS: [&str; 13] = [
    "new session",
    "default signals",
    "joining the cgroup",
    "passing the channel",
    "closing descriptors",
    "setting groups",
    "setting the group",
    "setting the user",
    "dropping capabilities",
    "no_new_privs",
    "no core dumps",
    "resource limits",
    "the end with the parent",
];

impl ChildSide {
    fn prepare(&self) -> io::Result<()> {
        step(0, setsid())?;
        step(1, default_signals())?;
        // While the ids still have the right to it, and before anything is started that would stay behind.
        step(2, self.join_group())?;
        step(3, self.pass_channel())?;
        step(4, mark_others_close_on_exec(self.channel.is_some()))?;
        if let Some((uid, gid, groups)) = &self.identity {
            step(5, setgroups(groups))?;
            step(6, setresgid(*gid, *gid, *gid))?;
            step(7, setresuid(*uid, *uid, *uid))?;
            // A setresuid that silently did less than it said would leave a privileged child.
            let left = step(7, getresuid())?;
            if left.real != *uid || left.effective != *uid || left.saved != *uid {
                return step(7, Err(nix::Error::EPERM));
            }
        }
        // Capabilities survive a change between two ids that are not root's: they have to be cleared by hand.
        step(8, drop_capabilities())?;
        step(9, prctl::set_no_new_privs())?;
        step(10, setrlimit(Resource::RLIMIT_CORE, 0, 0))?;
        step(11, self.limits.set())?;
        // Last, because a change of user clears it.
        step(12, prctl::set_pdeathsig(Signal::SIGKILL))?;
        if getppid() != self.parent {
            return step(12, Err(nix::Error::ESRCH));
        }
        Ok(())
    }

    fn join_group(&self) -> nix::Result<()> {
        let Some(group) = self.group else { return Ok(()) };
        // SAFETY: writes one byte of a constant; 0 means the process that writes.
        let result = unsafe { libc::write(group, c"0".as_ptr().cast(), 1) };
        nix::errno::Errno::result(result).map(drop)
    }

    fn pass_channel(&self) -> nix::Result<()> {
        let Some(channel) = self.channel else { return Ok(()) };
        // SAFETY: dup2 and fcntl on descriptors of this process, which is about to execute another file.
        let result = unsafe {
            if channel == CHANNEL { libc::fcntl(CHANNEL, libc::F_SETFD, 0) } else { libc::dup2(channel, CHANNEL) }
        };
        nix::errno::Errno::result(result).map(drop)
    }
}

impl Limits {
    fn set(self) -> nix::Result<()> {
        if let Some(wanted) = self.open_files {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
            setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard)?;
        }
        for (resource, wanted) in
            [(Resource::RLIMIT_MEMLOCK, self.locked_memory), (Resource::RLIMIT_NPROC, self.processes)]
        {
            if let Some(wanted) = wanted {
                let (_, hard) = getrlimit(resource)?;
                setrlimit(resource, wanted.min(hard), wanted.min(hard))?;
            }
        }
        Ok(())
    }
}

/// An ignored signal stays ignored over exec: Python would then never end on SIGINT.
fn default_signals() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        if !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            // SAFETY: no Rust handler is installed, only the default disposition.
            unsafe { sigaction(signal, &default) }?;
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Marks instead of closing: the standard library's error pipe must stay open until exec.
fn mark_others_close_on_exec(has_channel: bool) -> nix::Result<()> {
    let first = if has_channel { 4 } else { 3 };
    // SAFETY: close_range with CLOEXEC only sets flags.
    let result = unsafe { libc::close_range(first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    nix::errno::Errno::result(result).map(drop)
}

fn drop_capabilities() -> nix::Result<()> {
    for set in [CapSet::Ambient, CapSet::Effective, CapSet::Inheritable, CapSet::Permitted] {
        caps::clear(None, set).map_err(|_| nix::Error::EPERM)?;
    }
    Ok(())
}

fn step<T>(number: i32, result: nix::Result<T>) -> io::Result<T> {
    result.map_err(|errno| io::Error::from_raw_os_error(((number + 1) << 16) | errno as i32))
}

fn explain(program: &Path, error: io::Error) -> SpawnError {
    let program = program.to_owned();
    let code = error.raw_os_error().unwrap_or(0);
    let step = usize::try_from(code >> 16).ok().and_then(|n| n.checked_sub(1)).and_then(|n| STEPS.get(n));
    match step {
        Some(step) => SpawnError::Step { program, step, source: io::Error::from_raw_os_error(code & 0xffff) },
        None => SpawnError::Exec { program, source: error },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::print_stderr)]
    use super::*;
    use crate::os::process;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    fn run(script: &str, identity: Option<Identity>) -> String {
        let arguments = [OsString::from("-c"), OsString::from(script)];
        let environment = [(OsString::from("PATH"), OsString::from("/usr/bin:/bin"))];
        let plan = Plan {
            program: Path::new("/bin/sh"),
            name: "child",
            arguments: &arguments,
            environment: &environment,
            directory: None,
            identity,
            channel: None,
            piped: true,
            group: None,
            limits: Limits { open_files: Some(100), locked_memory: Some(4096), processes: None },
        };
        let mut child = start(&plan).unwrap();
        let mut text = String::new();
        File::from(child.output.swap_remove(0)).read_to_string(&mut text).unwrap();
        process::wait_for(child.pid).unwrap();
        text
    }

    #[test]
    fn a_child_has_only_the_environment_and_descriptors_that_it_was_given() {
        let _held = File::open("/dev/null").unwrap();
        let text = run("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; ls /proc/self/fd | wc -l", None);
        // Four: the three standard ones and the one with which ls reads the directory.
        assert_eq!(text, "PATH=/usr/bin:/bin\n4\n");
    }

    #[test]
    fn a_child_has_the_limits_that_it_was_given() {
        let text = run("ulimit -Sn; ulimit -l; ulimit -c", None);
        assert_eq!(text, "100\n4\n0\n");
    }

    #[test]
    fn a_child_that_cannot_join_its_group_does_not_start() {
        let read_only = File::open("/dev/null").unwrap();
        let plan = Plan {
            program: Path::new("/bin/true"),
            name: "x",
            arguments: &[],
            environment: &[],
            directory: None,
            identity: None,
            channel: None,
            piped: false,
            group: Some(read_only.as_fd()),
            limits: Limits::default(),
        };
        let message = start(&plan).unwrap_err().to_string();
        assert!(message.contains("joining the cgroup failed: Bad file descriptor"), "{message}");
    }

    #[test]
    fn a_child_has_no_capability_and_cannot_gain_one() {
        let text = run("grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status | tr -d '\\n\\t'", None);
        let none = "0".repeat(16);
        assert_eq!(text, format!("CapInh:{none}CapPrm:{none}CapEff:{none}CapAmb:{none}NoNewPrivs:1"));
    }

    #[test]
    fn a_child_is_the_user_that_was_asked_for() {
        if !crate::os::privilege::may_switch_users() {
            eprintln!("not privileged: a change of user cannot be tried here");
            return;
        }
        let identity = Identity { uid: 12_345, gid: 23_456, groups: vec![34_567] };
        let text = run("grep -E '^(Uid|Gid|Groups)' /proc/self/status", Some(identity));
        assert_eq!(
            text.replace('\t', " "),
            "Uid: 12345 12345 12345 12345\nGid: 23456 23456 23456 23456\nGroups: 34567 \n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_named() {
        let plan = Plan {
            program: Path::new("/nonexistent/python"),
            name: "x",
            arguments: &[],
            environment: &[],
            directory: None,
            identity: None,
            channel: None,
            piped: false,
            group: None,
            limits: Limits::default(),
        };
        let message = start(&plan).unwrap_err().to_string();
        assert!(message.contains("/nonexistent/python") && message.contains("No such file"), "{message}");
    }
}
