//! ComfyUI's own files: who else may write what it runs, what it may not write and needs to, and which versions lie there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::graphics::Who;
use crate::os::users::{Gid, Uid};

const ABOUT: &str = "files";
/// More entries are not looked at: a folder of models or pictures is not what this is about.
const MOST: usize = 50_000;
const EXAMPLES: usize = 3;
/// Below these ComfyUI writes; only they themselves are looked at, not the thousands of files in them.
const WRITTEN: &[&str] = &["input", "output", "temp", "user", "models"];

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) is_directory: bool,
    pub(super) owner: Uid,
    pub(super) group: Gid,
    pub(super) mode: u32,
    pub(super) role: Role,
}

/// What a file is to ComfyUI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It runs it.
    Program,
    /// It runs it, and the Manager installs and updates it.
    Node,
    /// It writes there.
    Work,
}

/// What is wrong with them. `who`: ComfyUI's user; `writes_code`: whether it is to install and update custom nodes.
pub(super) fn judge(entries: &[Entry], who: Option<&Who>, writes_code: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let open: Vec<&Entry> =
        entries.iter().filter(|entry| entry.role != Role::Work && entry.mode & 0o002 != 0).collect();
    if !open.is_empty() {
        findings.push(Finding::problem(
            ABOUT,
            format!("every user of this machine can change what ComfyUI runs: {}", examples(&open)),
            format!("chmod -R o-w {}", common(&open)),
        ));
    }
    let needed = |role| role == Role::Work || role == Role::Node && writes_code;
    if let Some(who) = who {
        let closed: Vec<&Entry> = entries.iter().filter(|entry| needed(entry.role) && !may_write(entry, who)).collect();
        if !closed.is_empty() {
            findings.push(Finding::warning(
                ABOUT,
                format!(
                    "ComfyUI's user {} cannot write what it needs to (pictures, or updates by the Manager): {}",
                    who.name,
                    examples(&closed)
                ),
                format!("chown -R {}: {}", who.name, common(&closed)),
            ));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(ABOUT, "ComfyUI's folders are its own, and nobody else changes what it runs"));
    }
    findings
}

fn may_write(entry: &Entry, who: &Who) -> bool {
    let shift = if entry.owner == who.uid {
        6
    } else if who.groups.contains(&entry.group) {
        3
    } else {
        0
    };
    (entry.mode >> shift) & 0o2 != 0
}

fn examples(entries: &[&Entry]) -> String {
    let named: Vec<String> = entries.iter().take(EXAMPLES).map(|entry| entry.path.display().to_string()).collect();
    let more = entries.len().saturating_sub(EXAMPLES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    named.join(", ") + &more
}

/// What to name in a command that mends them: the directory that holds them all, but never one so high that the command would
/// change what is not ComfyUI's.
fn common(entries: &[&Entry]) -> String {
    const DEEP: usize = 3;
    let mut paths = entries.iter().map(|entry| entry.path.as_path());
    let first = paths.next().unwrap_or(Path::new("/"));
    let shared = paths.fold(first, |shared, path| {
        shared.ancestors().find(|ancestor| path.starts_with(ancestor)).unwrap_or(Path::new("/"))
    });
    if entries.len() > 1 && shared.components().count() < DEEP {
        return entries
            .iter()
            .take(EXAMPLES)
            .map(|entry| entry.path.display().to_string())
            .collect::<Vec<_>>()
            .join(" ");
    }
    shared.display().to_string()
}

/// The entries that matter: `directory` itself, its programs, its custom nodes whole, and the folders that it writes to.
pub(super) fn look(directory: &Path, base: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    entries
        .extend([directory.to_owned(), directory.join("main.py")].iter().filter_map(|path| entry(path, Role::Program)));
    entries.extend(WRITTEN.iter().filter_map(|name| entry(&base.join(name), Role::Work)));
    let mut rest = vec![base.join("custom_nodes")];
    while let Some(path) = rest.pop().filter(|_| entries.len() < MOST) {
        let Some(found) = entry(&path, Role::Node) else { continue };
        if found.is_directory {
            rest.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        entries.push(found);
    }
    entries
}

/// Links are not followed: what they lead to has modes of its own.
fn entry(path: &Path, role: Role) -> Option<Entry> {
    let found = fs::symlink_metadata(path).ok().filter(|found| !found.file_type().is_symlink())?;
    // In a sticky directory nobody replaces what is somebody else's.
    let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
    Some(Entry {
        path: path.to_owned(),
        is_directory: found.is_dir(),
        owner: Uid(found.uid()),
        group: Gid(found.gid()),
        mode: found.mode() & if sticky { 0o775 } else { 0o777 },
        role,
    })
}

/// ComfyUI's version, from the files that name it.
pub(super) fn comfyui_version(directory: &Path) -> Option<String> {
    let named = fs::read_to_string(directory.join("comfyui_version.py")).ok();
    named.as_deref().and_then(assigned_version).or_else(|| project(directory).map(|(_, version)| version))
}

/// ComfyUI-Manager's, as a custom node or as a package of ComfyUI's Python.
pub(super) fn manager_version(base: &Path, python: &Path) -> Option<String> {
    let nodes = fs::read_dir(base.join("custom_nodes")).into_iter().flatten().flatten();
    let node =
        nodes.filter_map(|entry| project(&entry.path())).find(|(name, _)| is_manager(name)).map(|(_, version)| version);
    node.or_else(|| packaged_manager(python))
}

fn packaged_manager(python: &Path) -> Option<String> {
    let library = python.parent()?.parent()?.join("lib");
    let pythons = fs::read_dir(library).ok()?.flatten().map(|entry| entry.path().join("site-packages"));
    let names = pythons.flat_map(|packages| fs::read_dir(packages).into_iter().flatten().flatten());
    names.filter_map(|entry| package_version(&entry.file_name().to_string_lossy())).next()
}

/// `comfyui_manager-4.0.3.dist-info`
fn package_version(directory: &str) -> Option<String> {
    let (name, version) = directory.strip_suffix(".dist-info")?.split_once('-')?;
    is_manager(name).then(|| version.to_owned())
}

fn is_manager(name: &str) -> bool {
    name.replace('_', "-").eq_ignore_ascii_case("comfyui-manager")
}

/// Name and version of a `pyproject.toml`.
fn project(directory: &Path) -> Option<(String, String)> {
    let text = fs::read_to_string(directory.join("pyproject.toml")).ok()?;
    let document: toml::Table = text.parse().ok()?;
    let project = document.get("project")?;
    let text = |key: &str| project.get(key).and_then(toml::Value::as_str).map(ToOwned::to_owned);
    Some((text("name")?, text("version")?))
}

/// `__version__ = "0.3.76"`
fn assigned_version(python: &str) -> Option<String> {
    let value = python.lines().find_map(|line| line.strip_prefix("__version__"))?.trim().strip_prefix('=')?.trim();
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::doctor::finding::Grade::{Ok as Fine, Problem, Warning};
    use crate::cli::doctor::finding::tests::grades;

    fn at(path: &str, owner: u32, mode: u32, role: Role) -> Entry {
        Entry { path: PathBuf::from(path), is_directory: false, owner: Uid(owner), group: Gid(owner), mode, role }
    }

    fn who() -> Who {
        Who { name: "comfyui".to_owned(), uid: Uid(990), groups: vec![Gid(990)] }
    }

    #[test]
    fn what_others_can_change_and_what_comfyui_cannot_is_found() {
        let well = vec![at("/c/main.py", 0, 0o644, Role::Program), at("/c/output", 990, 0o755, Role::Work)];
        assert_eq!(grades(&judge(&well, Some(&who()), true)), [(ABOUT, Fine)]);
        let open = vec![at("/c/custom_nodes/x.py", 990, 0o666, Role::Node), at("/c/output", 990, 0o777, Role::Work)];
        let told = judge(&open, Some(&who()), true);
        assert_eq!(grades(&told), [(ABOUT, Problem)], "a picture that others can change is not code");
        let roots: Vec<Entry> =
            (0..9).map(|number| at(&format!("/c/custom_nodes/m/{number}"), 0, 0o644, Role::Node)).collect();
        let told = judge(&roots, Some(&who()), true);
        assert_eq!(grades(&told), [(ABOUT, Warning)]);
        let only = told.first().unwrap();
        assert!(
            only.found.contains("and 6 more") && only.cure.as_deref() == Some("chown -R comfyui: /c/custom_nodes/m"),
            "{only:?}"
        );
        assert_eq!(
            grades(&judge(&roots, Some(&who()), false)),
            [(ABOUT, Fine)],
            "a strict cage has no right to them anyway"
        );
        assert_eq!(grades(&judge(&[at("/c/output", 0, 0o755, Role::Work)], Some(&who()), false)), [(ABOUT, Warning)]);
        assert_eq!(grades(&judge(&roots, None, true)), [(ABOUT, Fine)]);
        let apart = [at("/c/output", 0, 0o755, Role::Work), at("/d/input", 0, 0o755, Role::Work)];
        let cure = judge(&apart, Some(&who()), true).first().unwrap().cure.clone();
        assert_eq!(cure.as_deref(), Some("chown -R comfyui: /c/output /d/input"), "never a whole disk");
    }

    #[test]
    fn the_tree_is_read_as_it_lies() {
        let place = tempfile::tempdir().unwrap();
        let base = place.path();
        let node = base.join("custom_nodes/ComfyUI-Manager");
        fs::create_dir_all(&node).unwrap();
        fs::create_dir_all(base.join("output/many")).unwrap();
        fs::write(base.join("main.py"), "").unwrap();
        fs::write(base.join("comfyui_version.py"), "# made\n__version__ = \"0.3.64\"\n").unwrap();
        fs::write(node.join("pyproject.toml"), "[project]\nname = \"comfyui-manager\"\nversion = \"3.37.1\"\n")
            .unwrap();
        fs::write(node.join("open.py"), "").unwrap();
        fs::set_permissions(node.join("open.py"), fs::Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink("/etc", base.join("custom_nodes/link")).unwrap();
        let entries = look(base, base);
        let names: Vec<String> =
            entries.iter().map(|entry| entry.path.strip_prefix(base).unwrap().display().to_string()).collect();
        for name in ["", "main.py", "output", "custom_nodes/ComfyUI-Manager/open.py"] {
            assert!(names.iter().any(|one| one == name), "{name} in {names:?}");
        }
        assert!(!names.iter().any(|one| one.contains("link") || one.contains("many")), "{names:?}");
        assert_eq!(grades(&judge(&entries, None, true)), [(ABOUT, Problem)]);
        assert_eq!(comfyui_version(base).as_deref(), Some("0.3.64"));
        assert_eq!(manager_version(base, Path::new("/nowhere/bin/python")).as_deref(), Some("3.37.1"));
    }

    #[test]
    fn the_manager_is_also_found_as_a_package() {
        let place = tempfile::tempdir().unwrap();
        let packages = place.path().join("lib/python3.12/site-packages");
        fs::create_dir_all(packages.join("comfyui_manager-4.0.3.dist-info")).unwrap();
        fs::create_dir_all(packages.join("comfyui_manager_like-1.0.dist-info")).unwrap();
        let python = place.path().join("bin/python");
        assert_eq!(manager_version(place.path(), &python).as_deref(), Some("4.0.3"));
        assert_eq!(manager_version(place.path(), Path::new("python")), None);
    }
}
