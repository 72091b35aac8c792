//! comfy-guard.toml(5), made from the configuration that is shipped: its comments are the only place where keys are explained.

use clap_mangen::roff::{Roff, bold, roman};

/// The configuration as it is installed.
const TEMPLATE: &str = include_str!("../../../packaging/config.toml");

/// A key with what the template says it is.
#[derive(Debug, PartialEq, Eq)]
struct Setting<'a> {
    key: &'a str,
    value: &'a str,
    /// Whether the line counts as it stands: what it says is a choice, and no default.
    is_live: bool,
}

/// The parts of the template, in their order.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Section(&'a str),
    /// A comment and the keys directly below it; without keys it is about what follows.
    Entry {
        comment: Vec<&'a str>,
        settings: Vec<Setting<'a>>,
    },
}

/// The page; `heading`: title, section, date, source and manual (man(7), TH).
pub(super) fn page(heading: [&str; 5]) -> Roff {
    let mut roff = Roff::new();
    roff.control("TH", heading);
    // Values are long and cannot be stretched or hyphenated.
    roff.control("nh", []).control("ad", ["l"]);
    roff.control("SH", ["NAME"]).text([roman("comfy-guard.toml - the configuration of comfy-guard(8)")]);
    roff.control("SH", ["SYNOPSIS"]).text([bold("/etc/comfy-guard/config.toml")]);
    roff.control("br", []).text([bold("/etc/comfy-guard/conf.d/*.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut begins_section = true;
    for part in parts(TEMPLATE) {
        match &part {
            Part::Section(name) => {
                roff.control("SH", [format!("[{name}]").as_str()]);
            }
            Part::Entry { comment, settings } => write_entry(&mut roff, comment, settings, begins_section),
        }
        begins_section = matches!(part, Part::Section(_));
    }
    roff.control("SH", ["SEE ALSO"]).text([
        bold("comfy-guard"),
        roman("(8), "),
        bold("comfy-guard-check"),
        roman("(8)"),
    ]);
    roff
}

fn write_entry(roff: &mut Roff, comment: &[&str], settings: &[Setting<'_>], begins_section: bool) {
    // Directly below a heading there is no paragraph to end.
    if settings.is_empty() && !begins_section {
        roff.control("PP", []);
    }
    for (number, setting) in settings.iter().enumerate() {
        roff.control(if number == 0 { "TP" } else { "TQ" }, []).text([bold(setting.key)]);
    }
    for line in comment {
        // An indented line is a list's or an example's: it stays a line of its own.
        if line.starts_with(' ') {
            roff.control("br", []);
        }
        roff.text([roman(line.trim())]);
    }
    let has_no_default = comment.iter().any(|line| line.contains("(No default.)"));
    for setting in settings {
        let what = match (setting.is_live, has_no_default) {
            (true, _) => "As installed: ",
            (false, true) => "Example: ",
            (false, false) => "Default: ",
        };
        roff.control("br", []).text([roman(what), bold(setting.value)]);
    }
}

/// Cuts the template into its parts.
fn parts(template: &str) -> Vec<Part<'_>> {
    let (mut parts, mut comment, mut settings) = (Vec::new(), Vec::new(), Vec::new());
    for line in template.lines().chain([""]) {
        if let Some(setting) = setting(line) {
            settings.push(setting);
            continue;
        }
        // Whatever is no key ends an entry that has keys; an empty line ends any.
        if !settings.is_empty() || (line.is_empty() && !comment.is_empty()) {
            parts.push(Part::Entry { comment: std::mem::take(&mut comment), settings: std::mem::take(&mut settings) });
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            parts.push(Part::Section(name));
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
        }
    }
    parts
}

/// `key = value`, or `#key = value` with nothing between; a comment has a space there.
fn setting(line: &str) -> Option<Setting<'_>> {
    let (text, is_live) = match line.strip_prefix('#') {
        Some(text) => (text, false),
        None => (line, true),
    };
    let (key, value) = text.split_once(" = ")?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then_some(Setting { key, value, is_live })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_comment_belongs_to_the_keys_below_it() {
        let text = "# About it.\n\n[one]\n# First,\n# of two.\n#a = 1\n#b_c = \"x = y\"\n# Third.\nd = []\n";
        let expected = [
            Part::Entry { comment: vec!["About it."], settings: vec![] },
            Part::Section("one"),
            Part::Entry {
                comment: vec!["First,", "of two."],
                settings: vec![
                    Setting { key: "a", value: "1", is_live: false },
                    Setting { key: "b_c", value: "\"x = y\"", is_live: false },
                ],
            },
            Part::Entry { comment: vec!["Third."], settings: vec![Setting { key: "d", value: "[]", is_live: true }] },
        ];
        assert_eq!(parts(text), expected);
    }

    #[test]
    fn every_key_of_the_template_is_on_the_page_with_its_explanation() {
        let page = page(["comfy-guard.toml", "5", "2026-01-31", "test", "test"]).render();
        let mut keys = 0;
        for part in parts(TEMPLATE) {
            let Part::Entry { comment, settings } = part else { continue };
            assert!(!comment.is_empty(), "{settings:?} is not explained");
            for setting in settings {
                keys += 1;
                assert!(page.contains(&format!("\\fB{}\\fR", setting.key)), "{}", setting.key);
            }
        }
        let lines = TEMPLATE.lines().filter(|line| line.contains(" = ") && !line.starts_with("# ")).count();
        assert_eq!(keys, lines, "a line of the template was not understood");
    }
}
