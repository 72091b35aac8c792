//! Fences around files, ports and signals (landlock(7)): what is allowed is data; a fence is prepared first and entered later, without
//! allocating.
//!
//! Best effort: an older kernel holds what it knows of it, and [`Fence::in_force`] says what that is. Where the kernel has no
//! Landlock, entering a fence does nothing.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

/// The rights that are fenced, where the kernel knows them: a newer kernel's further ones change nothing until they were tried.
const KNOWN: ABI = ABI::V7;
/// The kind of rules about ports.
const TCP: &str = "TCP";

/// What is allowed at a path and below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read files, list directories.
    Read,
    /// That, and execute.
    ReadExecute,
    /// Read, write, make, remove, rename, truncate; not execute.
    ReadWrite,
    /// All of that: programs that install programs.
    ReadWriteExecute,
    /// Read, write and control a device (ioctl).
    Device,
}

impl Access {
    fn rights(self) -> BitFlags<AccessFs> {
        let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
        let device = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | IoctlDev});
        let read_write = (AccessFs::from_all(KNOWN) & !make_bitflags!(AccessFs::{Execute | IoctlDev})) | read;
        match self {
            Self::Read => read,
            Self::ReadExecute => read | AccessFs::Execute,
            Self::ReadWrite => read_write,
            Self::ReadWriteExecute => read_write | AccessFs::Execute,
            Self::Device => device,
        }
    }
}

/// A path and what is allowed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// A directory, for all below it, or a file.
    pub(crate) path: PathBuf,
    /// What is allowed.
    pub(crate) access: Access,
}

/// What is allowed; all else of its kind is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The files. None: they are not fenced.
    pub(crate) files: Option<Vec<Grant>>,
    /// The TCP ports that can be connected to. None: any.
    pub(crate) connect: Option<Vec<u16>>,
    /// The TCP ports that can be bound. None: any.
    pub(crate) bind: Option<Vec<u16>>,
    /// Whether signals and abstract UNIX sockets end at the fence.
    pub(crate) scoped: bool,
}

/// What of [`Rules`] this kernel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    /// The kernel's version of Landlock; 0: it has none.
    pub(crate) abi: u32,
    /// The kinds that are fenced.
    pub(crate) kinds: Vec<&'static str>,
}

impl fmt::Display for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.abi, self.kinds.as_slice()) {
            (0, _) => f.write_str("no Landlock"),
            (abi, []) => write!(f, "Landlock ABI {abi} (nothing)"),
            (abi, kinds) => write!(f, "Landlock ABI {abi} ({})", kinds.join(", ")),
        }
    }
}

impl InForce {
    /// Whether the rules about TCP ports hold.
    pub(crate) fn fences_tcp(&self) -> bool {
        self.kinds.contains(&TCP)
    }
}

/// A fence that cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandlockError {
    /// A granted path cannot be looked at.
    #[error("the sandbox cannot grant {}: {source}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: PathFdError,
    },
    /// The kernel refused the rules.
    #[error("the sandbox's file and port rules were refused: {0}")]
    Rules(#[from] RulesetError),
}

/// A fence that can be entered.
#[derive(Debug)]
pub(crate) struct Fence {
    ruleset: Option<OwnedFd>,
    in_force: InForce,
    missing: Vec<PathBuf>,
}

impl Fence {
    /// Opens the granted paths, as this process can reach them now, and hands the rules to the kernel.
    ///
    /// # Errors
    /// A path within reach cannot be opened, or the kernel refuses a rule. A path that does not exist, or that this process may not even
    /// name, grants nothing and is told by [`Fence::missing`].
    pub(crate) fn prepare(rules: &Rules) -> Result<Self, LandlockError> {
        let in_force = in_force(rules, abi());
        if in_force.kinds.is_empty() {
            return Ok(Self { ruleset: None, in_force, missing: Vec::new() });
        }
        let mut ruleset = Ruleset::default();
        if rules.files.is_some() {
            ruleset = ruleset.handle_access(AccessFs::from_all(KNOWN))?;
        }
        if rules.connect.is_some() {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
        }
        if rules.bind.is_some() {
            ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
        }
        if rules.scoped {
            ruleset = ruleset.scope(Scope::from_all(KNOWN))?;
        }
        let mut created = ruleset.create()?;
        let mut missing = Vec::new();
        for grant in rules.files.iter().flatten() {
            match PathFd::new(&grant.path) {
                Ok(opened) => created = created.add_rule(PathBeneath::new(opened, grant.access.rights()))?,
                Err(error) if is_missing(&error) => missing.push(grant.path.clone()),
                Err(source) => return Err(LandlockError::Path { path: grant.path.clone(), source }),
            }
        }
        for port in rules.connect.iter().flatten() {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
        for port in rules.bind.iter().flatten() {
            created = created.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
        }
        Ok(Self { ruleset: created.into(), in_force, missing })
    }

    /// Enters the fence in the calling thread and what it will start, for good. The caller has set no_new_privs.
    ///
    /// Threads that run already stay outside: enter before they are started. Allocates nothing and takes no lock: fit for use between
    /// fork and exec.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let Some(ruleset) = &self.ruleset else { return Ok(()) };
        // SAFETY: landlock_restrict_self(2) takes a descriptor and flags, and touches no memory.
        let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// What of the rules this kernel holds.
    pub(crate) fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// Granted paths that are not there, or are closed to this process (a home that a unit hides): nothing is lost by not granting them.
    pub(crate) fn missing(&self) -> &[PathBuf] {
        &self.missing
    }
}

/// The kernel's version of Landlock; 0 where it has none or it is switched off.
fn abi() -> u32 {
    const VERSION: libc::c_uint = 1;
    let attributes = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag landlock_create_ruleset(2) takes no attributes, touches no memory and answers with a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, 0_usize, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Since when the kernel holds what: landlock(7), "VERSIONS".
fn in_force(rules: &Rules, abi: u32) -> InForce {
    let tcp = rules.connect.is_some() || rules.bind.is_some();
    let kinds = [
        ("files", 1, rules.files.is_some()),
        ("truncation", 3, rules.files.is_some()),
        (TCP, 4, tcp),
        ("devices", 5, rules.files.is_some()),
        ("signals", 6, rules.scoped),
        ("abstract sockets", 6, rules.scoped),
    ];
    let kinds =
        kinds.into_iter().filter(|(_, since, wanted)| *wanted && abi >= *since).map(|(kind, ..)| kind).collect();
    InForce { abi, kinds }
}

fn is_missing(error: &PathFdError) -> bool {
    match error {
        PathFdError::OpenCall { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
