//! `comfy-guard doctor`: what could be wrong with this box, each finding with its cure. Changes nothing; works with and without a
//! running guard. Each check is a pure function of facts; `gather` has the facts.

mod doors;
mod finding;
mod gather;
mod graphics;
mod holes;
mod lock;
mod machine;
mod probe;
mod tree;

use std::fs;
use std::time::SystemTime;

use clap::Args as ClapArgs;

use crate::cli::out::print;
use crate::cli::settings::settings;
use crate::cli::{Exit, Failure, Global, check, control, status};
use crate::config::{self, Cage, Comfyui, Config, OwnedComfyui, Sources};
use crate::credential::names::host_names;
use crate::os::clock;
use crate::telemetry::status::Status;
use finding::{Finding, Grade};
use gather::NoCertificate;
use holes::Program;

/// Look for what could be wrong with this machine, and say what to do (exit 0: nothing worse than a warning, 1: problems)
///
/// It looks at the configuration, the running guard, ways around it, key, certificate, users, the GPU, ComfyUI's version and files,
/// clock, disks, memory and the unit. It changes nothing. Run it as root: others see a part of it only.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Looks, and tells.
pub(crate) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let findings = control::block_on(async { Ok(examine(global).await) })?;
    let text = if args.json {
        finding::json(&findings)
            .map_err(|error| Failure::new(Exit::Software, format!("the findings cannot be written as JSON: {error}")))?
    } else {
        finding::text(&findings, status::look())
    };
    print(&text)?;
    if finding::worst(&findings) < Grade::Problem { Ok(()) } else { Err(Failure::silent(Exit::No)) }
}

async fn examine(global: &Global) -> Vec<Finding> {
    let now = SystemTime::now();
    let (config, mut findings) = configuration(global);
    if let Some(config) = &config {
        let running = running(config, &mut findings).await;
        let running = running.as_ref();
        let mut doors = gather::doors(config, running);
        doors.open = probe::open(doors.suspects()).await;
        findings.extend(doors::judge(&doors));
        let has_key = running.map(|status| !status.conditions.iter().any(|held| held.name == "no_key"));
        findings.push(lock::key(&gather::key(config), has_key));
        findings.extend(certificate(config, now));
        if let Comfyui::Owned(owned) = &config.comfyui {
            findings.extend(comfyui(config, owned));
        }
    }
    findings.extend(lock::processes(&gather::processes()));
    findings.extend(graphics::judge(&gather::graphics(config.as_ref())));
    findings.push(machine::clock(now, clock::is_synchronised()));
    findings.extend(machine::disks(&gather::disks(config.as_ref())));
    let limit = config.as_ref().and_then(|config| match &config.comfyui {
        Comfyui::Owned(owned) => owned.limits.memory.map(|memory| memory.0),
        Comfyui::External(_) => None,
    });
    let total = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(machine::memory_total);
    findings.push(machine::memory(total, limit));
    findings.extend(machine::unit(gather::unit_enabled()));
    findings
}

/// What `check` finds; the configuration, if there is one to go on with.
fn configuration(global: &Global) -> (Option<Config>, Vec<Finding>) {
    const ABOUT: &str = "config";
    match config::load(&Sources::of_process(global.config.clone(), Vec::new())) {
        Ok(loaded) => {
            let (lacks, warnings) = check::files_and_users(&loaded.config);
            let mut findings: Vec<Finding> =
                lacks.into_iter().map(|lack| Finding::told(ABOUT, Grade::Problem, lack)).collect();
            findings.extend(warnings.into_iter().map(|warning| Finding::told(ABOUT, Grade::Warning, warning)));
            if findings.is_empty() {
                let files: Vec<String> = loaded.files.iter().map(|file| file.display().to_string()).collect();
                let files =
                    if files.is_empty() { "no file, only the environment".to_owned() } else { files.join(", ") };
                findings.push(Finding::ok(ABOUT, format!("in order: {files}")));
            }
            (Some(loaded.config), findings)
        }
        Err(wrong) => {
            // The place and the message; the line and the caret below them are for `check`, which keeps lines as they are.
            let first = |one: &config::Finding| one.to_string().lines().next().unwrap_or_default().to_owned();
            let findings = wrong.iter().map(|one| Finding::told(ABOUT, Grade::Problem, first(one))).collect();
            (settings(global).ok(), findings)
        }
    }
}

/// What the running guard says of itself.
async fn running(config: &Config, findings: &mut Vec<Finding>) -> Option<Status> {
    const ABOUT: &str = "guard";
    let status = match status::fetch(config).await {
        Ok(status) => status,
        Err(control::AskError::NotRunning(_)) => {
            findings.push(Finding::warning(ABOUT, "no guard runs", "`systemctl start comfy-guard`"));
            return None;
        }
        Err(error) => {
            findings.push(Finding::told(ABOUT, Grade::Warning, error.to_string()));
            return None;
        }
    };
    let own = env!("CARGO_PKG_VERSION");
    if status.guard.version != own {
        let found = format!("version {} runs, and {own} is installed", status.guard.version);
        findings.push(Finding::warning(ABOUT, found, "`systemctl restart comfy-guard` when no job runs"));
    }
    let before = findings.len();
    // No GPU where none is wanted is as it should be; a missing key has a check of its own.
    let odd = status.conditions.iter().filter(|held| !matches!(held.name.as_str(), "gpu_absent" | "no_key"));
    findings.extend(odd.map(|held| {
        let found = format!("{}: {}", held.name, held.cause);
        if held.serves {
            Finding::warning(ABOUT, found, &held.cure)
        } else {
            Finding::problem(ABOUT, found, &held.cure)
        }
    }));
    if findings.len() == before {
        findings.push(Finding::ok(ABOUT, format!("runs, {}", status.state)));
    }
    Some(status)
}

fn certificate(config: &Config, now: SystemTime) -> Vec<Finding> {
    const ABOUT: &str = "certificate";
    match gather::certificate(config, now) {
        Ok(found) => lock::certificate(&found, &host_names(&config.tls.names), now),
        Err(NoCertificate::NoneYet) => vec![Finding::ok(ABOUT, "none yet; the guard makes one when it is started")],
        Err(NoCertificate::Unseen) => {
            vec![Finding::warning(ABOUT, "this user may not look at it", "run this as root")]
        }
        Err(NoCertificate::Broken(why)) => vec![Finding::told(ABOUT, Grade::Problem, why)],
    }
}

fn comfyui(config: &Config, owned: &OwnedComfyui) -> Vec<Finding> {
    let mut findings = Vec::new();
    let switches = gather::switches_users(config);
    if let Some((account, of_user, guards)) = gather::groups(config, owned).filter(|_| switches) {
        findings.push(lock::groups(&account.name, &of_user, &guards));
    }
    let base = gather::base(owned);
    findings.extend(match tree::comfyui_version(&owned.directory) {
        Some(version) => Some(holes::judge(Program::ComfyUI, &version)),
        None => owned.directory.exists().then(|| {
            Finding::warning("ComfyUI", "no file names its version", "see to it yourself that it is a recent one")
        }),
    });
    findings
        .extend(tree::manager_version(&base, &owned.python).map(|version| holes::judge(Program::Manager, &version)));
    let who = gather::who(owned).filter(|_| switches);
    findings.extend(tree::judge(&tree::look(&owned.directory, &base), who.as_ref(), owned.cage != Cage::Strict));
    findings
}
