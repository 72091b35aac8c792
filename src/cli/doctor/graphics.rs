//! The GPU as ComfyUI's user will find it: card, driver, library, device nodes and who may open them.

use std::path::{Path, PathBuf};

use super::finding::Finding;
use crate::os::users::{Gid, Uid};

const ABOUT: &str = "GPU";
/// What CUDA opens before anything else.
const NEEDED: &[&str] = &["nvidiactl", "nvidia-uvm"];

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) path: PathBuf,
    pub(super) owner: Uid,
    pub(super) group: Gid,
    pub(super) mode: u32,
}

/// As whom ComfyUI opens them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) name: String,
    pub(super) uid: Uid,
    /// Its own and those of `comfyui.groups`.
    pub(super) groups: Vec<Gid>,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// NVIDIA's display controllers on the PCI bus.
    pub(super) cards: usize,
    /// The version of the loaded driver.
    pub(super) driver: Option<String>,
    /// The driver's library, with links followed to its end; why there is none to load.
    pub(super) library: Option<Result<PathBuf, String>>,
    pub(super) nodes: Vec<Node>,
    pub(super) who: Option<Who>,
}

/// What stands between ComfyUI and the GPU.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(driver) = &facts.driver else {
        if facts.cards == 0 {
            return vec![Finding::ok(ABOUT, "there is no NVIDIA GPU, and no driver for one")];
        }
        return vec![Finding::problem(
            ABOUT,
            format!("there are NVIDIA GPUs on the PCI bus ({}), and no driver is loaded", facts.cards),
            "install NVIDIA's driver; if it is installed: `modprobe nvidia`, and `dmesg` says why it does not load",
        )];
    };
    let mut findings = vec![match &facts.library {
        Some(Ok(path)) => library(driver, path),
        Some(Err(why)) => Finding::problem(
            ABOUT,
            format!("driver {driver}, and no library to ask it: {why}"),
            "install the package that has libnvidia-ml.so.1 of the same version",
        ),
        None => Finding::ok(ABOUT, format!("driver {driver}")),
    }];
    let names: Vec<String> =
        facts.nodes.iter().filter_map(|node| Some(node.path.file_name()?.to_string_lossy().into_owned())).collect();
    let missing: Vec<&str> = NEEDED.iter().copied().filter(|name| !names.iter().any(|have| have == name)).collect();
    let has_card = names.iter().any(|name| is_card(name));
    if !missing.is_empty() || !has_card {
        let missing = missing.into_iter().chain((!has_card).then_some("nvidia0")).map(|name| format!("/dev/{name}"));
        findings.push(Finding::problem(
            ABOUT,
            format!("device nodes are missing: {}; CUDA finds no GPU without them", missing.collect::<Vec<_>>().join(", ")),
            "`nvidia-modprobe -u -c=0` as root, then restart the guard: its unit takes the nodes that are there at the start",
        ));
    }
    if let Some(who) = &facts.who {
        findings.extend(facts.nodes.iter().filter(|node| !may_open(node, who)).map(|node| refused(node, who)));
    }
    findings
}

/// The library's file is named after its version: `libnvidia-ml.so.580.95.05`.
fn library(driver: &str, path: &Path) -> Finding {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.split_once(".so.").map(|(_, version)| version) {
        Some(version) if version.contains('.') && version != driver => Finding::problem(
            ABOUT,
            format!(
                "the driver is {driver} and its library {version}: an update without a reboot; nothing can use the GPU"
            ),
            "reboot, or end what uses the GPU and load the new module (`modprobe -r nvidia_uvm nvidia && modprobe nvidia`)",
        ),
        _ => Finding::ok(ABOUT, format!("driver {driver}, and its library {}", path.display())),
    }
}

fn is_card(name: &str) -> bool {
    name.strip_prefix("nvidia").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// To read and to write, as the kernel decides it: owner, else group, else others.
fn may_open(node: &Node, who: &Who) -> bool {
    let shift = if node.owner == who.uid {
        6
    } else if who.groups.contains(&node.group) {
        3
    } else {
        0
    };
    (node.mode >> shift) & 0o6 == 0o6
}

fn refused(node: &Node, who: &Who) -> Finding {
    let path = node.path.display();
    let cure = if (node.mode >> 3) & 0o6 == 0o6 {
        format!("add its group to comfyui.groups (`stat -c %G {path}` names it), and restart the guard")
    } else {
        format!("`chmod 666 {path}`, and for good the option NVreg_DeviceFileMode=0666 of the module nvidia")
    };
    Finding::problem(
        ABOUT,
        format!("ComfyUI's user {} may not open {path} (mode {:04o}, group {})", who.name, node.mode, node.group),
        cure,
    )
}

/// The version in `/proc/driver/nvidia/version`: `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  …`.
pub(super) fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_version = |word: &&str| {
        word.contains('.')
            && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    line.split_ascii_whitespace().find(is_version).map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade::{Ok as Fine, Problem};
    use crate::cli::doctor::finding::tests::grades;

    fn node(name: &str, group: u32, mode: u32) -> Node {
        Node { path: PathBuf::from(format!("/dev/{name}")), owner: Uid(0), group: Gid(group), mode }
    }

    fn well() -> Facts {
        Facts {
            cards: 1,
            driver: Some("580.95.05".to_owned()),
            library: Some(Ok(PathBuf::from("/usr/lib/libnvidia-ml.so.580.95.05"))),
            nodes: vec![node("nvidiactl", 44, 0o660), node("nvidia0", 44, 0o660), node("nvidia-uvm", 0, 0o666)],
            who: Some(Who { name: "comfyui".to_owned(), uid: Uid(990), groups: vec![Gid(990), Gid(44)] }),
        }
    }

    #[test]
    fn a_box_with_and_one_without_a_gpu_are_in_order() {
        assert_eq!(grades(&judge(&well())), [(ABOUT, Fine)]);
        assert_eq!(grades(&judge(&Facts::default())), [(ABOUT, Fine)]);
        let soname = Facts { library: Some(Ok(PathBuf::from("/x/libnvidia-ml.so.1"))), ..well() };
        assert_eq!(grades(&judge(&soname)), [(ABOUT, Fine)], "its version is not in its name");
    }

    #[test]
    fn what_keeps_comfyui_from_the_gpu_is_named_with_its_cure() {
        let no_group = Some(Who { name: "comfyui".to_owned(), uid: Uid(990), groups: vec![Gid(990)] });
        let table = [
            (Facts { driver: None, ..well() }, "no driver is loaded", "modprobe"),
            (
                Facts { library: Some(Ok(PathBuf::from("/x/libnvidia-ml.so.575.1.2"))), ..well() },
                "580.95.05 and its library 575.1.2",
                "reboot",
            ),
            (
                Facts { library: Some(Err("there is none".to_owned())), ..well() },
                "no library to ask it: there is none",
                "install",
            ),
            (
                Facts { nodes: vec![node("nvidiactl", 0, 0o666)], ..well() },
                "/dev/nvidia-uvm, /dev/nvidia0",
                "nvidia-modprobe",
            ),
            (Facts { who: no_group, ..well() }, "may not open /dev/nvidiactl (mode 0660, group 44)", "comfyui.groups"),
            (
                Facts {
                    nodes: vec![node("nvidiactl", 0, 0o600), node("nvidia0", 0, 0o666), node("nvidia-uvm", 0, 0o666)],
                    ..well()
                },
                "/dev/nvidiactl (mode 0600",
                "chmod 666",
            ),
        ];
        for (facts, found, cure) in table {
            let findings = judge(&facts);
            let told = findings.iter().find(|finding| finding.grade == Problem && finding.found.contains(found));
            assert!(
                told.is_some_and(|told| told.cure.as_deref().is_some_and(|text| text.contains(cure))),
                "{found}: {findings:?}"
            );
        }
    }

    #[test]
    fn the_drivers_version_is_read_from_either_kind_of_module() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version: gcc version 12.2.0\n";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n";
        assert_eq!(driver_version(closed).as_deref(), Some("550.54.14"));
        assert_eq!(driver_version(open).as_deref(), Some("580.95.05"));
        assert_eq!(driver_version("GCC version: 12.2.0"), None);
    }
}
