//! Each forbidden act, done by a child inside the real sandbox of each process: it dies by SIGSYS or gets the errno that the table
//! (and docs/sandbox.md) says.
//!
//! An act is harmless even where nothing holds it: wrong pointers, wrong magic numbers, its own process.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::net::TcpListener;

use super::{gateway, sensor, supervisor};
use crate::os::landlock::Fence;
use crate::os::seccomp::Filter;
use crate::os::trial::{Act, Outcome, acts, in_child, no_new_privs};

/// What an act comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// SIGSYS.
    Dies,
    /// EPERM.
    Permission,
    /// EACCES.
    Access,
    /// ENOSYS.
    Missing,
    /// It is this process' work, or nobody's harm: not tried.
    Free,
}

use Comes::{Access, Dies, Free, Missing, Permission};

impl Comes {
    fn outcome(self) -> Option<Outcome> {
        match self {
            Dies => Some(Outcome::KILLED_BY_FILTER),
            Permission => Some(Outcome::NOT_PERMITTED),
            Access => Some(Outcome::ACCESS_DENIED),
            Missing => Some(Outcome::NO_SUCH_CALL),
            Free => None,
        }
    }
}

/// Act, and what it comes to in the gateway, the sensor, and the supervisor (whose filter ComfyUI inherits).
const TABLE: &[(&str, Act, [Comes; 3])] = &[
    // Programs.
    ("execute a file", acts::execute, [Dies, Permission, Free]),
    ("execute what is in memory", acts::execute_memory, [Dies, Dies, Free]),
    ("make memory that is a file", acts::memory_file, [Dies, Dies, Free]),
    ("map executable memory", acts::map_executable, [Dies, Permission, Free]),
    ("make memory executable", acts::make_executable, [Dies, Permission, Free]),
    ("fork", acts::fork, [Dies, Permission, Free]),
    ("fork by clone3", acts::clone3, [Dies, Missing, Missing]),
    ("a new user namespace by clone", acts::clone_user_namespace, [Dies, Permission, Permission]),
    ("unshare", acts::unshare, [Dies, Dies, Permission]),
    ("setns", acts::setns, [Dies, Dies, Permission]),
    // Files.
    ("open a file to read", acts::open_to_read, [Access, Access, Free]),
    ("make a file", acts::make_file, [Access, Permission, Free]),
    ("open by openat2", acts::openat2, [Dies, Permission, Free]),
    ("open by a handle", acts::open_by_handle, [Dies, Permission, Permission]),
    ("rename", acts::rename, [Dies, Permission, Free]),
    ("remove", acts::remove, [Dies, Permission, Free]),
    ("make a device node", acts::make_device, [Dies, Permission, Permission]),
    ("mount", acts::mount, [Dies, Dies, Permission]),
    ("unmount", acts::unmount, [Dies, Dies, Permission]),
    ("chroot", acts::chroot, [Dies, Dies, Permission]),
    ("pivot_root", acts::pivot_root, [Dies, Dies, Permission]),
    // Sockets.
    ("a UNIX socket", acts::unix_socket, [Dies, Permission, Free]),
    ("a UDP socket", acts::udp_socket, [Dies, Permission, Free]),
    ("a packet socket", acts::packet_socket, [Dies, Permission, Permission]),
    ("a netlink socket", acts::netlink_socket, [Dies, Permission, Free]),
    ("a virtual machine's socket", acts::vsock_socket, [Dies, Permission, Permission]),
    ("a kernel cryptography socket", acts::cryptography_socket, [Dies, Permission, Permission]),
    ("a multipath TCP socket", acts::multipath_socket, [Dies, Permission, Free]),
    ("bind", acts::bind, [Dies, Dies, Free]),
    ("listen", acts::listen, [Dies, Dies, Free]),
    ("connect by sending", acts::fast_open, [Dies, Permission, Free]),
    ("mark packets", acts::mark_packets, [Permission, Permission, Free]),
    // Other processes.
    ("ptrace", acts::ptrace, [Dies, Dies, Permission]),
    ("read another's memory", acts::read_memory, [Dies, Dies, Permission]),
    ("write another's memory", acts::write_memory, [Dies, Dies, Permission]),
    ("take another's descriptor", acts::take_descriptor, [Dies, Dies, Permission]),
    ("signal a group", acts::signal_group, [Dies, Permission, Free]),
    ("signal a thread of init", acts::signal_init, [Dies, Permission, Free]),
    ("raise a limit", acts::raise_limit, [Permission, Permission, Free]),
    // Identity.
    ("setuid", acts::setuid, [Dies, Dies, Free]),
    ("setresuid", acts::setresuid, [Dies, Dies, Free]),
    ("setgroups", acts::setgroups, [Dies, Dies, Free]),
    ("capset", acts::capset, [Dies, Dies, Free]),
    ("become dumpable", acts::become_dumpable, [Dies, Permission, Free]),
    ("install a filter", acts::install_filter, [Dies, Permission, Free]),
    ("personality", acts::personality, [Dies, Permission, Permission]),
    ("type into the terminal", acts::type_into_terminal, [Permission, Permission, Permission]),
    // The kernel.
    ("load a module", acts::load_module, [Dies, Dies, Permission]),
    ("load a module from a file", acts::load_module_file, [Dies, Dies, Permission]),
    ("unload a module", acts::unload_module, [Dies, Dies, Permission]),
    ("load a kernel", acts::load_kernel, [Dies, Dies, Permission]),
    ("reboot", acts::reboot, [Dies, Dies, Permission]),
    ("io_uring", acts::io_uring, [Dies, Dies, Permission]),
    ("userfaultfd", acts::userfaultfd, [Dies, Dies, Permission]),
    ("bpf", acts::bpf, [Dies, Dies, Permission]),
    ("perf_event_open", acts::perf_event_open, [Dies, Dies, Permission]),
    ("keyctl", acts::keyctl, [Dies, Dies, Permission]),
    ("add_key", acts::add_key, [Dies, Dies, Permission]),
    ("swapon", acts::swapon, [Dies, Permission, Permission]),
    ("set the clock", acts::set_clock, [Dies, Permission, Permission]),
    ("set the host's name", acts::set_host_name, [Dies, Permission, Permission]),
    ("read the kernel's log", acts::read_kernel_log, [Dies, Permission, Permission]),
    ("a lock with priorities", acts::priority_futex, [Dies, Free, Free]),
    ("a call of a kernel to come", acts::future_call, [Dies, Permission, Missing]),
];

/// Tries a column of the table; all rows that come out otherwise are told at once.
fn try_all(column: usize, fence: Option<&Fence>, filter: &Filter) {
    let enter = || {
        no_new_privs()?;
        fence.map_or(Ok(()), Fence::enter)?;
        filter.enter()
    };
    let surprises: Vec<String> = TABLE
        .iter()
        .filter_map(|(name, act, comes)| {
            let expected = comes[column].outcome()?;
            let outcome = in_child(enter, act);
            (outcome != expected).then(|| format!("{name}: {outcome:?}, not {expected:?}"))
        })
        .collect();
    assert!(surprises.is_empty(), "{surprises:#?}");
}

#[test]
fn the_gateway_can_do_nothing_but_move_bytes() {
    let fence = Fence::prepare(&gateway::rules(8188)).unwrap();
    try_all(0, Some(&fence), &Filter::compile(&gateway::POLICY).unwrap());
}

#[test]
fn the_sensor_can_do_nothing_but_ask_the_driver() {
    let fence = Fence::prepare(&sensor::rules(None)).unwrap();
    if fence.in_force().abi == 0 {
        eprintln!("without Landlock the sensor is held from files by their permissions only: not tried");
        return;
    }
    try_all(1, Some(&fence), &Filter::compile(&sensor::POLICY).unwrap());
}

#[test]
fn the_whole_tree_is_kept_from_what_nobody_in_it_needs() {
    try_all(2, None, &Filter::compile(&supervisor::POLICY).unwrap());
}

#[test]
fn the_gateway_connects_to_comfyuis_port_only() {
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [comfyui, other] = [0, 1].map(|n: usize| listeners[n].local_addr().unwrap().port());
    let fence = Fence::prepare(&gateway::rules(comfyui)).unwrap();
    if !fence.in_force().kinds.contains(&"TCP") {
        eprintln!("this kernel's Landlock knows no ports: nothing to try");
        return;
    }
    let filter = Filter::compile(&gateway::POLICY).unwrap();
    let connect = |port| {
        let enter = || no_new_privs().and_then(|()| fence.enter()).and_then(|()| filter.enter());
        in_child(enter, || acts::connect(port))
    };
    assert_eq!(connect(comfyui), Outcome::Done);
    assert_eq!(connect(other), Outcome::ACCESS_DENIED);
}

#[test]
fn the_sensor_reads_what_the_drivers_library_reads() {
    let fence = Fence::prepare(&sensor::rules(None)).unwrap();
    let filter = Filter::compile(&sensor::POLICY).unwrap();
    let enter = || no_new_privs().and_then(|()| fence.enter()).and_then(|()| filter.enter());
    assert_eq!(in_child(enter, acts::open_devices_list), Outcome::Done);
}

/// A panic in a release ends in abort(3): its signal has to reach the process, or the log would speak of an attack.
#[test]
fn an_abort_is_an_abort_inside_every_sandbox() {
    for policy in [gateway::POLICY, sensor::POLICY, supervisor::POLICY] {
        // Compiled in the child, whose own id the tables ask for.
        let enter = || Filter::compile(&policy).map_err(std::io::Error::other).and_then(|filter| filter.enter());
        assert_eq!(in_child(enter, acts::abort), Outcome::ABORTED);
    }
}

#[test]
fn every_line_of_every_table_has_its_reason() {
    for policy in [gateway::POLICY, sensor::POLICY, supervisor::POLICY] {
        for rule in policy.rules {
            assert!(rule.why.len() >= 4, "{rule:?}");
        }
    }
}

/// A name that one architecture lacks must be marked: else the guard would not start there.
#[test]
fn every_table_compiles_for_every_architecture() {
    for policy in [gateway::POLICY, sensor::POLICY, supervisor::POLICY] {
        Filter::compile_for_every_architecture(&policy).unwrap();
    }
}
