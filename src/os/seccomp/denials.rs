//! The other kind of filter: what is listed is refused, all else is let through. For programs that nobody can list the calls of.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use syscalls::Sysno;

use super::{Case, Chains, Errno, Filter, SeccompError, chain_of};

/// Calls that are refused for one reason.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denial {
    /// Their names, as in syscalls(2).
    pub(crate) calls: &'static [&'static str],
    /// In which cases; none: always.
    pub(crate) when: &'static [Case],
    /// What they fail with.
    pub(crate) errno: Errno,
    /// Whether newer architectures do without them; else an unknown name is an error.
    pub(crate) legacy: bool,
    /// What they would be misused for.
    #[cfg_attr(not(test), allow(dead_code, reason = "for whoever reads the table, and for the test that asks for it"))]
    pub(crate) why: &'static str,
}

/// Calls that always fail with EPERM.
pub(crate) const fn deny(calls: &'static [&'static str], why: &'static str) -> Denial {
    Denial { calls, when: &[], errno: Errno::NotPermitted, legacy: false, why }
}

/// Calls that fail with EPERM in any of these cases.
pub(crate) const fn deny_when(calls: &'static [&'static str], when: &'static [Case], why: &'static str) -> Denial {
    Denial { calls, when, errno: Errno::NotPermitted, legacy: false, why }
}

impl Denial {
    /// Newer architectures do not have these calls.
    pub(crate) const fn legacy(mut self) -> Self {
        self.legacy = true;
        self
    }

    /// The caller is to believe that the kernel does not know the call.
    pub(crate) const fn as_unknown(mut self) -> Self {
        self.errno = Errno::NotImplemented;
        self
    }
}

impl Filter {
    /// Compiles for this machine; [`Filter::calls`] is then how many calls are refused, some of them in certain cases only.
    ///
    /// Programs for another architecture (32-bit ones) are killed at their first call, whatever it is: its numbers mean other calls.
    ///
    /// # Errors
    /// A defect of the table.
    pub(crate) fn denying(denials: &[Denial]) -> Result<Self, SeccompError> {
        let target = TargetArch::try_from(std::env::consts::ARCH)?;
        let mut by_errno: BTreeMap<Errno, Chains> = BTreeMap::new();
        for denial in denials {
            let chains = by_errno.entry(denial.errno).or_default();
            for name in denial.calls {
                let Ok(call) = name.parse::<Sysno>() else {
                    if denial.legacy {
                        continue;
                    }
                    return Err(SeccompError::UnknownCall(name));
                };
                let number = i64::from(call.id());
                if chains.contains_key(&number) {
                    return Err(SeccompError::Twice(name));
                }
                chains.insert(number, chain_of(denial.when)?);
            }
        }
        let calls = by_errno.values().map(BTreeMap::len).sum();
        let mut programs: Vec<BpfProgram> = other_numbers().into_iter().collect();
        for (errno, chains) in by_errno {
            let action = SeccompAction::Errno(errno.number());
            programs.push(SeccompFilter::new(chains, SeccompAction::Allow, action, target)?.try_into()?);
        }
        Ok(Self { programs, calls })
    }
}

/// x86-64 kernels can have every call a second time under a number with bit 30 (the x32 ABI), with the same architecture in the
/// filter's eyes: what is let through unlisted would let all of them through. seccompiler compares numbers for equality
/// only, so these four instructions stand here: load the number; is it at least 2^30? ENOSYS; else allow.
#[cfg(target_arch = "x86_64")]
fn other_numbers() -> Option<BpfProgram> {
    use seccompiler::sock_filter;
    const X32: u32 = 1 << 30;
    let code = |code: u32| u16::try_from(code).unwrap_or_default();
    let ends = |action: SeccompAction| sock_filter {
        code: code(libc::BPF_RET | libc::BPF_K),
        jt: 0,
        jf: 0,
        k: u32::from(action),
    };
    Some(vec![
        sock_filter { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: 0 },
        sock_filter { code: code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K), jt: 0, jf: 1, k: X32 },
        ends(SeccompAction::Errno(Errno::NotImplemented.number())),
        ends(SeccompAction::Allow),
    ])
}

#[cfg(not(target_arch = "x86_64"))]
fn other_numbers() -> Option<BpfProgram> {
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{is, is_not};
    use super::*;
    use crate::os::trial::{Outcome, in_child};

    const TABLE: &[Denial] = &[
        deny(&["getuid", "getgid"], "to try it"),
        deny_when(&["getpgid"], &[&[is_not(0, 0), is_not(0, 1)], &[is(0, 1)]], "only 0 is left"),
        deny(&["geteuid"], "to try it").as_unknown(),
        deny(&["no_such_call"], "to try it").legacy(),
    ];

    fn call(number: i64, argument: i64) -> Outcome {
        let filter = Filter::denying(TABLE).unwrap();
        // SAFETY: none of the calls of these tests takes a pointer.
        in_child(|| filter.enter(), || unsafe { libc::syscall(number, argument) })
    }

    #[test]
    fn what_is_listed_is_refused_and_nothing_else() {
        assert_eq!(Filter::denying(TABLE).unwrap().calls(), 4);
        assert_eq!(call(libc::SYS_getppid, 0), Outcome::Done);
        assert_eq!(call(libc::SYS_getuid, 0), Outcome::Errno(libc::EPERM));
        assert_eq!(call(libc::SYS_getgid, 0), Outcome::Errno(libc::EPERM));
        assert_eq!(call(libc::SYS_geteuid, 0), Outcome::Errno(libc::ENOSYS));
    }

    #[test]
    fn an_argument_can_be_what_is_refused() {
        assert_eq!(call(libc::SYS_getpgid, 0), Outcome::Done);
        assert_eq!(call(libc::SYS_getpgid, 1), Outcome::Errno(libc::EPERM));
        assert_eq!(call(libc::SYS_getpgid, 999_999_999), Outcome::Errno(libc::EPERM));
    }

    #[test]
    fn a_table_with_a_defect_is_refused() {
        assert!(matches!(Filter::denying(&[deny(&["no_such_call"], "")]), Err(SeccompError::UnknownCall(_))));
        assert!(matches!(Filter::denying(&[deny(&["read", "read"], "")]), Err(SeccompError::Twice("read"))));
    }
}
