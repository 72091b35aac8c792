//! Gateway and ComfyUI read every path alike: 100,000 of them against aiohttp's own parser and router.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::exemption::is_exempt;
use super::fixture::{self, PIECES, ROUTES};
use super::path::{PathKind, classify};

const PATHS: usize = 100_000;

/// What aiohttp makes of one request line.
#[derive(Deserialize)]
struct Reading {
    /// Its path, decoded; none: the parser refused it.
    path: Option<String>,
    /// The canonical pattern of the resource that answers it; none: nothing does.
    resource: Option<String>,
    /// Whether that resource is a folder of files.
    is_static: bool,
}

/// Small and reproducible (SplitMix64): a failure names its path, and the same paths come again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn pick<'a>(&mut self, list: &'a [String]) -> &'a str {
        &list[self.below(list.len())]
    }
}

/// Real places first, then mutations of them: pieces put in, characters escaped, cased, doubled or left out.
fn generate() -> Vec<String> {
    let auth = fixture::auth();
    let mut seeds: Vec<String> = vec!["/".into(), "/user.css".into(), "/index.html".into(), "/api/".into()];
    for (_, route) in ROUTES {
        let place: Vec<&str> = route.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        for base in [place.join("/"), format!("/api{}", place.join("/"))] {
            seeds.extend(auth.exempt.suffixes.iter().map(|suffix| format!("{base}{suffix}")));
            seeds.push(base);
        }
    }
    for tree in &auth.exempt.trees {
        for suffix in &auth.exempt.suffixes {
            seeds.push(format!("{tree}a{suffix}"));
            seeds.push(format!("{tree}My%20Node/%E4%BD%A0{suffix}"));
        }
    }
    let mut dice = Dice(20_240_611);
    let mut paths = seeds.clone();
    while paths.len() < PATHS {
        let mut path: Vec<char> = dice.pick(&seeds).chars().collect();
        for _ in 0..=dice.below(3) {
            let at = 1 + dice.below(path.len());
            match dice.below(7) {
                0..=2 => drop(path.splice(at..at, PIECES[dice.below(PIECES.len())].chars())),
                3 if at < path.len() => {
                    let mut bytes = [0; 4];
                    let escaped: String =
                        path[at].encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
                    drop(path.splice(at..=at, escaped.chars()));
                }
                4 if at < path.len() => path[at] = path[at].to_ascii_uppercase(),
                5 if at < path.len() => path.insert(at, path[at]),
                6 if at < path.len() => drop(path.remove(at)),
                _ => {}
            }
        }
        paths.push(path.into_iter().collect());
    }
    paths
}

fn python() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    match std::env::var_os("COMFY_GUARD_TEST_PYTHON") {
        Some(named) => named.into(),
        None if own.exists() => own,
        None => "python3".into(),
    }
}

/// Asks aiohttp about each (method, path): the script reads one JSON line for the routes, one per request, and answers
/// one per request.
fn ask_aiohttp(requests: &[(&str, &str)]) -> Vec<Reading> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/aiohttp_routes.py");
    let mut child = Command::new(python())
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("no Python interpreter: run tests/setup, or set COMFY_GUARD_TEST_PYTHON");
    let mut question = serde_json::to_vec(ROUTES).unwrap();
    for request in requests {
        question.push(b'\n');
        serde_json::to_writer(&mut question, request).unwrap();
    }
    let mut input = child.stdin.take().unwrap();
    // On its own thread: both pipes would fill up and wait for each other.
    let writer = std::thread::spawn(move || input.write_all(&question));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{} failed; if it has no aiohttp, run tests/setup", script.display());
    writer.join().unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn aiohttp_reads_every_path_as_the_gateway_does() {
    let exempt_rules = fixture::auth().exempt;
    let paths = generate();
    // A broken path is answered 400 here and reaches nobody.
    let judged: Vec<(&str, PathKind)> = paths
        .iter()
        .map(|path| (path.as_str(), classify(path)))
        .filter(|(_, kind)| *kind != PathKind::Broken)
        .collect();
    let requests: Vec<(&str, &str)> =
        ["GET", "HEAD"].iter().flat_map(|method| judged.iter().map(move |(path, _)| (*method, *path))).collect();
    let readings = ask_aiohttp(&requests);
    assert_eq!(readings.len(), requests.len());

    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for ((method, path), reading) in requests.iter().zip(&readings) {
        let kind = classify(path);
        let exempt = is_exempt(&method.parse::<Method>().unwrap(), path, kind, &exempt_rules);
        *seen.entry(if exempt { "exempt" } else { "not exempt" }).or_default() += 1;
        *seen.entry(if kind == PathKind::Canonical { "canonical" } else { "ambiguous" }).or_default() += 1;
        if reading.resource.is_some() && !reading.is_static {
            *seen.entry("answered by an API handler").or_default() += 1;
        }
        if exempt {
            assert!(
                reading.resource.is_none() || reading.is_static,
                "{method} {path} is exempt here and {:?} there",
                reading.resource
            );
        }
        if kind == PathKind::Canonical {
            let ours = percent_decode_str(path).decode_utf8().unwrap();
            let theirs = reading.path.as_deref();
            let same = theirs.is_some_and(|theirs| theirs.split('/').eq(ours.split('/')));
            assert!(same, "{path} is canonical here and {theirs:?} there");
        }
    }
    println!("{} paths generated, {} requests asked: {seen:?}", paths.len(), requests.len());
    // The test says something only if each kind is well represented.
    for kind in ["exempt", "canonical", "ambiguous", "answered by an API handler"] {
        assert!(seen.get(kind).copied().unwrap_or_default() > 5_000, "{kind}: {seen:?}");
    }
}
