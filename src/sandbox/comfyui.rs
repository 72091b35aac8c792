//! ComfyUI's cage: which files it may write and read, computed from the configuration, and what it may use. Pure.
//!
//! Landlock knows files by what they are, not by their names. A directory that is removed and made anew is another one, which no
//! rule knows; so the directories are made before, and those above them are not writable: ComfyUI empties `temp`, and keeps it.

mod denied;
mod devices;
mod inside;
mod known;
mod stage;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{Cage, OwnedComfyui};
use crate::os::cgroup::Held;
use crate::os::spawn::Limits;
pub(crate) use stage::{CageError, Stage, enter};

/// Below ComfyUI's base directory: what it writes in any case.
const WRITTEN: &[&str] = &["input", "output", "temp", "user"];
/// And what it installs. For that `strict` has no right; but without the second one ComfyUI does not start.
const INSTALLED: &[&str] = &["models", "custom_nodes"];
/// Where programs keep what they can make again: XDG, Triton, CUDA.
const CACHES: &[&str] = &[".cache", ".triton", ".nv"];
/// Variables by which somebody moves such a place elsewhere: who sets one means that it is written to.
const CACHE_VARIABLES: &[&str] = &[
    "XDG_CACHE_HOME",
    "HF_HOME",
    "HF_HUB_CACHE",
    "TORCH_HOME",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "CUDA_CACHE_PATH",
    "PIP_CACHE_DIR",
    "TMPDIR",
];
/// What the user database says of a user without a home.
const HOMELESS: &str = "/nonexistent";
/// Everybody's places for what does not last; torch and multiprocessing share memory in the last one.
const SHARED: &[&str] = &["/tmp", "/var/tmp", "/dev/shm"];
/// `strict`: where programs, libraries and their settings are.
const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt/rocm", "/nix/store"];
/// `strict`: what the kernel tells of the machine, which torch and CUDA ask for.
const TOLD: &[&str] = &["/proc", "/sys"];

/// Which files ComfyUI may use for what. What lies inside of another place is allowed by that one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// Written to, and made where they are missing, as ComfyUI would make them.
    pub(crate) made: Vec<PathBuf>,
    /// Made where they are missing, and not written to.
    pub(crate) provided: Vec<PathBuf>,
    /// Written to.
    pub(crate) written: Vec<PathBuf>,
    /// Read; only where the cage is strict.
    pub(crate) read: Vec<PathBuf>,
    /// Read and executed; only where the cage is strict.
    pub(crate) executed: Vec<PathBuf>,
}

/// What ComfyUI may write and read under these settings, in this environment of its process.
///
/// `own_user`: whether its user is there for ComfyUI alone. The home of a person is not opened for writing.
pub(crate) fn places(settings: &OwnedComfyui, environment: &[(OsString, OsString)], own_user: bool) -> Places {
    let directory = &settings.directory;
    let option = |name: &str| option(&settings.arguments, name).map(|value| directory.join(value));
    let base = option("--base-directory").unwrap_or_else(|| directory.clone());
    let strict = settings.cage == Cage::Strict;
    let mut places = Places::default();
    let installed: Vec<PathBuf> = INSTALLED.iter().map(|name| base.join(name)).collect();
    for name in WRITTEN {
        let flag = format!("--{name}-directory");
        let told = option(&flag);
        // main.py makes a folder of its own in the one that it is told for what is temporary.
        let told = if *name == "temp" { told.map(|parent| parent.join("temp")) } else { told };
        places.made.push(told.unwrap_or_else(|| base.join(name)));
    }
    // The database stays beside the code, wherever the base directory is.
    places.made.extend((base != *directory).then(|| directory.join("user")));
    if option("--front-end-version").is_some() && !strict {
        places.made.push(directory.join("web_custom_versions"));
    }
    let variable = |name: &str| environment.iter().find(|(other, _)| other == name).map(|(_, value)| Path::new(value));
    let absolute = |path: &&Path| path.is_absolute() && path.parent().is_some();
    if let Some(home) = variable("HOME").filter(absolute).filter(|home| *home != Path::new(HOMELESS)) {
        // Rights add up: in a writable home ComfyUI's code and its Python would be writable too.
        let holds_code = [directory, &base, &settings.python].iter().any(|path| path.starts_with(home));
        if own_user && !holds_code {
            places.written.push(home.to_owned());
        } else {
            places.made.extend(CACHES.iter().map(|name| home.join(name)));
        }
    }
    places.made.extend(CACHE_VARIABLES.iter().filter_map(|name| variable(name)).filter(absolute).map(Path::to_owned));
    places.written.extend(SHARED.iter().map(PathBuf::from));
    places.written.extend(settings.writable.iter().cloned());
    if !strict {
        places.made.extend(installed);
    } else {
        places.provided.clone_from(&installed);
        places.read.extend(TOLD.iter().map(PathBuf::from));
        places.read.extend(["--front-end-root", "--extra-model-paths-config"].into_iter().filter_map(option));
        places.read.extend(settings.readable.iter().cloned());
        places.executed.extend(SYSTEM.iter().map(PathBuf::from));
        places.executed.push(directory.clone());
        places.executed.extend(installed);
        // A virtual environment: bin/python in it.
        places.executed.extend(settings.python.parent().and_then(Path::parent).map(Path::to_owned));
    }
    places
}

/// The value of an option of `main.py`. argparse takes every unambiguous beginning of an option, and the last one counts.
pub(crate) fn option<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
    // A beginning of several options ends main.py.
    let is_meant = |name: &str| name.len() > "--".len() && option.starts_with(name);
    let mut found = None;
    for (index, argument) in arguments.iter().enumerate() {
        match argument.split_once('=') {
            Some((name, value)) if is_meant(name) => found = Some(value),
            None if is_meant(argument) => found = arguments.get(index + 1).map(String::as_str),
            _ => {}
        }
    }
    found
}

/// The guard raises its own limits as far as it may; ComfyUI gets what it would have by itself.
///
/// `own_user`: whether ComfyUI has a user of its own; `held`: the limits that its cgroup holds.
pub(crate) fn limits(settings: &OwnedComfyui, own_user: bool, held: Option<Held>) -> Limits {
    let tasks_are_held = held.is_some_and(|held| held.tasks);
    Limits {
        // As many as a large batch shares between workers, and few enough that a loop over all of them ends.
        open_files: Some(65_536),
        // The kernel's own default. What CUDA pins does not count; what is locked beyond would be lost to everybody else.
        locked_memory: Some(8 << 20),
        // RLIMIT_NPROC counts all that a user runs anywhere: right for a user of ComfyUI's own, and wrong for a person, whose
        // desktop would count too.
        processes: (own_user && !tasks_are_held).then_some(u64::from(settings.limits.tasks)),
    }
}

#[cfg(test)]
mod tests;
