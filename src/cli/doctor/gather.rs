//! The facts, from the system. Nothing is judged here, nothing changed, and what cannot be read is left out.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::doors;
use super::graphics::{self, Node, Who};
use super::lock::{Certificate, Key, Process};
use super::machine::Disk;
use crate::config::{Comfyui, Config, OwnedComfyui};
use crate::credential::authority;
use crate::credential::identity::{self, IdentityError};
use crate::credential::key_file::{self, KeyFileError};
use crate::os::files;
use crate::os::users::{self, Account, Gid, Uid};
use crate::sandbox::comfyui::option;
use crate::sensor;
use crate::telemetry::status::Status;

/// What the running guard holds, where it told.
pub(super) fn guard_ports(config: &Config, status: Option<&Status>) -> Vec<u16> {
    let listen = &config.listen;
    let configured = listen.https.iter().chain(&listen.http_redirect).map(SocketAddr::port);
    let told = status.iter().flat_map(|status| &status.guard.addresses);
    let told = told.filter_map(|address| address.rsplit_once(':')?.1.parse().ok());
    configured.chain(told).collect()
}

pub(super) fn doors(config: &Config, status: Option<&Status>) -> doors::Facts {
    let read = |name| fs::read_to_string(name).unwrap_or_default();
    let listeners = ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|name| doors::listeners(&read(name))).collect();
    let (comfyui, user, elsewhere) = match &config.comfyui {
        Comfyui::Owned(owned) => {
            let account = users::lookup_user(&owned.user).ok();
            (Some(owned.port), account.map(|account| account.uid), None)
        }
        Comfyui::External(address) if address.ip().to_canonical().is_loopback() => (Some(address.port()), None, None),
        Comfyui::External(address) => (None, None, Some(*address)),
    };
    doors::Facts { listeners, guard: guard_ports(config, status), comfyui, user, open: Vec::new(), elsewhere }
}

/// ComfyUI's user with the groups that the guard gives it.
pub(super) fn who(owned: &OwnedComfyui) -> Option<Who> {
    let account = users::lookup_user(&owned.user).ok()?;
    let given = owned.groups.iter().filter_map(|name| users::lookup_group(name).ok());
    Some(Who { uid: account.uid, groups: std::iter::once(account.gid).chain(given).collect(), name: account.name })
}

/// Whether the guard switches users on this machine: only then is ComfyUI's user another than the caller.
pub(super) fn switches_users(config: &Config) -> bool {
    users::effective_uid().is_root() && users::lookup_user(&config.service.user).is_ok()
}

pub(super) fn graphics(config: Option<&Config>) -> graphics::Facts {
    let driver = fs::read_to_string("/proc/driver/nvidia/version").ok();
    let owned = config.and_then(|config| match &config.comfyui {
        Comfyui::Owned(owned) => Some((config, owned)),
        Comfyui::External(_) => None,
    });
    let library = config.map(|config| sensor::driver_library(config.gpu.library.as_deref()));
    graphics::Facts {
        cards: cards(Path::new("/sys/bus/pci/devices")),
        driver: driver.as_deref().and_then(graphics::driver_version),
        library,
        nodes: nodes(Path::new("/dev")),
        who: owned.filter(|(config, _)| switches_users(config)).and_then(|(_, owned)| who(owned)),
    }
}

/// NVIDIA's display controllers (class 03) among the devices of a PCI bus.
fn cards(devices: &Path) -> usize {
    let starts = |path: PathBuf, with: &str| fs::read_to_string(path).is_ok_and(|text| text.starts_with(with));
    let devices = fs::read_dir(devices).into_iter().flatten().flatten().map(|entry| entry.path());
    devices.filter(|path| starts(path.join("vendor"), "0x10de") && starts(path.join("class"), "0x03")).count()
}

fn nodes(directory: &Path) -> Vec<Node> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("nvidia"));
    let node = |path: PathBuf| {
        let found = fs::metadata(&path).ok().filter(|found| !found.is_dir())?;
        // The one for screens: CUDA does without.
        (!path.ends_with("nvidia-modeset")).then_some(())?;
        Some(Node { owner: Uid(found.uid()), group: Gid(found.gid()), mode: found.mode() & 0o777, path })
    };
    named.filter_map(|entry| node(entry.path())).collect()
}

pub(super) fn key(config: &Config) -> Key {
    if !config.auth.enabled {
        return Key::Off;
    }
    let own = users::lookup_user(&config.service.user).map_or_else(|_| users::effective_uid(), |account| account.uid);
    match key_file::read(&config.auth.key_file, &[Uid::ROOT, users::effective_uid(), own]) {
        Ok(_) => Key::Set,
        Err(KeyFileError::Missing { .. }) => Key::Missing,
        Err(KeyFileError::Forbidden { reader, .. }) if !reader.is_root() => Key::Unseen,
        Err(error) => Key::Refused(error.to_string()),
    }
}

/// Why no certificate was looked at.
#[derive(Debug)]
pub(super) enum NoCertificate {
    /// The guard has made none yet.
    NoneYet,
    /// This user may not look.
    Unseen,
    /// It cannot be loaded, with the cure.
    Broken(String),
}

/// The certificate that is served, or will be.
pub(super) fn certificate(config: &Config, now: SystemTime) -> Result<Certificate, NoCertificate> {
    let (own, certificate, private_key) = match &config.tls.identity {
        Some(pair) => (false, pair.certificate.clone(), pair.private_key.clone()),
        None => {
            let (certificate, private_key) = authority::leaf(&config.state.directory);
            (true, certificate, private_key)
        }
    };
    let loaded = identity::load_pem(&certificate, &private_key).map_err(|error| match &error {
        IdentityError::Unreadable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            NoCertificate::Unseen
        }
        IdentityError::Unreadable { source, .. } if own && source.kind() == io::ErrorKind::NotFound => {
            NoCertificate::NoneYet
        }
        _ => NoCertificate::Broken(error.to_string()),
    })?;
    Ok(Certificate { own, remarks: loaded.warnings(now), names: loaded.names, ends: loaded.not_after })
}

/// A user's groups and those of the guard's own users, by name.
pub(super) fn groups(config: &Config, owned: &OwnedComfyui) -> Option<(Account, Vec<String>, Vec<String>)> {
    let account = users::lookup_user(&owned.user).ok()?;
    let name = |gid: &Gid| users::group_name(*gid).unwrap_or_else(|| gid.to_string());
    let given = owned.groups.iter().filter_map(|name| users::lookup_group(name).ok());
    let of_user: Vec<Gid> = users::groups_of(&account).into_iter().chain(given).collect();
    let guards = [&config.service.user, &config.service.network_user];
    let guards = guards.into_iter().filter_map(|name| users::lookup_user(name).ok()).map(|account| account.gid);
    Some((account, of_user.iter().map(name).collect(), guards.map(|gid| name(&gid)).collect()))
}

/// Where ComfyUI's folders are: its base directory.
pub(super) fn base(owned: &OwnedComfyui) -> PathBuf {
    let told = option(&owned.arguments, "--base-directory").map(|base| owned.directory.join(base));
    told.unwrap_or_else(|| owned.directory.clone())
}

/// The file systems that matter, each once.
pub(super) fn disks(config: Option<&Config>) -> Vec<Disk> {
    let mut places = vec![("temporary files", PathBuf::from("/tmp"))];
    if let Some(config) = config {
        places.insert(0, ("the guard's state", config.state.directory.clone()));
        if let Comfyui::Owned(owned) = &config.comfyui {
            let output = option(&owned.arguments, "--output-directory").map(|output| owned.directory.join(output));
            places.insert(1, ("ComfyUI's output", output.unwrap_or_else(|| base(owned).join("output"))));
        }
    }
    let mut seen = Vec::new();
    let mut disk = |(what, path): (&'static str, PathBuf)| {
        // What is not there yet will be made on the file system of what is above it.
        let path = path.ancestors().find(|path| path.exists())?.to_owned();
        let device = fs::metadata(&path).ok()?.dev();
        if seen.contains(&device) {
            return None;
        }
        seen.push(device);
        let (total, free) = files::space(&path).ok()?;
        Some(Disk { what, path, total, free })
    };
    places.into_iter().filter_map(&mut disk).collect()
}

/// Whether the package's unit is started with the machine; none: it is not installed, or systemd is not there.
pub(super) fn unit_enabled() -> Option<bool> {
    const UNIT: &str = "comfy-guard.service";
    let there = |folder: &&str| Path::new(folder).join(UNIT).exists();
    let installed = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"].iter().any(there);
    (crate::os::systemd::manages_this_machine() && installed)
        .then(|| Path::new("/etc/systemd/system/multi-user.target.wants").join(UNIT).exists())
}

/// All processes of this machine that this user sees.
pub(super) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok().filter(|line| !line.is_empty())?;
        let arguments = line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned());
        Some(Process { pid, arguments: arguments.collect() })
    };
    entries.filter_map(process).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn cards_and_nodes_are_read_from_the_systems_trees() {
        let place = tempfile::tempdir().unwrap();
        for (name, vendor, class) in [
            ("0", "0x10de", "0x030000"),
            ("1", "0x10de", "0x040300"),
            ("2", "0x8086", "0x030000"),
            ("3", "0x10de", "0x030200"),
        ] {
            let device = place.path().join(name);
            fs::create_dir(&device).unwrap();
            fs::write(device.join("vendor"), format!("{vendor}\n")).unwrap();
            fs::write(device.join("class"), format!("{class}\n")).unwrap();
        }
        assert_eq!(cards(place.path()), 2, "an audio function and an Intel GPU are none");
        assert_eq!(cards(Path::new("/nonexistent")), 0);
        for name in ["nvidia0", "nvidiactl", "nvidia-modeset", "null"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        fs::create_dir(place.path().join("nvidia-caps")).unwrap();
        let mut names: Vec<String> = nodes(place.path())
            .iter()
            .map(|node| node.path.file_name().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["nvidia0", "nvidiactl"]);
    }

    #[test]
    fn this_process_is_among_all() {
        let own = std::process::id();
        assert!(processes().iter().any(|process| process.pid == own && !process.arguments.is_empty()));
    }

    #[test]
    fn each_file_system_is_looked_at_once() {
        let disks = disks(None);
        assert_eq!(disks.len(), 1);
        assert!(disks.iter().all(|disk| disk.total >= disk.free && disk.total > 0), "{disks:?}");
    }
}
