//! System call filters (seccomp(2)): a policy is data, and is compiled to BPF programs that are entered without allocating.
//!
//! The kernel runs all programs of a process and the strictest answer counts. seccompiler gives a program one answer for what it
//! lists and one for the rest, so a policy becomes up to three kinds of them: the fence (what is not listed kills), the allow-list
//! with its argument checks (the rest is EPERM), and one program for each other errno.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use syscalls::Sysno;

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

/// One line of a policy; made by [`allow`], [`allow_when`] and [`refuse`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// The call's name, as in syscalls(2).
    pub(crate) call: &'static str,
    /// What becomes of it.
    pub(crate) verdict: Verdict,
    /// Whether newer architectures do without it; else an unknown name is an error.
    pub(crate) legacy: bool,
    /// Who needs it, or why it is refused mildly.
    pub(crate) why: &'static str,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Verdict {
    /// Let through.
    Allow,
    /// Let through in any of these cases; else this. In a policy that kills nobody, [`Refusal::Kill`] is EPERM too.
    AllowWhen(&'static [Case], Refusal),
    /// Fails with this errno.
    Refuse(Errno),
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
    Bits { mask: u32, value: u32 },
    OwnProcess,
}

/// A call that is let through.
pub(crate) const fn allow(call: &'static str, why: &'static str) -> Rule {
    Rule { call, verdict: Verdict::Allow, legacy: false, why }
}

/// A call that is let through in these cases.
pub(crate) const fn allow_when(
    call: &'static str,
    cases: &'static [Case],
    otherwise: Refusal,
    why: &'static str,
) -> Rule {
    Rule { call, verdict: Verdict::AllowWhen(cases, otherwise), legacy: false, why }
}

/// A call that fails without killing, because somebody tries it and does without.
pub(crate) const fn refuse(call: &'static str, errno: Errno, why: &'static str) -> Rule {
    Rule { call, verdict: Verdict::Refuse(errno), legacy: false, why }
}

impl Rule {
    /// Newer architectures do not have this call.
    pub(crate) const fn legacy(mut self) -> Self {
        self.legacy = true;
        self
    }
}

/// The argument (counted from 0) is this value.
pub(crate) const fn is(argument: u8, value: u32) -> Check {
    Check { argument, test: Test::Is(value) }
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
        compile_for(policy, target, |name| name.parse::<Sysno>().ok().map(|call| i64::from(call.id())))
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

type Chains = BTreeMap<i64, Vec<SeccompRule>>;

/// The calls by which filters are installed: the fence must let them through, for the allow-list is installed after it and ends
/// them (with EPERM, unless it lists them).
const INSTALLING: [&str; 2] = ["seccomp", "prctl"];

fn compile_for(
    policy: &Policy,
    target: TargetArch,
    number_of: impl Fn(&str) -> Option<i64>,
) -> Result<Filter, SeccompError> {
    let mut seen = BTreeSet::new();
    let mut fence = Chains::new();
    let mut allowed = Chains::new();
    let mut refused: BTreeMap<Errno, Chains> = BTreeMap::new();
    let mut calls = 0;
    for rule in policy.rules {
        let Some(number) = number_of(rule.call) else {
            if rule.legacy {
                continue;
            }
            return Err(SeccompError::UnknownCall(rule.call));
        };
        if !seen.insert(number) {
            return Err(SeccompError::Twice(rule.call));
        }
        match rule.verdict {
            Verdict::Allow => {
                fence.insert(number, Vec::new());
                allowed.insert(number, Vec::new());
                calls += 1;
            }
            Verdict::AllowWhen(cases, otherwise) => {
                let chain = chain_of(cases)?;
                fence.insert(number, if otherwise == Refusal::Kill { chain.clone() } else { Vec::new() });
                allowed.insert(number, chain);
                calls += 1;
            }
            Verdict::Refuse(Errno::NotPermitted) => drop(fence.insert(number, Vec::new())),
            Verdict::Refuse(errno) => {
                fence.insert(number, Vec::new());
                // Two programs with different errnos: which one counts is left to nobody.
                allowed.insert(number, Vec::new());
                refused.entry(errno).or_default().insert(number, Vec::new());
            }
        }
    }
    for name in INSTALLING {
        fence.insert(number_of(name).ok_or(SeccompError::UnknownCall(name))?, Vec::new());
    }
    let program = |chains, listed, unlisted| -> Result<BpfProgram, SeccompError> {
        Ok(SeccompFilter::new(chains, unlisted, listed, target)?.try_into()?)
    };
    let mut programs = Vec::new();
    for (errno, chains) in refused {
        programs.push(program(chains, SeccompAction::Errno(errno.number()), SeccompAction::Allow)?);
    }
    if policy.unlisted == Refusal::Kill {
        programs.push(program(fence, SeccompAction::Allow, SeccompAction::KillProcess)?);
    }
    let not_permitted = SeccompAction::Errno(Errno::NotPermitted.number());
    programs.push(program(allowed, SeccompAction::Allow, not_permitted)?);
    Ok(Filter { programs, calls })
}

fn chain_of(cases: &[Case]) -> Result<Vec<SeccompRule>, BackendError> {
    cases.iter().map(|case| SeccompRule::new(case.iter().map(condition_of).collect::<Result<_, _>>()?)).collect()
}

fn condition_of(check: &Check) -> Result<SeccompCondition, BackendError> {
    let (operator, value) = match check.test {
        Test::Is(value) => (SeccompCmpOp::Eq, value),
        Test::Bits { mask, value } => (SeccompCmpOp::MaskedEq(u64::from(mask)), value),
        Test::OwnProcess => (SeccompCmpOp::Eq, std::process::id()),
    };
    SeccompCondition::new(check.argument, SeccompCmpArgLen::Dword, operator, u64::from(value))
}

#[cfg(test)]
mod tests;
