//! The three kinds of programs, tried on the real kernel.
#![allow(clippy::unwrap_used)]

use super::Errno as Denied;
use super::*;
use crate::os::trial::{Outcome, in_child};

const SIGSYS: Outcome = Outcome::Killed(libc::SIGSYS);

const RULES: &[Rule] = &[
    allow("exit_group", "the end of a trial"),
    allow("getppid", "harmless"),
    allow_when("dup2", &[&[is(0, 77), bits(1, 0xf0, 0x10)], &[is(0, 78)]], Refusal::NotPermitted, "two cases").legacy(),
    allow_when("tgkill", &[&[is_own_process(0)]], Refusal::Kill, "the process itself"),
    refuse("getuid", Denied::NotPermitted, "tried by somebody"),
    refuse("getgid", Denied::Access, "tried by somebody"),
    refuse("geteuid", Denied::NotImplemented, "tried by somebody"),
    kill(&["sync"], "nobody tries it"),
];
const KILLING: Policy = Policy { unlisted: Refusal::Kill, rules: RULES };
const MILD: Policy = Policy { unlisted: Refusal::NotPermitted, rules: RULES };
const NEWER: Policy = Policy { unlisted: Refusal::NotImplemented, rules: RULES };

fn call(policy: &Policy, number: i64, arguments: [i64; 3]) -> Outcome {
    let filter = Filter::compile(policy).unwrap();
    // SAFETY: none of the calls of these tests takes a pointer.
    in_child(|| filter.enter(), || unsafe { libc::syscall(number, arguments[0], arguments[1], arguments[2]) })
}

#[test]
fn a_listed_call_is_made_and_an_unlisted_one_kills_or_fails() {
    assert_eq!(call(&KILLING, libc::SYS_getppid, [0; 3]), Outcome::Done);
    assert_eq!(call(&MILD, libc::SYS_getppid, [0; 3]), Outcome::Done);
    assert_eq!(call(&KILLING, libc::SYS_getpid, [0; 3]), SIGSYS);
    assert_eq!(call(&MILD, libc::SYS_getpid, [0; 3]), Outcome::Errno(libc::EPERM));
}

#[test]
fn a_refused_call_fails_with_its_errno_in_both_kinds_of_policy() {
    for policy in [&KILLING, &MILD] {
        assert_eq!(call(policy, libc::SYS_getuid, [0; 3]), Outcome::Errno(libc::EPERM));
        assert_eq!(call(policy, libc::SYS_getgid, [0; 3]), Outcome::Errno(libc::EACCES));
        assert_eq!(call(policy, libc::SYS_geteuid, [0; 3]), Outcome::Errno(libc::ENOSYS));
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn arguments_choose_the_case() {
    // What is let through fails on the descriptor, which is not open.
    for arguments in [[77, 0x1f, 0], [78, 0x2f, 0]] {
        assert_eq!(call(&KILLING, libc::SYS_dup2, arguments), Outcome::Errno(libc::EBADF), "{arguments:?}");
    }
    for arguments in [[77, 0x2f, 0], [79, 0x1f, 0]] {
        assert_eq!(call(&KILLING, libc::SYS_dup2, arguments), Outcome::Errno(libc::EPERM), "{arguments:?}");
    }
}

#[test]
fn a_case_that_kills_otherwise_kills() {
    let own = i64::from(std::process::id());
    // The child is another process than the one that compiled: to it this is a stranger's id, with a thread that is not there.
    assert_eq!(call(&KILLING, libc::SYS_tgkill, [own, 1, 0]), Outcome::Errno(libc::ESRCH));
    assert_eq!(call(&KILLING, libc::SYS_tgkill, [1, 1, 0]), SIGSYS);
    assert_eq!(call(&MILD, libc::SYS_tgkill, [1, 1, 0]), Outcome::Errno(libc::EPERM));
}

#[test]
fn the_fence_of_a_table_for_newer_libraries_says_that_there_is_no_such_call() {
    assert_eq!(call(&NEWER, libc::SYS_getpid, [0; 3]), Outcome::Errno(libc::ENOSYS));
    assert_eq!(call(&NEWER, libc::SYS_getuid, [0; 3]), Outcome::Errno(libc::EPERM));
    assert_eq!(call(&NEWER, libc::SYS_getgid, [0; 3]), Outcome::Errno(libc::EACCES));
    assert_eq!(call(&NEWER, libc::SYS_getppid, [0; 3]), Outcome::Done);
}

#[test]
fn a_call_can_kill_in_a_policy_that_else_does_not() {
    assert_eq!(call(&NEWER, libc::SYS_sync, [0; 3]), SIGSYS);
    assert_eq!(call(&MILD, libc::SYS_sync, [0; 3]), SIGSYS);
}

#[test]
fn no_further_filter_can_be_installed_unless_listed() {
    for (policy, outcome) in
        [(&KILLING, SIGSYS), (&MILD, Outcome::Errno(libc::EPERM)), (&NEWER, Outcome::Errno(libc::ENOSYS))]
    {
        assert_eq!(call(policy, libc::SYS_seccomp, [0; 3]), outcome);
        assert_eq!(call(policy, libc::SYS_prctl, [i64::from(libc::PR_SET_NO_NEW_PRIVS), 1, 0]), outcome);
    }
}

#[test]
fn a_filter_can_be_entered_below_another_that_lists_the_installing() {
    const OUTER: Policy = Policy {
        unlisted: Refusal::NotImplemented,
        rules: &[
            allow_all(&["exit_group", "getppid", "getpid", "seccomp"], "of both"),
            allow_when("prctl", &[&[is(0, 38)]], Refusal::NotPermitted, "no_new_privs"),
        ],
    };
    let outer = Filter::compile(&OUTER).unwrap();
    let inner = Filter::compile(&KILLING).unwrap();
    let enter = || outer.enter().and_then(|()| inner.enter());
    // SAFETY: neither call takes a pointer.
    let call = |number| in_child(enter, || unsafe { libc::syscall(number, 0, 0, 0) });
    assert_eq!(call(libc::SYS_getppid), Outcome::Done);
    assert_eq!(call(libc::SYS_getpid), SIGSYS);
    assert_eq!(call(libc::SYS_getuid), Outcome::Errno(libc::EPERM));
}

/// System calls of the 32-bit kind have other numbers: 20 is getpid there and writev here.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_by_another_architectures_door_kills() {
    let filter = Filter::compile(&MILD).unwrap();
    let outcome = in_child(
        || filter.enter(),
        || {
            let result: i64;
            // SAFETY: getpid(2) by the 32-bit door takes no arguments; r8 to r11 may change.
            unsafe {
                core::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            }
            result
        },
    );
    assert_eq!(outcome, SIGSYS);
}

#[test]
fn a_table_with_a_mistake_is_no_filter() {
    const UNKNOWN: Policy = Policy { unlisted: Refusal::Kill, rules: &[allow("no_such_call", "")] };
    const TWICE: Policy =
        Policy { unlisted: Refusal::Kill, rules: &[allow("read", ""), refuse("read", Denied::Access, "")] };
    assert!(matches!(Filter::compile(&UNKNOWN), Err(SeccompError::UnknownCall("no_such_call"))));
    assert!(matches!(Filter::compile(&TWICE), Err(SeccompError::Twice("read"))));
    const INSTALLS: Policy = Policy { unlisted: Refusal::Kill, rules: &[refuse("seccomp", Denied::NotPermitted, "")] };
    assert!(matches!(Filter::compile(&INSTALLS), Err(SeccompError::Installing("seccomp"))));
}

#[test]
fn a_legacy_call_is_left_out_where_there_is_none() {
    const OLD: Policy =
        Policy { unlisted: Refusal::Kill, rules: &[allow("no_such_call", "").legacy(), allow("read", "")] };
    assert_eq!(Filter::compile(&OLD).unwrap().calls(), 1);
}

#[test]
fn all_threads_are_held_by_a_filter_that_one_enters() {
    use std::sync::atomic::{AtomicU8, Ordering};
    const STARTED: u8 = 1;
    const ENTERED: u8 = 2;

    fn until(stage: &AtomicU8, wanted: u8) {
        while stage.load(Ordering::Acquire) != wanted {
            std::hint::spin_loop();
        }
    }

    let filter = Filter::compile(&MILD).unwrap();
    // The child is a process of its own: the test's other threads are not held.
    let outcome = in_child(
        || Ok(()),
        || {
            let stage = AtomicU8::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    stage.store(STARTED, Ordering::Release);
                    until(&stage, ENTERED);
                    // SAFETY: getpid(2) takes no arguments.
                    let result = unsafe { libc::syscall(libc::SYS_getpid) };
                    let errno = if result < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
                    // SAFETY: ends the child with what was seen.
                    unsafe { libc::_exit(errno) }
                });
                until(&stage, STARTED);
                if filter.enter_all_threads().is_ok() {
                    stage.store(ENTERED, Ordering::Release);
                }
                loop {
                    std::hint::spin_loop();
                }
            })
        },
    );
    assert_eq!(outcome, Outcome::Errno(libc::EPERM));
}
