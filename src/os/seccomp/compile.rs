//! From a policy to programs: which call goes into which, and in what order they are installed.

use std::collections::BTreeMap;
use std::str::FromStr;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{Case, Check, Errno, Filter, Policy, Refusal, SeccompError, Test, Verdict, is};

/// One call has two names: that of x86, which tables use, and that of newer architectures.
pub(super) fn named<Number: FromStr>(name: &str) -> Option<Number> {
    name.parse().ok().or_else(|| if name == "newfstatat" { "fstatat".parse().ok() } else { None })
}

/// The rules of one program, by the call's number.
pub(super) type Chains = BTreeMap<i64, Vec<SeccompRule>>;

/// The calls by which filters are installed, with what they are let through for until the last one stands.
const INSTALLING: [(&str, &[Case]); 2] =
    [("seccomp", &[]), ("prctl", &[&[is(0, libc::PR_SET_NO_NEW_PRIVS.unsigned_abs())]])];

/// The rules sorted by program.
#[derive(Default)]
struct Sorted {
    /// All that has a rule: the fence lets it through to the others.
    listed: Chains,
    /// What is let through, and what a program of its own answers.
    allowed: Chains,
    refused: BTreeMap<Errno, Chains>,
    killed: Chains,
    calls: usize,
}

/// Compiles for an architecture whose names of calls `number_of` knows.
pub(super) fn compile_for(
    policy: &Policy,
    target: TargetArch,
    number_of: impl Fn(&str) -> Option<i64>,
) -> Result<Filter, SeccompError> {
    let mut sorted = sort(policy, &number_of)?;
    let calls = sorted.calls;
    let fence = match policy.unlisted {
        Refusal::Kill => Some(SeccompAction::KillProcess),
        Refusal::NotImplemented => Some(SeccompAction::Errno(Errno::NotImplemented.number())),
        Refusal::NotPermitted => None,
    };
    if fence.is_some() {
        // The fence comes after the allow-list, which must not end the installing; the fence does, unless it is listed.
        for (name, cases) in INSTALLING {
            let number = number_of(name).ok_or(SeccompError::UnknownCall(name))?;
            match sorted.allowed.get_mut(&number) {
                Some(chain) if chain.is_empty() => {}
                Some(chain) => chain.extend(chain_of(cases)?),
                None => drop(sorted.allowed.insert(number, chain_of(cases)?)),
            }
        }
    }
    let program = |chains, listed, unlisted| -> Result<BpfProgram, SeccompError> {
        Ok(SeccompFilter::new(chains, unlisted, listed, target)?.try_into()?)
    };
    let mut programs = Vec::new();
    for (errno, chains) in sorted.refused {
        programs.push(program(chains, SeccompAction::Errno(errno.number()), SeccompAction::Allow)?);
    }
    if !sorted.killed.is_empty() {
        programs.push(program(sorted.killed, SeccompAction::KillProcess, SeccompAction::Allow)?);
    }
    let not_permitted = SeccompAction::Errno(Errno::NotPermitted.number());
    programs.push(program(sorted.allowed, SeccompAction::Allow, not_permitted)?);
    if let Some(unlisted) = fence {
        programs.push(program(sorted.listed, SeccompAction::Allow, unlisted)?);
    }
    Ok(Filter { programs, calls })
}

fn sort(policy: &Policy, number_of: &impl Fn(&str) -> Option<i64>) -> Result<Sorted, SeccompError> {
    let mut sorted = Sorted::default();
    let every = policy.rules.iter().flat_map(|rule| rule.calls().iter().map(move |call| (rule, *call)));
    for (rule, call) in every {
        let Some(number) = number_of(call) else {
            if rule.legacy {
                continue;
            }
            return Err(SeccompError::UnknownCall(call));
        };
        let chain = match rule.verdict {
            Verdict::AllowWhen(cases, _) => chain_of(cases)?,
            _ => Vec::new(),
        };
        let kills_otherwise = matches!(rule.verdict, Verdict::AllowWhen(_, Refusal::Kill));
        let fenced = if kills_otherwise { chain.clone() } else { Vec::new() };
        if sorted.listed.insert(number, fenced).is_some() {
            return Err(SeccompError::Twice(call));
        }
        let installs = INSTALLING.iter().any(|(name, _)| *name == call);
        match rule.verdict {
            Verdict::Refuse(_) | Verdict::Kill if installs => return Err(SeccompError::Installing(call)),
            Verdict::Allow | Verdict::AllowWhen(..) => {
                sorted.allowed.insert(number, chain);
                sorted.calls += 1;
            }
            // The allow-list answers with this errno by itself.
            Verdict::Refuse(Errno::NotPermitted) => {}
            Verdict::Refuse(errno) => {
                sorted.allowed.insert(number, Vec::new());
                sorted.refused.entry(errno).or_default().insert(number, Vec::new());
            }
            Verdict::Kill => drop(sorted.killed.insert(number, Vec::new())),
        }
    }
    Ok(sorted)
}

/// Cases as seccompiler takes them.
pub(super) fn chain_of(cases: &[Case]) -> Result<Vec<SeccompRule>, BackendError> {
    cases.iter().map(|case| SeccompRule::new(case.iter().map(condition_of).collect::<Result<_, _>>()?)).collect()
}

fn condition_of(check: &Check) -> Result<SeccompCondition, BackendError> {
    let (operator, value) = match check.test {
        Test::Is(value) => (SeccompCmpOp::Eq, value),
        Test::IsNot(value) => (SeccompCmpOp::Ne, value),
        Test::Bits { mask, value } => (SeccompCmpOp::MaskedEq(u64::from(mask)), value),
        Test::OwnProcess => (SeccompCmpOp::Eq, std::process::id()),
    };
    SeccompCondition::new(check.argument, SeccompCmpArgLen::Dword, operator, u64::from(value))
}
