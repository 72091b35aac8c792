//! Between the supervisor and Python, in the process that becomes ComfyUI: it closes the cage around itself and executes Python.
//!
//! A stage of its own, because paths have to be opened as ComfyUI's user (the supervisor cannot look into that user's home), and
//! because between fork and exec of a process with threads nothing may be allocated.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::inside::Writable;
use super::{Places, denied, devices, known};
use crate::config::Cage;
use crate::os::landlock::{Access, Fence, Grant, LandlockError, Rules};
use crate::os::process;
use crate::os::seccomp::{Filter, SeccompError};
use crate::os::spawn::{self, SpawnError};

/// What the supervisor tells the stage.
#[derive(Debug)]
pub(crate) struct Stage {
    /// How close the cage is.
    pub(crate) cage: Cage,
    /// Which files are for what.
    pub(crate) places: Places,
    /// ComfyUI's port, the only one that it may open where the cage is strict.
    pub(crate) port: u16,
    /// The working directory.
    pub(crate) directory: PathBuf,
    /// Python.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<std::ffi::OsString>,
}

/// Why ComfyUI is not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CageError {
    /// The system call filters cannot be made.
    #[error(transparent)]
    Filter(#[from] SeccompError),
    /// The fence cannot be made.
    #[error(transparent)]
    Fence(#[from] LandlockError),
    /// The kernel does not let it in.
    #[error(
        "this kernel refuses {part} of ComfyUI's cage: {source}; comfyui.sandbox = \"off\" starts ComfyUI without it"
    )]
    Refused {
        /// Which part.
        part: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// ComfyUI's directory cannot be entered.
    #[error("cannot enter {}: {source}; ComfyUI's user must be able to reach it (comfyui.directory)", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Python cannot be executed.
    #[error("{0}; ComfyUI's user must be able to reach and execute it (comfyui.python)")]
    Program(#[from] SpawnError),
}

/// Closes the cage around this process and becomes ComfyUI; returns only if that fails. `say` takes a line for the log.
///
/// # Errors
/// Nothing of ComfyUI has run then.
pub(crate) fn enter(stage: &Stage, say: impl Fn(&str)) -> Result<Infallible, CageError> {
    std::env::set_current_dir(&stage.directory)
        .map_err(|source| CageError::Directory { path: stage.directory.clone(), source })?;
    // The guard may be dear to its unit (Nice=, OOMScoreAdjust=); that is not meant for what it guards.
    if let Err(error) = process::give_up_precedence() {
        say(&format!("ComfyUI keeps the guard's precedence: {error}"));
    }
    match stage.cage {
        Cage::Off => say("ComfyUI's cage: off"),
        Cage::Standard | Cage::Strict => close(stage, &say)?,
    }
    Ok(spawn::replace(&stage.program, &stage.arguments)?)
}

fn close(stage: &Stage, say: &impl Fn(&str)) -> Result<(), CageError> {
    let strict = stage.cage == Cage::Strict;
    let fence = Fence::prepare(&Rules {
        files: Some(grants(stage, say)),
        connect: strict.then(Vec::new),
        bind: strict.then(|| vec![stage.port]),
        scoped: true,
    })?;
    for path in fence.missing() {
        say(&format!("{} is not there or closed to it: ComfyUI cannot use it before its next start", path.display()));
    }
    let mut filters = vec![Filter::denying(denied::STANDARD)?];
    if strict {
        if !fence.in_force().fences_tcp() {
            filters.push(Filter::denying(denied::CONNECTIONS)?);
        }
        // The last one: it knows no call by which a filter could be entered after it.
        filters.push(Filter::compile(&known::STRICT)?);
    }
    let refused = |part| move |source| CageError::Refused { part, source };
    fence.enter().map_err(refused("the fence around files (Landlock)"))?;
    for filter in &filters {
        filter.enter().map_err(refused("the system call filter (seccomp)"))?;
    }
    if fence.in_force().kinds.is_empty() {
        say("this kernel has no Landlock: ComfyUI reads and writes wherever its user may");
    }
    say(&format!("ComfyUI's cage: {}; {}; {}", stage.cage.name(), calls(&filters, strict), fence.in_force()));
    Ok(())
}

fn calls(filters: &[Filter], strict: bool) -> String {
    match (filters, strict) {
        ([.., known], true) => format!("seccomp: {} calls known", known.calls()),
        (several, _) => format!("seccomp: {} calls refused", several.iter().map(Filter::calls).sum::<usize>()),
    }
}

/// What is allowed where. A directory that should be there and cannot be made is left out, and told.
fn grants(stage: &Stage, say: &impl Fn(&str)) -> Vec<Grant> {
    let places = &stage.places;
    let strict = stage.cage == Cage::Strict;
    let mut grants = Vec::new();
    let mut grant = |path: &Path, access| grants.push(Grant { path: path.to_owned(), access });
    let read_write = if strict { Access::ReadWrite } else { Access::ReadWriteExecute };
    let written: Vec<&PathBuf> = places.made.iter().chain(&places.written).collect();
    let writable = Writable::of(&written);
    for path in places.made.iter().chain(&places.provided).filter(|path| !writable.holds(path)) {
        if let Err(error) = fs::create_dir_all(path) {
            say(&format!("{} cannot be made for ComfyUI: {error}", path.display()));
        }
    }
    // What lies inside of another one is opened by that one.
    for path in written.into_iter().filter(|path| !writable.holds(path)) {
        grant(path, if is_device(path) { Access::Device } else { read_write });
    }
    for path in devices::present() {
        grant(&path, Access::Device);
    }
    // Names of threads, which CUDA and the C library write to comm; what else is writable there is its own.
    if let Ok(own) = fs::canonicalize("/proc/self") {
        grant(&own, Access::ReadWrite);
    }
    if !strict {
        grant(Path::new("/"), Access::ReadExecute);
        return grants;
    }
    let installed = installation(&stage.program).filter(|_| !writable.holds(&stage.program));
    let executed = places.executed.iter().chain(&installed);
    // A system has only some of these.
    let there = executed.filter(|path| path.exists()).map(|path| (path, Access::ReadExecute));
    for (path, access) in places.read.iter().map(|path| (path, Access::Read)).chain(there) {
        if writable.is_left_by(path) {
            say(&format!("{} leads out of a place that ComfyUI can write: left out", path.display()));
        } else {
            grant(path, access);
        }
    }
    grants
}

/// Where the interpreter behind the virtual environment's link is installed: its `bin/python` and its `lib`.
fn installation(python: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(python).ok()?;
    real.parent()?.parent().filter(|prefix| prefix.parent().is_some()).map(Path::to_owned)
}

fn is_device(path: &Path) -> bool {
    path.starts_with("/dev") && !path.starts_with("/dev/shm")
}
