//! Fences, tried on the real kernel; where it has no Landlock, only what is said about it.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::ffi::CString;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::*;
use crate::os::trial::{Outcome, acts, in_child, no_new_privs};

const DENIED: Outcome = Outcome::Errno(libc::EACCES);

fn files(grants: &[(&Path, Access)]) -> Rules {
    let grants = grants.iter().map(|(path, access)| Grant { path: path.to_path_buf(), access: *access }).collect();
    Rules { files: Some(grants), ..Rules::default() }
}

fn open(fence: &Fence, path: &Path, flags: i32) -> Outcome {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a NUL and outlives the call.
    within(fence, || i64::from(unsafe { libc::open(path.as_ptr(), flags, 0o600) }))
}

fn within(fence: &Fence, act: impl FnOnce() -> i64) -> Outcome {
    let enter = || {
        no_new_privs()?;
        fence.enter()
    };
    in_child(enter, act)
}

fn kernel_lacks(abi_needed: u32) -> bool {
    let lacks = abi() < abi_needed;
    if lacks {
        eprintln!("this kernel's Landlock is version {}: nothing to try", abi());
    }
    lacks
}

#[test]
fn files_are_read_and_written_where_granted_and_nowhere_else() {
    if kernel_lacks(3) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [read, write, none] = ["read", "write", "none"].map(|name| {
        let path = directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("file"), "text").unwrap();
        path
    });
    let fence = Fence::prepare(&files(&[(&read, Access::Read), (&write, Access::ReadWrite)])).unwrap();
    assert_eq!(open(&fence, &read.join("file"), libc::O_RDONLY), Outcome::Done);
    assert_eq!(open(&fence, &read.join("file"), libc::O_WRONLY), DENIED);
    assert_eq!(open(&fence, &read.join("new"), libc::O_WRONLY | libc::O_CREAT), DENIED);
    assert_eq!(open(&fence, &write.join("file"), libc::O_RDWR | libc::O_TRUNC), Outcome::Done);
    assert_eq!(open(&fence, &write.join("new"), libc::O_WRONLY | libc::O_CREAT), Outcome::Done);
    assert_eq!(open(&fence, &none.join("file"), libc::O_RDONLY), DENIED);
}

#[test]
fn a_fence_around_nothing_leaves_no_file() {
    if kernel_lacks(1) {
        return;
    }
    let fence = Fence::prepare(&files(&[])).unwrap();
    assert_eq!(open(&fence, Path::new("/etc/passwd"), libc::O_RDONLY), DENIED);
    assert_eq!(open(&fence, Path::new("/dev/null"), libc::O_RDWR), DENIED);
}

#[test]
fn programs_run_only_where_execution_is_granted() {
    if kernel_lacks(1) {
        return;
    }
    let program = CString::new("/bin/true").unwrap();
    let run = |access| {
        let fence = Fence::prepare(&files(&[(Path::new("/"), access)])).unwrap();
        let arguments = [program.as_ptr(), std::ptr::null()];
        // SAFETY: a program's name and a list that ends with a null pointer, both outliving the call.
        within(&fence, || i64::from(unsafe { libc::execv(program.as_ptr(), arguments.as_ptr()) }))
    };
    assert_eq!(run(Access::ReadExecute), Outcome::Done);
    assert_eq!(run(Access::Read), DENIED);
    assert_eq!(run(Access::ReadWrite), DENIED);
}

#[test]
fn a_granted_path_that_is_not_there_is_told() {
    if kernel_lacks(1) {
        return;
    }
    let absent = Path::new("/nonexistent/models");
    let fence = Fence::prepare(&files(&[(absent, Access::ReadWrite)])).unwrap();
    assert_eq!(fence.missing(), [absent.to_path_buf()]);
}

#[test]
fn tcp_goes_to_the_granted_port_only() {
    if kernel_lacks(4) {
        return;
    }
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [granted, other] = [0, 1].map(|n: usize| listeners[n].local_addr().unwrap().port());
    let rules = Rules { connect: Some(vec![granted]), bind: Some(Vec::new()), ..Rules::default() };
    let fence = Fence::prepare(&rules).unwrap();
    assert_eq!(within(&fence, || acts::connect(granted)), Outcome::Done);
    assert_eq!(within(&fence, || acts::connect(other)), DENIED);
    assert_eq!(within(&fence, acts::bind_any_port), DENIED);
}

#[test]
fn signals_end_at_a_scoped_fence() {
    if kernel_lacks(6) {
        return;
    }
    let fence = Fence::prepare(&Rules { scoped: true, ..Rules::default() }).unwrap();
    let parent = libc::pid_t::try_from(std::process::id()).unwrap();
    // SAFETY: signal 0 only asks whether one could be sent.
    assert_eq!(within(&fence, || i64::from(unsafe { libc::kill(parent, 0) })), Outcome::Errno(libc::EPERM));
}

#[test]
fn what_is_in_force_depends_on_the_kernel_and_is_told() {
    let rules = Rules { files: Some(Vec::new()), connect: Some(vec![1]), bind: None, scoped: true };
    let told = |abi| in_force(&rules, abi).to_string();
    assert_eq!(told(0), "no Landlock");
    assert_eq!(told(1), "Landlock ABI 1 (files)");
    assert_eq!(told(3), "Landlock ABI 3 (files, truncation)");
    assert_eq!(told(7), "Landlock ABI 7 (files, truncation, TCP, devices, signals, abstract sockets)");
    assert_eq!(in_force(&Rules::default(), 7).to_string(), "Landlock ABI 7 (nothing)");
}
