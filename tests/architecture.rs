//! Holds src/ to the house rules: which room may import which, which crate is used where, and what no file may have.
//!
//! The rooms are the folders (and single files) of src/. Each rule stands in a table with its reason; a breach is told
//! with file, line and that reason. The last tests show that every rule finds what it is there to find.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may end at the unexpected"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;

#[path = "architecture/tokens.rs"]
mod tokens;

use tokens::{Found, Named, walk};

/// A room, the rooms that it may import, and why no others.
const ROOMS: &[(&str, &[&str], &str)] = &[
    ("units", &[], "numbers know nothing of the guard"),
    ("secret", &[], "a secret knows nothing of the guard"),
    ("os", &["units", "secret"], "the system's room serves every other and must not depend on what they decide"),
    ("config", &["units", "secret"], "values are judged from text alone"),
    ("credential", &["units", "secret", "os", "config"], "keys and certificates know no process"),
    ("wire", &["units", "secret", "os", "config"], "what the processes share belongs to none of them"),
    ("condition", &["units", "secret", "config", "wire"], "what is judged is judged from facts alone"),
    ("sandbox", &["units", "secret", "os", "config"], "policy is data"),
    ("telemetry", &["units", "secret", "os", "config", "wire"], "a line of the log is the wire's"),
    (
        "supervisor",
        &["units", "secret", "os", "config", "credential", "wire", "condition", "sandbox", "telemetry"],
        "roles never import each other: what they share goes over the wire",
    ),
    (
        "gateway",
        &["units", "secret", "os", "config", "wire", "condition", "sandbox", "telemetry"],
        "the gateway faces the network: it must not be able to read a key file, and imports no other role",
    ),
    (
        "sensor",
        &["units", "secret", "os", "config", "wire", "sandbox", "telemetry"],
        "the sensor has the driver's library in it: no key, and no other role",
    ),
    (
        "cli",
        &[
            "units",
            "secret",
            "os",
            "config",
            "credential",
            "wire",
            "condition",
            "sandbox",
            "telemetry",
            "supervisor",
            "gateway",
            "sensor",
        ],
        "commands start everything",
    ),
    ("lib", &["cli"], "the library exports one main"),
    ("main", &[], "main calls the library and nothing else"),
];

/// A crate, the places below src/ where it may be named, and why nowhere else.
const HOMES: &[(&str, &[&str], &str)] = &[
    ("axum", &["gateway/"], "only the gateway speaks HTTP"),
    ("hyper", &["gateway/", "cli/doctor/probe.rs"], "only the gateway speaks HTTP; the doctor asks one question"),
    ("hyper_util", &["gateway/", "cli/doctor/probe.rs"], "as hyper"),
    ("http_body_util", &["gateway/", "cli/doctor/probe.rs"], "as hyper"),
    ("tokio_rustls", &["gateway/"], "only the gateway speaks TLS"),
    (
        "rustls",
        &["gateway/", "credential/identity.rs", "credential/identity_tests.rs", "credential/authority_tests.rs"],
        "only the gateway speaks TLS; beside it, only the loader of the identity (and its tests) judges what TLS takes",
    ),
    (
        "rustls_pki_types",
        &["gateway/", "credential/identity.rs", "credential/identity_tests.rs", "credential/authority_tests.rs"],
        "as rustls",
    ),
    ("rcgen", &["credential/"], "certificates are issued in one room"),
    ("x509_parser", &["credential/"], "certificates are read in one room"),
    ("argon2", &["credential/phc.rs"], "one file bounds what a hash may cost"),
    ("nvml_wrapper", &["sensor/nvml.rs"], "the driver's library is loaded in one place"),
    (
        "nix",
        &["os/", "credential/key_file_tests.rs"],
        "system calls are made in one room; a test makes a FIFO to see it refused",
    ),
    ("libc", &["os/"], "system calls are made in one room"),
    ("caps", &["os/"], "capabilities are changed in one room"),
    ("sd_notify", &["os/"], "one object owns what the service manager is told"),
    ("seccompiler", &["os/"], "filters are loaded in one room"),
    ("landlock", &["os/"], "filters are loaded in one room"),
    ("syscalls", &["os/"], "names of system calls become numbers where filters are loaded"),
    ("clap", &["cli/"], "only commands are typed"),
    ("clap_complete", &["cli/documents.rs"], "completions are made in one place"),
    ("clap_mangen", &["cli/documents.rs", "cli/documents/"], "the manual is made in one place"),
    (
        "postcard",
        &["wire/", "config/tests/wire.rs"],
        "bytes of messages are the wire's; a test sends settings as it does",
    ),
    ("prometheus_client", &["telemetry/metrics/"], "names and labels of metrics are bounded in one place"),
    ("tracing_journald", &["telemetry/"], "a sandboxed role has no journal: lines go through the supervisor"),
];

/// More than this is more than one idea.
const MOST_LINES: usize = 400;
/// Files that are longer, each with its limit: it may shrink, and the line goes when the file is split.
const LONG_FILES: &[(&str, usize)] = &[];
/// From here on a file is named in the output, so that its reader asks whether it is one idea still.
const WORTH_A_WORD: usize = 250;

/// A breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "src/{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// A source file as the rules see it.
struct Source<'a> {
    /// Below src/, with forward slashes.
    file: &'a str,
    text: &'a str,
    /// Whether the whole file is compiled for tests only.
    is_test: bool,
}

impl Source<'_> {
    fn room(&self) -> &str {
        self.file.split('/').next().map_or("", |first| first.trim_end_matches(".rs"))
    }

    /// `["gateway", "proxy", "pool"]` of `gateway/proxy/pool.rs`.
    fn module(&self) -> Vec<String> {
        let mut module: Vec<String> = self.file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        module
    }
}

/// All breaches of one file.
fn judge(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |line, rule: String| findings.push(Finding { file: source.file.to_owned(), line, rule });
    if !source.text.starts_with("//! ") {
        add(1, "a file opens with a //! line that says what it is for".to_owned());
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let limit = LONG_FILES.iter().find(|(file, _)| *file == source.file).map_or(MOST_LINES, |(_, limit)| *limit);
    if lines.len() > limit {
        add(lines.len(), format!("{} lines; at most {limit}: more is more than one idea", lines.len()));
    }
    let stream: TokenStream = match source.text.parse() {
        Ok(stream) => stream,
        Err(error) => {
            add(1, format!("is not Rust: {error}"));
            return findings;
        }
    };
    let mut found = Found::default();
    walk(stream, &source.module(), source.is_test, &mut found);

    let room = source.room();
    let Some((_, may_import, why)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
        add(1, format!("the room `{room}` is not in the table of tests/architecture.rs"));
        return findings;
    };
    for Named { path, line } in &found.paths {
        let (Some(first), second) = (path.first(), path.get(1)) else { continue };
        if first == "crate" {
            let Some(other) = second else { continue };
            let is_room = ROOMS.iter().any(|(name, ..)| name == other);
            if is_room && other != room && !may_import.contains(&other.as_str()) {
                add(*line, format!("`{room}` imports `{other}`: {why}"));
            }
        } else if let Some((name, homes, why)) = HOMES.iter().find(|(name, ..)| name == first) {
            let at_home =
                homes.iter().any(|home| source.file == *home || home.ends_with('/') && source.file.starts_with(home));
            if !at_home {
                add(*line, format!("`{name}` belongs in {} only: {why}", homes.join(", ")));
            }
        }
    }
    for (line, is_block) in &found.unsafes {
        if room != "os" {
            add(*line, "`unsafe` belongs in os/ only: one room is read with that care".to_owned());
        } else if *is_block && !has_safety_comment(&lines, *line) {
            add(*line, "`unsafe` without a // SAFETY: comment right above its statement".to_owned());
        }
    }
    for (line, call) in &found.panics {
        add(*line, format!("`{call}` outside tests: a panic ends a running job with it; return a typed error"));
    }
    findings
}

/// Whether the comment right above `line` (from 1) speaks of safety.
fn has_safety_comment(lines: &[&str], line: usize) -> bool {
    let above = lines.get(..line.saturating_sub(1)).unwrap_or_default().iter().rev();
    above
        .map(|line| line.trim_start())
        .take_while(|line| line.starts_with("//"))
        .any(|line| line.starts_with("// SAFETY:"))
}

/// All files below src/, with their text, in the order of their names.
fn all_files() -> Vec<(String, String)> {
    fn gather(folder: &Path, root: &Path, files: &mut Vec<(String, String)>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                gather(&path, root, files);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    gather(&root, &root, &mut files);
    files
}

/// The files and folders (with a slash) that only tests have: where `#[cfg(test)] mod NAME;` leads.
fn test_places(files: &[(String, String)]) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    for (file, text) in files {
        let source = Source { file, text, is_test: false };
        let mut found = Found::default();
        walk(text.parse().unwrap(), &source.module(), false, &mut found);
        let folder = file.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let own = file.trim_end_matches(".rs");
        let below = if file.ends_with("mod.rs") { folder.clone() } else { format!("{own}/") };
        for name in found.test_modules {
            places.insert(format!("{below}{name}.rs"));
            places.insert(format!("{below}{name}/"));
            // `#[path = "files_tests.rs"] mod tests;` beside files.rs.
            places.insert(format!("{own}_{name}.rs"));
        }
    }
    places
}

#[test]
fn the_code_keeps_the_house_rules() {
    let files = all_files();
    assert!(files.len() > 50, "only {} files were found below src/", files.len());
    let test_places = test_places(&files);
    let mut findings = Vec::new();
    for (file, text) in &files {
        let is_test = test_places.iter().any(|place| file == place || place.ends_with('/') && file.starts_with(place));
        findings.extend(judge(&Source { file, text, is_test }));
        let lines = text.lines().count();
        if lines > WORTH_A_WORD {
            println!("for information: src/{file} has {lines} lines");
        }
    }
    let told: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(told.is_empty(), "{} breaches:\n{}", told.len(), told.join("\n"));
}

/// The lines that the rules object to, of a file with this name and content.
fn objections(file: &str, text: &str) -> Vec<(usize, String)> {
    let findings = judge(&Source { file, text: &format!("//! A file.\n{text}"), is_test: false });
    findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
}

#[test]
fn every_rule_finds_its_breach() {
    let table = [
        // Arrows between rooms, however the path is written.
        ("gateway/x.rs", "use crate::credential::phc;", "`gateway` imports `credential`"),
        ("gateway/x.rs", "use crate::{os, credential::{self, phc::Phc}};", "`gateway` imports `credential`"),
        ("gateway/x.rs", "fn f() { crate::credential::phc::verify() }", "`gateway` imports `credential`"),
        ("gateway/x.rs", "use super::super::credential::phc;", "`gateway` imports `credential`"),
        ("gateway/mod.rs", "mod inner { use super::super::credential::phc; }", "`gateway` imports `credential`"),
        ("gateway/x.rs", "#[cfg(test)] mod tests { use crate::supervisor; }", "`gateway` imports `supervisor`"),
        ("gateway/x.rs", "type T = Option<crate::sensor::Reading>;", "`gateway` imports `sensor`"),
        ("sensor/mod.rs", "pub(crate) use crate::gateway::run;", "`sensor` imports `gateway`"),
        ("supervisor/x.rs", "use crate::gateway;", "`supervisor` imports `gateway`"),
        ("os/x.rs", "use crate::config;", "`os` imports `config`"),
        ("config/x.rs", "use crate::os;", "`config` imports `os`"),
        ("wire/x.rs", "use crate::telemetry;", "`wire` imports `telemetry`"),
        ("credential/x.rs", "use crate::wire;", "`credential` imports `wire`"),
        ("telemetry/x.rs", "use crate::supervisor;", "`telemetry` imports `supervisor`"),
        ("sandbox/x.rs", "use crate::wire;", "`sandbox` imports `wire`"),
        ("units.rs", "use crate::secret::Secret;", "`units` imports `secret`"),
        ("lib.rs", "pub use crate::supervisor::run;", "`lib` imports `supervisor`"),
        ("attic/mod.rs", "", "the room `attic` is not in the table"),
        // Crates at home.
        ("supervisor/x.rs", "use hyper::Request;", "`hyper` belongs in gateway/"),
        ("supervisor/x.rs", "fn f(_: &axum::Error) {}", "`axum` belongs in gateway/ only"),
        ("supervisor/x.rs", "fn f(_: &::nix::Error) {}", "`nix` belongs in os/"),
        ("credential/key_file.rs", "use rustls::sign;", "`rustls` belongs in"),
        ("credential/identity.rs", "use tokio_rustls::TlsAcceptor;", "`tokio_rustls` belongs in gateway/ only"),
        ("credential/key_file.rs", "use argon2::Argon2;", "`argon2` belongs in credential/phc.rs only"),
        ("sensor/mod.rs", "use nvml_wrapper::Nvml;", "`nvml_wrapper` belongs in sensor/nvml.rs only"),
        ("config/mod.rs", "#[derive(clap::Args)] struct A;", "`clap` belongs in cli/ only"),
        ("supervisor/x.rs", "const X: i32 = libc::SIGINT;", "`libc` belongs in os/ only"),
        ("supervisor/x.rs", "use caps as c;", "`caps` belongs in os/ only"),
        ("supervisor/x.rs", "use postcard::to_stdvec;", "`postcard` belongs in wire/"),
        ("gateway/x.rs", "use tracing_journald::layer;", "`tracing_journald` belongs in telemetry/ only"),
        // What no file may have.
        ("gateway/x.rs", "fn f() { unsafe { g() } }", "`unsafe` belongs in os/ only"),
        ("os/x.rs", "fn f() { unsafe { g() } }", "`unsafe` without a // SAFETY: comment"),
        ("os/x.rs", "// SAFETY: of another line.\nlet x = 1;\nunsafe { g() }", "`unsafe` without a // SAFETY: comment"),
        ("os/x.rs", "fn f() { x.unwrap() }", "`unwrap` outside tests"),
        ("os/x.rs", "fn f() { x.expect(\"y\") }", "`expect` outside tests"),
        ("os/x.rs", "fn f() { panic!(\"y\") }", "`panic` outside tests"),
        ("os/x.rs", "#[cfg(not(test))] fn f() { todo!() }", "`todo` outside tests"),
        ("os/x.rs", "#[cfg(test)] use a::{b, c}; fn f() { x.unwrap() }", "`unwrap` outside tests"),
        ("os/x.rs", "#[cfg(test)] mod tests { } fn f() { x.unwrap() }", "`unwrap` outside tests"),
        ("os/x.rs", "fn f( {", "is not Rust"),
    ];
    for (file, text, expected) in table {
        let objections = objections(file, text);
        assert!(
            matches!(objections.as_slice(), [(_, rule), ..] if rule.starts_with(expected)),
            "{file}: {text}\nexpected: {expected}\nfound: {objections:?}"
        );
    }
    let without_a_word = judge(&Source { file: "os/x.rs", text: "fn f() {}", is_test: false });
    assert!(without_a_word[0].rule.contains("opens with"));
    let long = objections("os/x.rs", &"\n".repeat(MOST_LINES));
    assert!(long[0].1.contains("at most 400"));
}

#[test]
fn what_is_allowed_is_not_found() {
    let table = [
        ("gateway/x.rs", "use super::credentials; use crate::{os, wire::message::{ToGateway, Verdict}};"),
        ("gateway/x.rs", "// crate::credential\nconst X: &str = \"use crate::credential; x.unwrap() unsafe\";"),
        ("gateway/auth/x.rs", "use super::super::proxy; mod credential {} use self::credential::y;"),
        ("supervisor/x.rs", "use crate::credential::phc::Phc; fn f(hyper: u8) { a::nix::b(hyper) }"),
        ("os/x.rs", "fn f() {\n// SAFETY: two lines\n// of words.\nlet x = unsafe { g() };\n}"),
        ("os/x.rs", "#[cfg(test)] mod tests { fn f() { x.unwrap(); panic!() } }"),
        ("os/x.rs", "#[cfg(test)]\n#[path = \"y.rs\"]\nmod tests;\n#[expect(dead_code)] fn f() { x.unwrap_or(1); }"),
        ("telemetry/x.rs", "use crate::wire::line::Line;"),
        ("lib.rs", "mod gateway; pub use cli::main;"),
    ];
    for (file, text) in table {
        assert_eq!(objections(file, text), [], "{file}: {text}");
    }
}

#[test]
fn a_finding_names_its_line() {
    let found = objections("gateway/x.rs", "\n\nuse crate::{\n    os,\n    credential,\n};");
    assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [6]);
}

/// Every `name_of_a_test` in docs/attacks.md is the name of a function in src/ or tests/: the page cannot promise a
/// test that was renamed or removed.
#[test]
fn every_test_that_the_page_of_attacks_names_exists() {
    fn gather(folder: &Path, text: &mut String) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("node_modules") {
                gather(&path, text);
            } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "py") {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    gather(&root.join("src"), &mut code);
    gather(&root.join("tests"), &mut code);
    let page = fs::read_to_string(root.join("docs/attacks.md")).unwrap();
    let quoted = page.split('`').skip(1).step_by(2);
    let names: BTreeSet<&str> = quoted.filter(|word| word.contains('_') && !word.contains(['/', '.'])).collect();
    assert!(names.len() > 50, "only {} names were found in docs/attacks.md", names.len());
    let missing: Vec<&&str> = names
        .iter()
        .filter(|name| {
            **name != "test_" && !code.contains(&format!("fn {name}(")) && !code.contains(&format!("def {name}("))
        })
        .collect();
    assert!(missing.is_empty(), "docs/attacks.md names tests that do not exist: {missing:?}");
    let rows = (1..=30).filter(|number| !page.contains(&format!("| P{number} |"))).collect::<Vec<_>>();
    assert!(rows.is_empty(), "docs/attacks.md has no row for {rows:?}");
}
