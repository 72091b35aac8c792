//! What lets guests in and keeps the rest out: key, certificate, users, and a running ComfyUI whose own guard is off.

use std::time::SystemTime;

use super::finding::{Finding, Grade};
use crate::credential::names::Names;

/// The key as it was found.
#[derive(Debug)]
pub(super) enum Key {
    /// `auth.enabled = false`
    Off,
    /// It can be used.
    Set,
    /// There is none.
    Missing,
    /// Its file is refused, with the reason and the cure.
    Refused(String),
    /// This user may not look.
    Unseen,
}

/// Whether anybody can be let in. `running`: whether the running guard has a key, wherever it is from; none: no guard tells.
pub(super) fn key(key: &Key, running: Option<bool>) -> Finding {
    const ABOUT: &str = "key";
    match (key, running) {
        (Key::Off, _) => Finding::warning(
            ABOUT,
            "no key is asked for (auth.enabled = false): every user and every program of this machine runs code by it",
            "set one with `comfy-guard set-key`, and remove auth.enabled",
        ),
        (Key::Set, _) => {
            Finding::ok(ABOUT, "set, in a file that nobody else can read; how strong it is cannot be seen any more")
        }
        (Key::Missing | Key::Unseen, Some(true)) => Finding::ok(ABOUT, "the running guard has one"),
        (Key::Missing, _) => Finding::problem(ABOUT, "there is none: nobody is let in", "`comfy-guard set-key`"),
        (Key::Refused(why), _) => Finding::told(ABOUT, Grade::Problem, why.clone()),
        (Key::Unseen, _) => Finding::warning(ABOUT, "this user may not look at it", "run this as root"),
    }
}

/// The certificate, as far as it could be loaded.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Whether the guard makes it itself.
    pub(super) own: bool,
    pub(super) names: Vec<String>,
    pub(super) ends: SystemTime,
    /// What the loader remarked: its end, the key's mode.
    pub(super) remarks: Vec<String>,
}

/// Whether browsers will take it at the names and addresses that this machine has.
pub(super) fn certificate(certificate: &Certificate, machine: &Names, now: SystemTime) -> Vec<Finding> {
    const ABOUT: &str = "certificate";
    let expired = certificate.ends <= now;
    let grade = if expired { Grade::Problem } else { Grade::Warning };
    let mut findings: Vec<Finding> =
        certificate.remarks.iter().map(|remark| Finding::told(ABOUT, grade, remark.clone())).collect();
    let missing: Vec<String> = machine.texts().into_iter().filter(|name| !certificate.names.contains(name)).collect();
    if certificate.own && !missing.is_empty() {
        findings.push(Finding::warning(
            ABOUT,
            format!("it does not name {}: browsers refuse it there", missing.join(", ")),
            "`systemctl reload comfy-guard`: the guard makes a new one. A name of your own goes into tls.names",
        ));
    }
    if !certificate.own && certificate.names.is_empty() {
        findings.push(Finding::problem(
            ABOUT,
            "it names no host at all (no subjectAltName): every browser refuses it",
            "have it issued with the names that guests type",
        ));
    }
    if findings.is_empty() {
        let days = certificate.ends.duration_since(now).unwrap_or_default().as_secs() / 86_400;
        findings.push(Finding::ok(ABOUT, format!("for {}; {days} days left", certificate.names.join(", "))));
    }
    findings
}

/// Groups that are as good as root.
const POWERFUL: &[&str] =
    &["root", "docker", "lxd", "libvirt", "disk", "shadow", "kmem", "sudo", "wheel", "systemd-journal"];

/// ComfyUI's user and the groups that it is in, by name; `guards`: the groups of the guard's own users.
pub(super) fn groups(user: &str, in_groups: &[String], guards: &[String]) -> Finding {
    const ABOUT: &str = "users";
    let has = |list: &[String], name: &String| list.iter().any(|other| other == name);
    let guards: Vec<&String> = in_groups.iter().filter(|name| has(guards, name)).collect();
    let powerful: Vec<&String> = in_groups.iter().filter(|name| POWERFUL.contains(&name.as_str())).collect();
    let list = |names: &[&String]| names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    let leave = |names: &[&String]| {
        names.iter().map(|name| format!("`gpasswd -d {user} {name}`")).collect::<Vec<_>>().join(", ")
    };
    if !guards.is_empty() {
        return Finding::problem(
            ABOUT,
            format!(
                "ComfyUI's user {user} is in a group of the guard's ({}): every custom node can reach what is that group's",
                list(&guards)
            ),
            leave(&guards),
        );
    }
    if !powerful.is_empty() {
        return Finding::problem(
            ABOUT,
            format!(
                "ComfyUI's user {user} is in {}: whoever is in it can read the key or become root, in programs that this user starts outside of the guard",
                list(&powerful)
            ),
            leave(&powerful),
        );
    }
    Finding::ok(ABOUT, format!("ComfyUI runs as {user}, in no group that reaches the guard or root"))
}

/// A process that looks like a ComfyUI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) arguments: Vec<String>,
}

/// ComfyUIs whose own guard against other sites is off. The guard's own cannot be started so.
pub(super) fn processes(processes: &[Process]) -> Vec<Finding> {
    let is_comfyui = |process: &&Process| {
        process.arguments.iter().any(|argument| argument == "main.py" || argument.ends_with("/main.py"))
    };
    let has = |process: &Process, option: &str| {
        process.arguments.iter().any(|argument| argument.split('=').next() == Some(option))
    };
    processes
        .iter()
        .filter(is_comfyui)
        .filter(|process| has(process, "--enable-cors-header"))
        .map(|process| {
            Finding::problem(
                "ComfyUI",
                format!("process {} runs with --enable-cors-header: every page that a browser on its machine opens may use it", process.pid),
                "start it without; through the guard, pages of other origins are let in by auth.allowed_origins",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::cli::doctor::finding::Grade::{Ok as Fine, Problem, Warning};
    use crate::cli::doctor::finding::tests::grades;

    #[test]
    fn a_key_is_there_or_it_is_told() {
        let table = [
            (Key::Set, None, Fine),
            (Key::Missing, Some(true), Fine),
            (Key::Missing, Some(false), Problem),
            (Key::Missing, None, Problem),
            (Key::Refused("mode 0644".to_owned()), Some(true), Problem),
            (Key::Unseen, None, Warning),
            (Key::Unseen, Some(true), Fine),
            (Key::Off, Some(true), Warning),
        ];
        for (found, running, grade) in table {
            assert_eq!(key(&found, running).grade, grade, "{found:?} {running:?}");
        }
    }

    #[test]
    fn a_certificate_names_the_machine_and_lasts() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
        let named = |own, names: &[&str], remarks: &[&str], days: i64| Certificate {
            own,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ends: if days > 0 { now + Duration::from_secs(86_400 * days.unsigned_abs()) } else { now },
            remarks: remarks.iter().map(|remark| (*remark).to_owned()).collect(),
        };
        let machine = Names::of(["box".to_owned(), "10.0.0.7".to_owned()]);
        let table = [
            (named(true, &["box", "10.0.0.7", "localhost"], &[], 90), vec![Fine]),
            (named(true, &["box"], &[], 90), vec![Warning]),
            (named(false, &["comfy.example"], &[], 90), vec![Fine]),
            (named(false, &[], &[], 90), vec![Problem]),
            (named(false, &["comfy.example"], &["it expires in 3 days"], 3), vec![Warning]),
            (
                named(false, &["comfy.example"], &["it has expired", "its key is open to its group"], 0),
                vec![Problem, Problem],
            ),
        ];
        for (one, expected) in table {
            let told: Vec<Grade> = certificate(&one, &machine, now).iter().map(|finding| finding.grade).collect();
            assert_eq!(told, expected, "{one:?}");
        }
        let missing = certificate(&named(true, &["box"], &[], 90), &machine, now);
        assert!(missing.first().unwrap().found.contains("10.0.0.7"), "{missing:?}");
    }

    #[test]
    fn groups_that_reach_the_guard_or_root_are_told() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let guards = names(&["comfy-guard", "comfy-guard-net"]);
        let table = [
            (&["comfyui", "video", "render"][..], Fine),
            (&["comfyui", "comfy-guard"], Problem),
            (&["comfyui", "docker"], Problem),
        ];
        for (in_groups, grade) in table {
            let finding = groups("comfyui", &names(in_groups), &guards);
            assert_eq!(finding.grade, grade, "{finding:?}");
        }
        assert_eq!(
            groups("comfyui", &names(&["docker"]), &guards).cure.as_deref(),
            Some("`gpasswd -d comfyui docker`")
        );
    }

    #[test]
    fn a_comfyui_that_lets_every_page_in_is_found() {
        let process = |line: &str| Process { pid: 7, arguments: line.split(' ').map(ToOwned::to_owned).collect() };
        let well = [
            process("python main.py --listen 127.0.0.1"),
            process("grep --enable-cors-header main.pyc"),
            process("vim --enable-cors-header"),
        ];
        assert!(processes(&well).is_empty());
        for line in ["python main.py --enable-cors-header", "/x/python /opt/comfyui/main.py --enable-cors-header=*"] {
            assert_eq!(grades(&processes(&[process(line)])), [("ComfyUI", Problem)], "{line}");
        }
    }
}
