//! System call filters (seccomp(2)): a policy is data, and is compiled to BPF programs that are entered without allocating.
//!
//! The kernel runs all programs of a process and the strictest answer counts; of two errnos, that of the program which came later.
//! seccompiler gives a program one answer for what it lists and one for the rest, so a policy becomes several: one for each errno of
//! its own and for the calls that kill, the allow-list with its argument checks (the rest is EPERM), and the fence around all that is
//! listed (the rest kills, or is ENOSYS).

mod compile;
pub(crate) mod denials;

use std::io;

use seccompiler::{BackendError, BpfProgram, TargetArch};
use syscalls::Sysno;

use compile::{Chains, chain_of, compile_for, named};

/// What a process may ask the kernel for.
#[derive(Debug)]
pub(crate) struct Policy {
    /// What happens to calls without a rule.
    pub(crate) unlisted: Refusal,
    /// One rule for a call.
    pub(crate) rules: &'static [Rule],
}

/// How a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The process dies by SIGSYS.
    Kill,
    /// The call fails with EPERM.
    NotPermitted,
    /// The call fails with ENOSYS: for tables that are to outlive newer C libraries, which then fall back to older calls.
    NotImplemented,
}

/// An errno that a refused call gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Errno {
    /// EPERM.
    NotPermitted,
    /// EACCES: files, where a program would take EPERM for a broken disk.
    Access,
    /// ENOSYS: the caller then tries the older call, which a filter can look into.
    NotImplemented,
}

impl Errno {
    const fn number(self) -> u32 {
        match self {
            Self::NotPermitted => libc::EPERM.unsigned_abs(),
            Self::Access => libc::EACCES.unsigned_abs(),
            Self::NotImplemented => libc::ENOSYS.unsigned_abs(),
        }
    }
}

/// One line of a policy; made by [`allow`], [`allow_when`], [`refuse`] and [`kill`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    calls: Calls,
    verdict: Verdict,
    legacy: bool,
    #[allow(dead_code, reason = "for who reads the table, and for the test that asks for it")]
    /// Who needs it, or why it is refused as it is.
    pub(crate) why: &'static str,
}

/// Names, as in syscalls(2).
#[derive(Debug, Clone, Copy)]
enum Calls {
    One(&'static str),
    Several(&'static [&'static str]),
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Allow,
    AllowWhen(&'static [Case], Refusal),
    Refuse(Errno),
    Kill,
}

/// Checks that must all hold.
pub(crate) type Case = &'static [Check];

/// A test of one argument. Its lower 32 bits are looked at, which is all that the kernel takes of commands, flags and ids.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    argument: u8,
    test: Test,
}

#[derive(Debug, Clone, Copy)]
enum Test {
    Is(u32),
    IsNot(u32),
    Bits { mask: u32, value: u32 },
    OwnProcess,
}

/// A call that is let through.
pub(crate) const fn allow(call: &'static str, why: &'static str) -> Rule {
    rule(Calls::One(call), Verdict::Allow, why)
}

/// Calls that are let through for the same reason.
pub(crate) const fn allow_all(calls: &'static [&'static str], why: &'static str) -> Rule {
    rule(Calls::Several(calls), Verdict::Allow, why)
}

/// A call that is let through in any of these cases; else it kills or is EPERM.
pub(crate) const fn allow_when(
    call: &'static str,
    cases: &'static [Case],
    otherwise: Refusal,
    why: &'static str,
) -> Rule {
    rule(Calls::One(call), Verdict::AllowWhen(cases, otherwise), why)
}

/// A call that fails without killing, because somebody tries it and does without.
pub(crate) const fn refuse(call: &'static str, errno: Errno, why: &'static str) -> Rule {
    rule(Calls::One(call), Verdict::Refuse(errno), why)
}

/// Several of that kind.
pub(crate) const fn refuse_all(calls: &'static [&'static str], errno: Errno, why: &'static str) -> Rule {
    rule(Calls::Several(calls), Verdict::Refuse(errno), why)
}

/// Calls that kill in a policy that else does not.
pub(crate) const fn kill(calls: &'static [&'static str], why: &'static str) -> Rule {
    rule(Calls::Several(calls), Verdict::Kill, why)
}

const fn rule(calls: Calls, verdict: Verdict, why: &'static str) -> Rule {
    Rule { calls, verdict, legacy: false, why }
}

impl Rule {
    /// Newer architectures may lack these calls; of others, an unknown name is an error.
    pub(crate) const fn legacy(mut self) -> Self {
        self.legacy = true;
        self
    }

    fn calls(&self) -> &[&'static str] {
        match &self.calls {
            Calls::One(call) => std::slice::from_ref(call),
            Calls::Several(calls) => calls,
        }
    }
}

/// The argument (counted from 0) is this value.
pub(crate) const fn is(argument: u8, value: u32) -> Check {
    Check { argument, test: Test::Is(value) }
}

/// The argument (counted from 0) is any but this value.
pub(crate) const fn is_not(argument: u8, value: u32) -> Check {
    Check { argument, test: Test::IsNot(value) }
}

/// Of the argument (counted from 0), the bits in `mask` are those in `value`.
pub(crate) const fn bits(argument: u8, mask: u32, value: u32) -> Check {
    Check { argument, test: Test::Bits { mask, value } }
}

/// The argument (counted from 0) is the id of the process that compiles the policy.
pub(crate) const fn is_own_process(argument: u8) -> Check {
    Check { argument, test: Test::OwnProcess }
}

/// A policy that cannot be made into a filter, or a filter that cannot be entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeccompError {
    /// A defect of a table.
    #[error("the sandbox's table names a system call \"{0}\" that this architecture does not have")]
    UnknownCall(&'static str),
    /// A defect of a table.
    #[error("the sandbox's table names the system call \"{0}\" twice")]
    Twice(&'static str),
    /// A defect of a table.
    #[error("the sandbox's table refuses \"{0}\", by which its filter is installed: leave it out instead")]
    Installing(&'static str),
    /// The compiler refused.
    #[error("the sandbox's table cannot be compiled: {0}")]
    Compile(#[from] BackendError),
}

/// A compiled policy.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    programs: Vec<BpfProgram>,
    calls: usize,
}

impl Filter {
    /// Compiles for this machine. [`is_own_process`] means the calling process: compile where the filter will be entered.
    pub(crate) fn compile(policy: &Policy) -> Result<Self, SeccompError> {
        let target = TargetArch::try_from(std::env::consts::ARCH)?;
        compile_for(policy, target, |name| named::<Sysno>(name).map(|call| i64::from(call.id())))
    }

    /// Compiles for all architectures that the guard is built for, so that a name which one lacks is found on the other.
    #[cfg(test)]
    pub(crate) fn compile_for_every_architecture(policy: &Policy) -> Result<(), SeccompError> {
        use syscalls::{aarch64, x86_64};
        let x86 = |name: &str| named::<x86_64::Sysno>(name).map(|call| i64::from(call.id()));
        compile_for(policy, TargetArch::x86_64, x86)?;
        let arm = |name: &str| named::<aarch64::Sysno>(name).map(|call| i64::from(call.id()));
        compile_for(policy, TargetArch::aarch64, arm)?;
        Ok(())
    }

    /// How many calls are let through, some of them with certain arguments only.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// Enters the filter in the calling thread and what it will start, for good; sets no_new_privs too.
    ///
    /// Allocates nothing and takes no lock: fit for use between fork and exec.
    ///
    /// # Errors
    /// The kernel has no seccomp filters (EINVAL, ENOSYS), or a filter that is in force already forbids more of them (EPERM).
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.programs.iter().try_for_each(|program| seccompiler::apply_filter(program).map_err(reason))
    }

    /// Enters the filter in all threads of this process; otherwise as [`Filter::enter`].
    ///
    /// # Errors
    /// Also ESRCH: a thread has filters of its own. Then some of the programs may be in force already: the process should end.
    pub(crate) fn enter_all_threads(&self) -> io::Result<()> {
        self.programs.iter().try_for_each(|program| seccompiler::apply_filter_all_threads(program).map_err(reason))
    }
}

/// Without allocation: an errno only.
fn reason(error: seccompiler::Error) -> io::Error {
    match error {
        seccompiler::Error::Prctl(source) | seccompiler::Error::Seccomp(source) => source,
        seccompiler::Error::ThreadSync(_) => io::Error::from_raw_os_error(libc::ESRCH),
        _ => io::Error::from_raw_os_error(libc::EINVAL),
    }
}

#[cfg(test)]
mod tests;
