//! Which places the configuration means, and that the tables refuse and let through what they say.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use super::*;
use crate::config::Limits as Configured;
use crate::os::arguments::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER, IPPROTO_TCP, MSG_FASTOPEN,
    NETLINK_ROUTE, PER_CURRENT, SOCK_DGRAM, SOCK_STREAM, TIOCSTI,
};
use crate::os::seccomp::Filter;
use crate::os::trial::{Outcome, call};
use crate::units::Span;

fn settings(cage: Cage, arguments: &[&str]) -> OwnedComfyui {
    OwnedComfyui {
        directory: "/opt/comfyui".into(),
        python: "/opt/comfyui/venv/bin/python".into(),
        arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
        environment: BTreeMap::new(),
        port: 8188,
        user: "comfyui".into(),
        groups: vec![],
        stop_timeout: Span::from_secs(15),
        cage,
        writable: vec!["/srv/out".into()],
        readable: vec!["/srv/models".into()],
        limits: Configured { memory: None, cpus: None, tasks: 500 },
    }
}

fn places_of(cage: Cage, arguments: &[&str], environment: &[(&str, &str)], own_user: bool) -> Places {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    places(&settings(cage, arguments), &environment, own_user)
}

fn text(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().unwrap()).collect()
}

#[test]
fn without_a_word_comfyui_writes_to_its_own_folders() {
    let found = places_of(Cage::Standard, &[], &[("HOME", "/var/lib/comfyui")], true);
    let opt = ["input", "output", "temp", "user", "models", "custom_nodes"].map(|name| format!("/opt/comfyui/{name}"));
    assert_eq!(text(&found.made), opt);
    assert_eq!(text(&found.written), ["/var/lib/comfyui", "/tmp", "/var/tmp", "/dev/shm", "/srv/out"]);
    assert_eq!((found.read, found.executed), (vec![], vec![]));
}

#[test]
fn strict_installs_nothing_and_reads_what_it_needs() {
    let found = places_of(Cage::Strict, &["--front-end-root", "/srv/web"], &[], true);
    assert_eq!(text(&found.made), ["input", "output", "temp", "user"].map(|name| format!("/opt/comfyui/{name}")));
    assert_eq!(text(&found.provided), ["/opt/comfyui/models", "/opt/comfyui/custom_nodes"]);
    assert_eq!(text(&found.read), ["/proc", "/sys", "/srv/web", "/srv/models"]);
    for path in
        ["/usr", "/etc", "/opt/comfyui", "/opt/comfyui/custom_nodes", "/opt/comfyui/models", "/opt/comfyui/venv"]
    {
        assert!(text(&found.executed).contains(&path), "{path} in {found:?}");
    }
    for path in ["/", "/home", "/root", "/var", "/opt"] {
        assert!(!text(&found.executed).contains(&path) && !text(&found.read).contains(&path), "{path} in {found:?}");
    }
}

#[test]
fn options_move_the_folders_as_main_py_does() {
    let made = |arguments: &[&str]| {
        let mut made = places_of(Cage::Strict, arguments, &[], true).made;
        made.truncate(4);
        made
    };
    let table: &[(&[&str], [&str; 4])] = &[
        (&["--base-directory", "/b"], ["/b/input", "/b/output", "/b/temp", "/b/user"]),
        (
            &["--base-directory=b"],
            ["/opt/comfyui/b/input", "/opt/comfyui/b/output", "/opt/comfyui/b/temp", "/opt/comfyui/b/user"],
        ),
        (
            &["--output-directory", "/o", "--input-dir=/i", "--temp-directory", "/t", "--user-directory", "/u"],
            ["/i", "/o", "/t/temp", "/u"],
        ),
        (
            &["--base-directory", "/b", "--out", "/o", "--base-directory", "/c"],
            ["/c/input", "/o", "/c/temp", "/c/user"],
        ),
        (
            &["--cpu", "output", "--base-directory"],
            ["/opt/comfyui/input", "/opt/comfyui/output", "/opt/comfyui/temp", "/opt/comfyui/user"],
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(text(&made(arguments)), expected, "{arguments:?}");
    }
    let elsewhere = places_of(Cage::Strict, &["--base-directory", "/b"], &[], true);
    assert_eq!(text(&elsewhere.made).last(), Some(&"/opt/comfyui/user"), "the database stays there");
    assert_eq!(text(&elsewhere.provided), ["/b/models", "/b/custom_nodes"]);
    let newer = places_of(Cage::Standard, &["--front-end-version", "Comfy-Org/ComfyUI_frontend@latest"], &[], true);
    assert!(text(&newer.made).contains(&"/opt/comfyui/web_custom_versions"));
}

#[test]
fn a_home_is_writable_as_a_whole_only_where_it_is_comfyuis_and_holds_no_code() {
    let caches = |home: &str| [".cache", ".triton", ".nv"].map(|name| format!("{home}/{name}"));
    let table = [
        (true, "/var/lib/comfyui", true),
        // A person's; one that the code lies in; one that the interpreter lies in.
        (false, "/home/me", false),
        (true, "/opt", false),
        (true, "/opt/comfyui/venv", false),
    ];
    for (own_user, home, whole) in table {
        let found = places_of(Cage::Standard, &[], &[("HOME", home)], own_user);
        assert_eq!(text(&found.written).contains(&home), whole, "{home}");
        let made = caches(home).iter().all(|cache| text(&found.made).contains(&cache.as_str()));
        assert_eq!(made, !whole, "{home}");
    }
    for home in ["/nonexistent", "/", "relative"] {
        let found = places_of(Cage::Standard, &[], &[("HOME", home)], true);
        assert_eq!(found, places_of(Cage::Standard, &[], &[], true), "{home}");
    }
}

#[test]
fn a_cache_that_somebody_moved_is_writable_there() {
    let environment = [("HF_HOME", "/srv/hf"), ("TMPDIR", "/scratch"), ("HF_TOKEN", "/srv/token"), ("TORCH_HOME", "/")];
    let found = places_of(Cage::Strict, &[], &environment, true);
    assert_eq!(text(found.made.get(4..).unwrap()), ["/srv/hf", "/scratch"]);
}

#[test]
fn tasks_are_limited_by_the_user_only_where_nothing_better_does() {
    let settings = settings(Cage::Standard, &[]);
    let held = |tasks| Some(Held { memory: true, cpu: true, tasks });
    let processes = |own_user, held| limits(&settings, own_user, held).processes;
    assert_eq!(processes(true, None), Some(500));
    assert_eq!(processes(true, held(false)), Some(500));
    assert_eq!(processes(true, held(true)), None);
    assert_eq!(processes(false, None), None);
}

/// The tables compile; what they list is refused as they say, and what stands beside it is not.
#[test]
fn the_tables_refuse_what_they_list() {
    let standard = Filter::denying(denied::STANDARD).unwrap();
    let connections = Filter::denying(denied::CONNECTIONS).unwrap();
    let strict = Filter::compile(&known::STRICT).unwrap();
    let (refused, passed) = (Outcome::NOT_PERMITTED, Outcome::BAD_DESCRIPTOR);
    let socket = |family: u32, kind: u32, protocol: u32| [family, kind, protocol, 0].map(i64::from);
    let table: &[(&str, [i64; 4], Outcome, Outcome)] = &[
        ("socket", socket(AF_UNIX, SOCK_DGRAM, 0), Outcome::Done, Outcome::Done),
        ("socket", socket(AF_INET, SOCK_STREAM, 0), Outcome::Done, Outcome::Done),
        ("socket", socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP), Outcome::Done, Outcome::Done),
        ("socket", socket(AF_INET, SOCK_DGRAM, 0), Outcome::Done, refused),
        ("socket", socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE), Outcome::Done, Outcome::Done),
        ("socket", socket(AF_NETLINK, SOCK_DGRAM, 15), refused, refused),
        ("socket", socket(17, SOCK_DGRAM, 0), refused, refused),
        ("sendto", [-1, 0, 0, 0], passed, passed),
        ("sendto", [-1, 0, 0, i64::from(MSG_FASTOPEN)], passed, refused),
        ("connect", [-1, 0, 0, 0], passed, passed),
        ("ioctl", [-1, i64::from(TIOCSTI), 0, 0], refused, passed),
        ("ioctl", [-1, 0, 0, 0], passed, passed),
        ("personality", [i64::from(PER_CURRENT), 0, 0, 0], Outcome::Done, Outcome::Done),
        ("personality", [0x0040_0000, 0, 0, 0], refused, Outcome::Done),
        ("clone", [0; 4], Outcome::Done, Outcome::Done),
        ("clone3", [0; 4], Outcome::NO_SUCH_CALL, Outcome::Errno(22)),
        ("ptrace", [0; 4], refused, refused),
        ("unshare", [0; 4], refused, refused),
        ("setreuid", [-1, -1, 0, 0], Outcome::Done, refused),
    ];
    for (name, arguments, by_standard, by_strict) in table {
        assert_eq!(call(|| standard.enter(), name, *arguments), *by_standard, "standard: {name} {arguments:?}");
        // By itself; in the cage it comes on top of the other.
        assert_eq!(call(|| strict.enter(), name, *arguments), *by_strict, "strict: {name} {arguments:?}");
    }
    assert_eq!(call(|| connections.enter(), "connect", [-1, 0, 0, 0]), refused);
    for namespace in [CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET] {
        assert_eq!(call(|| standard.enter(), "clone", [i64::from(namespace), 0, 0, 0]), refused);
    }
    // MPTCP, which not every kernel has.
    assert_eq!(call(|| strict.enter(), "socket", socket(AF_INET, SOCK_STREAM, 262)), refused);
}

#[test]
fn every_line_of_the_tables_has_a_reason() {
    for denial in denied::STANDARD.iter().chain(denied::CONNECTIONS) {
        assert!(denial.why.len() >= 4, "{denial:?}");
    }
    for rule in known::STRICT.rules {
        assert!(rule.why.len() >= 4, "{rule:?}");
    }
}
