//! What must hold between values. Pure: the merged text goes in, findings come out, each knowing where its value stands.

use std::ops::RangeInclusive;

use super::LocalAddress;
use super::file::Spec;
use super::local::Local;
use super::problem::Problem;
use super::report::{Finding, Place, Places};
use super::values::{Account, Address, FilePath};
use crate::units::{Bytes, Processors, Span};

/// Options of `main.py` that the guard sets itself, and what to write instead.
const OWNED_ARGUMENTS: &[(&str, &str)] = &[
    ("--listen", "ComfyUI is to be reached through the guard only: use listen.https"),
    ("--port", "use comfyui.port"),
    ("--tls-keyfile", "use tls.private_key"),
    ("--tls-certfile", "use tls.certificate"),
    ("--enable-cors-header", "it would turn ComfyUI's own guard off: use auth.allowed_origins"),
    ("--max-upload-size", "use proxy.max_upload"),
];

/// Variables of the guard and of systemd's talk with it: with them ComfyUI could read the key or speak for the service.
const OWNED_VARIABLES: &[&str] = &["COMFYUI_API_KEY", "NOTIFY_SOCKET"];
const OWNED_VARIABLE_PREFIXES: &[&str] = &["LISTEN_", "WATCHDOG_"];

/// Keys that mean something only where the guard starts ComfyUI.
const OWNED_ONLY: &[&str] = &[
    "comfyui.python",
    "comfyui.arguments",
    "comfyui.environment",
    "comfyui.port",
    "comfyui.user",
    "comfyui.groups",
    "comfyui.stop_timeout",
    "comfyui.sandbox",
    "comfyui.writable",
    "comfyui.readable",
    "comfyui.limits.memory",
    "comfyui.limits.cpus",
    "comfyui.limits.tasks",
];

/// Shorter, and the login page comes back before the first picture; longer, and no browser keeps the cookie.
const SESSION_LIFETIMES: RangeInclusive<Span> = Span::from_secs(60)..=Span::from_secs(400 * 86_400);

/// Less than Python needs to load torch is a unit that was mistaken: with it ComfyUI would be killed at each start.
const LEAST_MEMORY: Bytes = Bytes(256 << 20);
/// The kernel takes no less than a hundredth; with a tenth ComfyUI loads for minutes.
const LEAST_CPUS: Processors = Processors(100);
/// The threads of torch's pools alone.
const LEAST_TASKS: u32 = 64;

/// The facts, and what was found so far.
struct Judge<'a> {
    spec: &'a Spec,
    places: &'a Places,
    unsettled: &'a [String],
    findings: Vec<Finding>,
}

/// Everything that is wrong with the whole. `missing` is the default file when it is not there; `unsettled` are
/// keys whose value could not be read, about which nothing is said.
pub(super) fn judge(
    spec: &Spec,
    places: &Places,
    unsettled: &[String],
    missing: Option<&std::path::Path>,
) -> Vec<Finding> {
    let mut judge = Judge { spec, places, unsettled, findings: Vec::new() };
    judge.which_comfyui(missing);
    judge.identity();
    judge.authentication();
    judge.listeners();
    judge.metrics();
    judge.upstream();
    judge.arguments();
    judge.environment();
    judge.users();
    judge.exemptions();
    judge.cage();
    judge.amounts();
    judge.findings
}

impl Judge<'_> {
    /// Notes a problem of these keys at the first of them that is written anywhere, unless one is unsettled.
    fn blame(&mut self, keys: &[&str], problem: &Problem) {
        let settled = |key: &&str| !self.unsettled.iter().any(|other| overlap(key, other));
        if !keys.iter().all(settled) {
            return;
        }
        let place = keys.iter().find_map(|key| self.places.get(*key)).cloned().unwrap_or(Place::Nowhere);
        self.findings.push(Finding { place, message: problem.to_string() });
    }

    fn is_written(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    fn which_comfyui(&mut self, missing: Option<&std::path::Path>) {
        let comfyui = &self.spec.comfyui;
        match (&comfyui.directory, &comfyui.external, missing) {
            (None, None, None) => self.blame(&["comfyui.directory", "comfyui.external"], &Problem::NoComfyui),
            (None, None, Some(file)) => {
                let problem = Problem::NoFile(file.display().to_string());
                self.blame(&["comfyui.directory", "comfyui.external"], &problem);
            }
            (Some(_), Some(_), _) => self.blame(&["comfyui.external", "comfyui.directory"], &Problem::TwoComfyuis),
            (None, Some(_), _) => {
                for key in OWNED_ONLY.iter().filter(|key| self.is_written(key)).collect::<Vec<_>>() {
                    self.blame(&[key, "comfyui.external"], &Problem::NotOurs(key));
                }
            }
            (Some(_), None, _) => {}
        }
    }

    fn identity(&mut self) {
        match (&self.spec.tls.certificate, &self.spec.tls.private_key) {
            (Some(_), None) => {
                self.blame(&["tls.certificate", "tls.private_key"], &Problem::HalfIdentity("tls.private_key"))
            }
            (None, Some(_)) => {
                self.blame(&["tls.private_key", "tls.certificate"], &Problem::HalfIdentity("tls.certificate"))
            }
            _ => {}
        }
    }

    fn authentication(&mut self) {
        if self.spec.auth.enabled {
            return;
        }
        for Address(address) in &self.spec.listen.https {
            if !address.ip().to_canonical().is_loopback() {
                self.blame(&["auth.enabled", "listen.https"], &Problem::OpenToTheNetwork(*address));
            }
        }
    }

    fn listeners(&mut self) {
        let listen = &self.spec.listen;
        if listen.https.is_empty() {
            self.blame(&["listen.https"], &Problem::NoListener);
        }
        for (key, list) in [("listen.https", &listen.https), ("listen.http_redirect", &listen.http_redirect)] {
            for (index, address) in list.iter().enumerate() {
                // Port 0 is a different port every time.
                if address.0.port() != 0 && list.iter().take(index).any(|other| other == address) {
                    self.blame(&[&element(key, index), key], &Problem::ListedTwice(address.0));
                }
            }
        }
        for (index, address) in listen.http_redirect.iter().enumerate() {
            if address.0.port() != 0 && listen.https.contains(address) {
                let keys = [&element("listen.http_redirect", index), "listen.http_redirect", "listen.https"];
                self.blame(&keys, &Problem::ServedAndRedirected(address.0));
            }
        }
    }

    /// What a listener of `[metrics]` has must be nobody else's.
    fn metrics(&mut self) {
        let listen = &self.spec.metrics.listen;
        let taken: Vec<&Address> = self.spec.listen.https.iter().chain(&self.spec.listen.http_redirect).collect();
        for (index, Local(address)) in listen.iter().enumerate() {
            let keys = [&element("metrics.listen", index), "metrics.listen"];
            let nowhere = |address: &LocalAddress| matches!(address, LocalAddress::Loopback(one) if one.port() == 0);
            if !nowhere(address) && listen.iter().take(index).any(|Local(other)| other == address) {
                self.blame(&keys, &Problem::MetricsTwice);
            }
            let LocalAddress::Loopback(address) = address else { continue };
            let same = |other: &&&Address| {
                let ip = other.0.ip().to_canonical();
                other.0.port() == address.port() && (ip.is_unspecified() || ip == address.ip().to_canonical())
            };
            if address.port() != 0 && taken.iter().any(|other| same(&other)) {
                self.blame(&keys, &Problem::MetricsTaken(*address));
            }
        }
    }

    fn upstream(&mut self) {
        let listen = &self.spec.listen;
        let listeners = [("listen.https", &listen.https), ("listen.http_redirect", &listen.http_redirect)];
        let port = self.spec.comfyui.port.0;
        let metrics = self.spec.metrics.listen.iter().filter_map(|Local(address)| match address {
            LocalAddress::Loopback(address) => Some(*address),
            LocalAddress::Unix(_) => None,
        });
        for by in metrics.filter(|by| self.spec.comfyui.external.is_none() && by.port() == port).collect::<Vec<_>>() {
            self.blame(&["comfyui.port", "metrics.listen"], &Problem::PortTaken { port, by });
        }
        for (key, list) in listeners {
            for Address(address) in list {
                let ip = address.ip().to_canonical();
                let reachable_locally = ip.is_loopback() || ip.is_unspecified();
                if self.spec.comfyui.external.is_none() && reachable_locally && address.port() == port {
                    self.blame(&["comfyui.port", key], &Problem::PortTaken { port, by: *address });
                }
                if let Some(Address(external)) = self.spec.comfyui.external {
                    let same = external == *address
                        || (external.ip().to_canonical().is_loopback()
                            && reachable_locally
                            && external.port() == address.port());
                    if same && external.port() != 0 {
                        self.blame(&["comfyui.external", key], &Problem::Itself(external));
                    }
                }
            }
        }
        if let Some(Address(external)) = self.spec.comfyui.external.filter(|external| external.0.port() == 0) {
            self.blame(&["comfyui.external"], &Problem::NoPort(external));
        }
    }

    fn arguments(&mut self) {
        for (index, argument) in self.spec.comfyui.arguments.iter().enumerate() {
            if let Some(cure) = owned_argument(&argument.0) {
                let problem = Problem::OwnedArgument { argument: argument.0.clone(), cure };
                self.blame(&[&element("comfyui.arguments", index), "comfyui.arguments"], &problem);
            }
        }
    }

    fn environment(&mut self) {
        for name in self.spec.comfyui.environment.keys() {
            let owned = OWNED_VARIABLES.contains(&name.0.as_str())
                || OWNED_VARIABLE_PREFIXES.iter().any(|prefix| name.0.starts_with(prefix));
            if owned {
                let key = format!("comfyui.environment.{}", name.0);
                self.blame(&[&key], &Problem::OwnedVariable(name.0.clone()));
            }
        }
    }

    /// The guard's processes and ComfyUI are kept apart by nothing but their users.
    fn users(&mut self) {
        let spec = self.spec;
        let mut users: Vec<(&'static str, &Account)> =
            vec![("service.user", &spec.service.user), ("service.network_user", &spec.service.network_user)];
        if spec.comfyui.external.is_none() {
            users.push(("comfyui.user", &spec.comfyui.user));
        }
        for (index, (second, user)) in users.iter().enumerate() {
            if user.0 == "root" {
                self.blame(&[second], &Problem::Root);
            }
            for (first, _) in users.iter().take(index).filter(|(_, other)| other == user) {
                let problem = Problem::SharedUser { first, second, user: user.0.clone() };
                self.blame(&[second, first], &problem);
            }
        }
    }

    fn exemptions(&mut self) {
        let exempt = &self.spec.auth.exempt;
        let never = super::exempt::all_never(exempt.never.clone());
        for (index, tree) in exempt.trees.iter().enumerate() {
            if let Some(never) = never.iter().find(|never| tree.lies_in(never)) {
                let keys = [&element("auth.exempt.trees", index), "auth.exempt.trees", "auth.exempt.never"];
                self.blame(&keys, &Problem::TreeInApi { tree: tree.0.clone(), never: never.clone() });
            }
        }
    }

    fn cage(&mut self) {
        for (index, FilePath(path)) in self.spec.comfyui.writable.iter().enumerate() {
            if path.parent().is_none() {
                let keys = [&element("comfyui.writable", index), "comfyui.writable"];
                self.blame(&keys, &Problem::WritableEverywhere);
            }
        }
    }

    fn amounts(&mut self) {
        if self.spec.proxy.max_upload == Bytes(0) {
            self.blame(&["proxy.max_upload"], &Problem::NoUpload);
        }
        let auth = &self.spec.auth;
        for (key, lifetime) in [
            ("auth.session_lifetime", auth.session_lifetime),
            ("auth.browser_session_lifetime", auth.browser_session_lifetime),
        ] {
            if !SESSION_LIFETIMES.contains(&lifetime) {
                self.blame(&[key], &Problem::SessionLifetime(lifetime));
            }
        }
        let limits = &self.spec.comfyui.limits;
        if let Some(memory) = limits.memory.filter(|memory| *memory < LEAST_MEMORY) {
            self.blame(&["comfyui.limits.memory"], &Problem::LittleMemory(memory));
        }
        if let Some(cpus) = limits.cpus.filter(|cpus| *cpus < LEAST_CPUS) {
            self.blame(&["comfyui.limits.cpus"], &Problem::LittleTime(cpus));
        }
        if limits.tasks < LEAST_TASKS {
            self.blame(&["comfyui.limits.tasks"], &Problem::FewTasks(limits.tasks));
        }
        if self.spec.comfyui.stop_timeout < Span::from_secs(1) {
            self.blame(&["comfyui.stop_timeout"], &Problem::NoTimeToStop);
        }
    }
}

/// What to use instead, when the argument is an option of the guard's own. argparse takes every unambiguous
/// beginning of an option for the option (`--lis 0.0.0.0`), so a beginning is enough here too.
fn owned_argument(argument: &str) -> Option<&'static str> {
    let name = argument.split('=').next().unwrap_or(argument);
    let is_option = name.len() > 2 && name.starts_with("--");
    OWNED_ARGUMENTS.iter().find(|(owned, _)| is_option && owned.starts_with(name)).map(|(_, cure)| *cure)
}

/// Whether one key is the other or lies in it; the empty key holds them all.
fn overlap(key: &str, other: &str) -> bool {
    let holds = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    other.is_empty() || holds(key, other) || holds(other, key)
}

fn element(key: &str, index: usize) -> String {
    format!("{key}.{index}")
}
