//! Acts of processes that were taken over, each harmless where nothing holds it.
//!
//! One system call each, two where the first is innocent; none allocates.

use std::ptr::{null, null_mut};

use libc::{c_long, c_void, syscall};

const HERE: libc::c_int = libc::AT_FDCWD;
/// A pointer that leads nowhere: a call that is let through fails with EFAULT before it does anything.
const NOWHERE: usize = 8;

/// A number that is in no kernel yet.
const FUTURE: c_long = 1023;

macro_rules! acts {
    ($($(#[$about:meta])* $name:ident = $act:expr;)*) => {
        $(
            #[doc = concat!("The act `", stringify!($name), "`.")]
            $(#[$about])*
            pub(crate) fn $name() -> c_long {
                #[allow(unused_unsafe, reason = "some acts are safe")]
                // SAFETY: a raw system call whose pointers are null, lead nowhere (EFAULT), or are constants that outlive it.
                unsafe { $act }
            }
        )*
    };
}

fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> c_long {
    // SAFETY: socket(2) takes three numbers.
    unsafe { syscall(libc::SYS_socket, family, kind, protocol) }
}

fn map(protection: libc::c_int) -> c_long {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice.
    unsafe { syscall(libc::SYS_mmap, null::<c_void>(), 4096_usize, protection, flags, -1, 0) }
}

const PROGRAM: *const libc::c_char = c"/bin/true".as_ptr();

acts! {
    execute = syscall(libc::SYS_execve, PROGRAM, [PROGRAM, null()].as_ptr(), null::<c_void>());
    execute_memory = syscall(libc::SYS_execveat, -1, c"".as_ptr(), null::<c_void>(), null::<c_void>(), libc::AT_EMPTY_PATH);
    memory_file = syscall(libc::SYS_memfd_create, c"x".as_ptr(), 0);
    map_executable = map(libc::PROT_READ | libc::PROT_EXEC);
    make_executable = {
        let page = map(libc::PROT_READ);
        if page < 0 { page } else { syscall(libc::SYS_mprotect, page, 4096_usize, libc::PROT_READ | libc::PROT_EXEC) }
    };
    fork = match syscall(libc::SYS_clone, libc::SIGCHLD, null::<c_void>(), null::<c_void>(), null::<c_void>(), 0) {
        0 => libc::_exit(0),
        child => child,
    };
    clone3 = syscall(libc::SYS_clone3, NOWHERE, 64_usize);
    clone_user_namespace = match syscall(libc::SYS_clone, libc::CLONE_NEWUSER | libc::SIGCHLD, null::<c_void>(), null::<c_void>(), null::<c_void>(), 0) {
        0 => libc::_exit(0),
        child => child,
    };
    unshare = syscall(libc::SYS_unshare, libc::CLONE_NEWUSER);
    setns = syscall(libc::SYS_setns, -1, 0);

    open_to_read = syscall(libc::SYS_openat, HERE, c"/etc/passwd".as_ptr(), libc::O_RDONLY);
    open_devices_list = syscall(libc::SYS_openat, HERE, c"/proc/devices".as_ptr(), libc::O_RDONLY);
    make_file = syscall(libc::SYS_openat, HERE, c"/nonexistent/file".as_ptr(), libc::O_WRONLY | libc::O_CREAT, 0o600);
    openat2 = syscall(libc::SYS_openat2, HERE, c"/etc/passwd".as_ptr(), NOWHERE, 24_usize);
    open_by_handle = syscall(libc::SYS_open_by_handle_at, -1, NOWHERE, 0);
    rename = syscall(libc::SYS_renameat2, HERE, c"/nonexistent/a".as_ptr(), HERE, c"/nonexistent/b".as_ptr(), 0);
    remove = syscall(libc::SYS_unlinkat, HERE, c"/nonexistent/a".as_ptr(), 0);
    make_device = syscall(libc::SYS_mknodat, HERE, c"/nonexistent/a".as_ptr(), libc::S_IFCHR | 0o600, 0x103);
    mount = syscall(libc::SYS_mount, NOWHERE, NOWHERE, NOWHERE, 0, 0);
    unmount = syscall(libc::SYS_umount2, NOWHERE, 0);
    chroot = syscall(libc::SYS_chroot, c"/".as_ptr());
    pivot_root = syscall(libc::SYS_pivot_root, NOWHERE, NOWHERE);

    unix_socket = socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
    udp_socket = socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
    packet_socket = socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
    netlink_socket = socket(libc::AF_NETLINK, libc::SOCK_RAW, 0);
    vsock_socket = socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0);
    cryptography_socket = socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0);
    multipath_socket = socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP);
    bind = syscall(libc::SYS_bind, -1, null::<c_void>(), 0);
    listen = syscall(libc::SYS_listen, -1, 1);
    fast_open = syscall(libc::SYS_sendto, -1, c"x".as_ptr(), 1_usize, libc::MSG_FASTOPEN, null::<c_void>(), 0);
    mark_packets = syscall(libc::SYS_setsockopt, -1, libc::SOL_SOCKET, libc::SO_MARK, NOWHERE, 4);

    ptrace = syscall(libc::SYS_ptrace, libc::PTRACE_ATTACH, -1, 0, 0);
    read_memory = syscall(libc::SYS_process_vm_readv, libc::getppid(), NOWHERE, 1, NOWHERE, 1, 0);
    write_memory = syscall(libc::SYS_process_vm_writev, libc::getppid(), NOWHERE, 1, NOWHERE, 1, 0);
    take_descriptor = syscall(libc::SYS_pidfd_getfd, -1, 0, 0);
    signal_group = syscall(libc::SYS_kill, -0x7fff_ffff, 0);
    signal_init = syscall(libc::SYS_tgkill, 1, 1, 0);
    raise_limit = syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE, NOWHERE, null::<c_void>());

    setuid = syscall(libc::SYS_setuid, 0);
    setresuid = syscall(libc::SYS_setresuid, 0, 0, 0);
    setgroups = syscall(libc::SYS_setgroups, 0, null::<c_void>());
    capset = syscall(libc::SYS_capset, NOWHERE, NOWHERE);
    become_dumpable = syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
    install_filter = syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, NOWHERE);
    personality = syscall(libc::SYS_personality, 0x0004_0000);
    type_into_terminal = syscall(libc::SYS_ioctl, -1, libc::TIOCSTI, c"x".as_ptr());

    load_module = syscall(libc::SYS_init_module, NOWHERE, 1, NOWHERE);
    load_module_file = syscall(libc::SYS_finit_module, -1, NOWHERE, 0);
    unload_module = syscall(libc::SYS_delete_module, NOWHERE, 0);
    load_kernel = syscall(libc::SYS_kexec_load, 0, 1_usize << 40, NOWHERE, -1);
    reboot = syscall(libc::SYS_reboot, 0, 0, 0, null::<c_void>());
    io_uring = syscall(libc::SYS_io_uring_setup, 1, NOWHERE);
    userfaultfd = syscall(libc::SYS_userfaultfd, -1);
    bpf = syscall(libc::SYS_bpf, -1, NOWHERE, 0);
    perf_event_open = syscall(libc::SYS_perf_event_open, NOWHERE, 0, -1, -1, 0);
    keyctl = syscall(libc::SYS_keyctl, -1, 0, 0, 0, 0);
    add_key = syscall(libc::SYS_add_key, NOWHERE, NOWHERE, NOWHERE, 0, 0);
    swapon = syscall(libc::SYS_swapon, NOWHERE, 0);
    set_clock = syscall(libc::SYS_clock_settime, -1, NOWHERE);
    set_host_name = syscall(libc::SYS_sethostname, NOWHERE, 1);
    read_kernel_log = syscall(libc::SYS_syslog, 3, NOWHERE, 1);
    priority_futex = syscall(libc::SYS_futex, NOWHERE, libc::FUTEX_LOCK_PI, 0, null::<c_void>(), null_mut::<c_void>(), 0);
    abort = libc::abort();
    future_call = syscall(FUTURE);
}

/// Connects to a port of the loopback address.
pub(crate) fn connect(port: u16) -> c_long {
    with_address(libc::SYS_connect, port)
}

/// Binds to a port of the kernel's choice on the loopback address.
pub(crate) fn bind_any_port() -> c_long {
    with_address(libc::SYS_bind, 0)
}

fn with_address(call: c_long, port: u16) -> c_long {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(std::net::Ipv4Addr::LOCALHOST).to_be() },
        sin_zero: [0; 8],
    };
    let socket = socket(libc::AF_INET, libc::SOCK_STREAM, 0);
    // SAFETY: an address and its length, which outlive the call.
    unsafe { syscall(call, socket, &raw const address, size_of_val(&address)) }
}
