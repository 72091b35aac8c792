//! `comfy-guard check`: is all that a start needs there? Starts nothing, changes nothing, tells everything at once.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Exit, Failure, Global};
use crate::config::{self, Comfyui, Config, Findings, LocalAddress, Sources};
use crate::credential::identity::{self, IdentityError};
use crate::credential::key_file;
use crate::os::users::{self, Uid, UserError};

/// What a start would fail on. Each names the key and the cure.
#[derive(Debug, thiserror::Error)]
enum Lack {
    #[error("{key}: {path} cannot be reached: {source}; correct the path, or let this user read it")]
    Unreachable { key: &'static str, path: PathBuf, source: io::Error },
    #[error("{key}: {path} is not a directory; name the folder that main.py is in")]
    NotADirectory { key: &'static str, path: PathBuf },
    #[error("{key}: {path} is not a regular file")]
    NotAFile { key: &'static str, path: PathBuf },
    #[error("{key}: there is no {path}; name the folder of a ComfyUI that is installed")]
    NoMain { key: &'static str, path: PathBuf },
    #[error("{key}: {path} may not be executed; name a Python interpreter, or mend it with `chmod +x {path}`")]
    NotExecutable { key: &'static str, path: PathBuf },
    #[error("{key}: {source}")]
    Identity { key: &'static str, source: IdentityError },
    #[error("{key}: {source}")]
    Account { key: &'static str, source: UserError },
}

impl Lack {
    /// The key whose value is meant.
    fn key(&self) -> &'static str {
        match self {
            Self::Unreachable { key, .. }
            | Self::NotADirectory { key, .. }
            | Self::NotAFile { key, .. }
            | Self::NoMain { key, .. }
            | Self::NotExecutable { key, .. }
            | Self::Identity { key, .. }
            | Self::Account { key, .. } => key,
        }
    }
}

/// What the checks found.
#[derive(Debug, Default)]
struct Report {
    /// A start would fail.
    lacks: Vec<Lack>,
    /// A start would work, but perhaps not as meant.
    warnings: Vec<String>,
}

/// What is looked at, in the order of the configuration. A further check is a further line here.
const CHECKS: &[fn(&Config, &mut Report)] = &[identity, key, comfyui, metrics, accounts];

/// Checks the configuration and what it names.
///
/// # Errors
/// EX_CONFIG with everything that is wrong.
pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let sources = Sources::of_process(global.config.clone(), Vec::new());
    let loaded = config::load(&sources).map_err(|findings| Failure::new(Exit::Config, findings))?;
    let report = examine(&loaded.config);
    for warning in &report.warnings {
        eprintln!("warning: {warning}");
    }
    if !report.lacks.is_empty() {
        let cited = report.lacks.iter().map(|lack| loaded.finding(lack.key(), lack.to_string()));
        return Err(Failure::new(Exit::Config, cited.collect::<Findings>()));
    }
    match loaded.files.as_slice() {
        [] => println!("in order (no file, only the environment)"),
        files => {
            println!("in order: {}", files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", "))
        }
    }
    Ok(())
}

/// What would stop a start, and what would not, of files and users alone: each names its cure.
pub(super) fn files_and_users(config: &Config) -> (Vec<String>, Vec<String>) {
    let mut report = Report::default();
    comfyui(config, &mut report);
    accounts(config, &mut report);
    (report.lacks.iter().map(Lack::to_string).collect(), report.warnings)
}

fn examine(config: &Config) -> Report {
    let mut report = Report::default();
    for check in CHECKS {
        check(config, &mut report);
    }
    report
}

/// The PEM files hold a pair that can be served.
fn identity(config: &Config, report: &mut Report) {
    let Some(pair) = &config.tls.identity else { return };
    match identity::load_pem(&pair.certificate, &pair.private_key) {
        Ok(loaded) => report.warnings.extend(loaded.warnings(SystemTime::now())),
        Err(source) => report.lacks.push(Lack::Identity { key: "tls.certificate", source }),
    }
}

/// The key file is one that a start believes. Without it the guard starts all the same and lets nobody in.
fn key(config: &Config, report: &mut Report) {
    if !config.auth.enabled {
        return report
            .warnings
            .push("auth.enabled = false: whoever reaches the address runs code on this machine".to_owned());
    }
    let own = users::lookup_user(&config.service.user).map_or_else(|_| users::effective_uid(), |account| account.uid);
    if let Err(error) = key_file::read(&config.auth.key_file, &[Uid(0), users::effective_uid(), own]) {
        report.warnings.push(format!("auth.key_file: {error}; until then nobody is let in"));
    }
}

/// ComfyUI and its interpreter lie where the configuration says.
fn comfyui(config: &Config, report: &mut Report) {
    let Comfyui::Owned(owned) = &config.comfyui else { return };
    let key = "comfyui.directory";
    if let Some(metadata) = reach(key, &owned.directory, report) {
        let main = owned.directory.join("main.py");
        if !metadata.is_dir() {
            report.lacks.push(Lack::NotADirectory { key, path: owned.directory.clone() });
        } else if !main.is_file() {
            report.lacks.push(Lack::NoMain { key, path: main });
        }
    }
    // A start leaves them out and says so: Landlock can name only what is there.
    for (key, paths) in [("comfyui.writable", &owned.writable), ("comfyui.readable", &owned.readable)] {
        for path in paths.iter().filter(|path| !path.exists()) {
            report.warnings.push(format!("{key}: {} is not there; make it, for ComfyUI's user", path.display()));
        }
    }
    let key = "comfyui.python";
    if let Some(metadata) = reach(key, &owned.python, report) {
        if !metadata.is_file() {
            report.lacks.push(Lack::NotAFile { key, path: owned.python.clone() });
        } else if metadata.permissions().mode() & 0o111 == 0 {
            report.lacks.push(Lack::NotExecutable { key, path: owned.python.clone() });
        }
    }
}

/// The folders of UNIX sockets are there. One below /run the service manager makes at the start, so this is only worth a word.
fn metrics(config: &Config, report: &mut Report) {
    for address in &config.metrics.listen {
        let LocalAddress::Unix(path) = address else { continue };
        if let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) {
            report.warnings.push(format!(
                "metrics.listen: the folder {} is not there; a start fails unless something makes it (RuntimeDirectory= in the unit)",
                folder.display()
            ));
        }
    }
}

/// The users exist. Who is not root could not switch to them: then everything runs as the caller, and a
/// missing user is only worth a word.
fn accounts(config: &Config, report: &mut Report) {
    let may_switch = users::effective_uid().is_root();
    let mut names =
        vec![("service.user", &config.service.user), ("service.network_user", &config.service.network_user)];
    if let Comfyui::Owned(owned) = &config.comfyui {
        names.push(("comfyui.user", &owned.user));
        // Groups that do not exist are left out at the start, as a machine without a GPU has none of them.
        for group in &owned.groups {
            if let Err(source) = users::lookup_group(group) {
                report.warnings.push(Lack::Account { key: "comfyui.groups", source }.to_string());
            }
        }
    }
    for (key, name) in names {
        match users::lookup_user(name) {
            Ok(_) => {}
            Err(source) if may_switch => report.lacks.push(Lack::Account { key, source }),
            Err(source) => {
                let lack = Lack::Account { key, source };
                report.warnings.push(format!("{lack}; a start by this user would run everything as this user"));
            }
        }
    }
}

/// What is at this path, links followed.
fn reach(key: &'static str, path: &Path, report: &mut Report) -> Option<Metadata> {
    std::fs::metadata(path)
        .map_err(|source| report.lacks.push(Lack::Unreachable { key, path: path.to_owned(), source }))
        .ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::credential::phc::Phc;
    use crate::secret::Secret;
    use std::fs;

    /// A ComfyUI's folder with an interpreter, and a configuration that names them.
    fn desk() -> (tempfile::TempDir, Vec<(String, String)>) {
        let desk = tempfile::tempdir().unwrap();
        let at = |name: &str| desk.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("main.py"), "").unwrap();
        fs::write(at("python"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(at("python"), PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(at("config.toml"), "").unwrap();
        let phc = Phc::hash(&Secret::new(b"0123456789abcdef0123456789abcdef".to_vec())).unwrap();
        key_file::write(Path::new(&at("key")), &phc, None).unwrap();
        let variables = [
            ("COMFYUI__DIRECTORY", at("")),
            ("COMFYUI__PYTHON", "python".to_owned()),
            ("AUTH__KEY_FILE", at("key")),
            ("COMFYUI__GROUPS", "root".to_owned()),
            ("COMFYUI__USER", "nobody".to_owned()),
            ("SERVICE__USER", "daemon".to_owned()),
            ("SERVICE__NETWORK_USER", "bin".to_owned()),
            ("CONFIG", at("config.toml")),
        ];
        (desk, variables.map(|(name, value)| (format!("COMFY_GUARD_{name}"), value)).into())
    }

    fn examined(variables: &[(String, String)], further: &[(&str, &str)]) -> (String, String) {
        let mut environment = variables.to_vec();
        for (name, value) in further {
            let name = format!("COMFY_GUARD_{name}");
            environment.retain(|(other, _)| *other != name);
            environment.push((name, (*value).to_owned()));
        }
        let sources = Sources { environment, ..Sources::default() };
        let report = examine(&config::load(&sources).unwrap().config);
        let lacks: Vec<String> = report.lacks.iter().map(Lack::to_string).collect();
        (lacks.join("\n"), report.warnings.join("\n"))
    }

    #[test]
    fn all_that_is_there_is_in_order() {
        let (_desk, variables) = desk();
        assert_eq!(examined(&variables, &[]), (String::new(), String::new()));
    }

    #[test]
    fn everything_that_lacks_is_told_at_once() {
        let (desk, variables) = desk();
        fs::remove_file(desk.path().join("main.py")).unwrap();
        fs::set_permissions(desk.path().join("python"), PermissionsExt::from_mode(0o644)).unwrap();
        let folder = desk.path().to_str().unwrap();
        let further = [
            ("TLS__CERTIFICATE", folder),
            ("TLS__PRIVATE_KEY", "/nowhere/key.pem"),
            ("SERVICE__USER", "nobody-has-this-name"),
            ("COMFYUI__GROUPS", "no-such-group"),
            ("COMFYUI__WRITABLE", "/nowhere/out,/tmp"),
            ("METRICS__LISTEN", "unix:/nowhere/metrics.sock"),
        ];
        let (lacks, warnings) = examined(&variables, &further);
        for line in [
            "tls.certificate: ".to_owned() + folder + " is not a regular file",
            "comfyui.directory: there is no ".to_owned() + folder + "/main.py",
            "python may not be executed".to_owned(),
        ] {
            assert!(lacks.contains(&line), "{line} in {lacks}");
        }
        let about_users = if users::effective_uid().is_root() { &lacks } else { &warnings };
        assert!(
            about_users.contains("service.user: there is no user \"nobody-has-this-name\"; make it with"),
            "{about_users}"
        );
        assert!(
            warnings.contains("comfyui.writable: /nowhere/out is not there") && !warnings.contains("/tmp is"),
            "{warnings}"
        );
        assert!(warnings.contains("metrics.listen: the folder /nowhere is not there"), "{warnings}");
        assert!(warnings.contains("comfyui.groups: there is no group \"no-such-group\""), "{warnings}");
    }

    #[test]
    fn a_file_is_no_directory_and_a_directory_no_interpreter() {
        let (desk, variables) = desk();
        let file = desk.path().join("main.py");
        let further = [("COMFYUI__DIRECTORY", file.to_str().unwrap()), ("COMFYUI__PYTHON", "/usr")];
        let (lacks, _) = examined(&variables, &further);
        assert!(
            lacks.contains("main.py is not a directory") && lacks.contains("/usr is not a regular file"),
            "{lacks}"
        );
    }

    #[test]
    fn a_key_that_is_missing_is_worth_a_word() {
        let (desk, variables) = desk();
        fs::remove_file(desk.path().join("key")).unwrap();
        let (lacks, warnings) = examined(&variables, &[]);
        assert!(lacks.is_empty() && warnings.contains("set a key with `comfy-guard set-key`"), "{lacks} {warnings}");
    }

    #[test]
    fn somebody_elses_comfyui_is_not_looked_for() {
        let (desk, _) = desk();
        let file = desk.path().join("config.toml");
        fs::write(&file, "auth.key_file = \"key\"\ncomfyui.external = \"127.0.0.1:9\"\nservice = { user = \"daemon\", network_user = \"bin\" }")
            .unwrap();
        let variables = [("COMFY_GUARD_CONFIG".to_owned(), file.to_str().unwrap().to_owned())];
        assert_eq!(examined(&variables, &[]), (String::new(), String::new()));
    }
}
