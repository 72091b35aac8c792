//! The template and the manual say what the code does.

use super::super::file::{KEYS, Spec};
use super::{Desk, LEAST};

const TEMPLATE: &str = include_str!("../../../packaging/config.toml");
const MANUAL: &str = include_str!("../../../docs/configuration.md");

/// The template with the `#` before each key taken away, but for these keys.
fn uncommented(except: &[&str]) -> String {
    let is_key =
        |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    let name = |line: &str| line[1..].split(' ').next().unwrap().to_owned();
    TEMPLATE
        .lines()
        .map(|line| if is_key(line) && !except.contains(&name(line).as_str()) { &line[1..] } else { line })
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_template_says_the_defaults() {
    let defaults = Desk::with(LEAST).config();
    let without_default = ["certificate", "private_key", "external", "memory", "cpus", "library", "required", "hot"];
    assert_eq!(Desk::with(uncommented(&without_default)).config(), defaults);
    assert!(Desk::with(uncommented(&["external"])).config().tls.identity.is_some());
    assert_eq!(Desk::with(TEMPLATE).config(), defaults);
}

#[test]
fn every_key_stands_in_the_template_and_in_the_manual() {
    let template: toml::Table = uncommented(&[]).parse().unwrap();
    for (key, _) in KEYS {
        let mut value = Some(&template);
        let (sections, name) = key.rsplit_once('.').unwrap();
        for section in sections.split('.') {
            value = value.and_then(|table| table.get(section)?.as_table());
        }
        assert!(value.is_some_and(|table| table.contains_key(name)), "{key} in the template");
        assert!(MANUAL.contains(&format!("| `{key}` |")), "{key} in the manual");
    }
}

#[test]
fn the_table_of_keys_is_what_a_file_may_have() {
    let mut sections: Vec<&str> = KEYS.iter().map(|(key, _)| key.rsplit_once('.').unwrap().0).collect();
    sections.dedup();
    for section in sections {
        let error = toml::from_str::<Spec>(&format!("[{section}]\nzzz = 1")).unwrap_err();
        let mut known: Vec<String> =
            error.message().split('`').skip(3).step_by(2).map(|name| format!("{section}.{name}")).collect();
        known.retain(|key| !matches!(key.as_str(), "auth.exempt" | "comfyui.limits"));
        let listed: Vec<&str> =
            KEYS.iter().map(|(key, _)| *key).filter(|key| key.rsplit_once('.').unwrap().0 == section).collect();
        assert_eq!(known, listed);
    }
}

#[test]
fn the_manual_shows_a_real_error() {
    let example = MANUAL.split("```toml example\n").nth(1).unwrap().split("```").next().unwrap();
    let shown = MANUAL.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(
        Desk::with(example).findings().trim_end(),
        shown.replace("/etc/comfy-guard/config", "config").trim_end()
    );
}
