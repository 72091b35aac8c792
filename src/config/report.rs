//! What is wrong and where: `path:line:col: message`, the source line and a caret. Citing never fails.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file, at these bytes of its text.
    File(Arc<Document>, Range<usize>),
    /// A file as a whole, when there is no text to cite.
    Path(PathBuf),
    /// In the environment variable of this name.
    Variable(String),
    /// On the command line, for this key.
    CommandLine(String),
    /// Nowhere: the default, or nothing at all.
    Nowhere,
}

/// A text and where it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Where each key (`listen.https`) and each element of a list (`listen.https.0`) was written last.
pub(super) type Places = BTreeMap<String, Place>;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(super) place: Place,
    pub(super) message: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        Self(findings.into_iter().collect())
    }
}

impl std::error::Error for Findings {}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = printable(&self.message);
        match &self.place {
            Place::File(document, span) => cite(f, document, span, &message),
            Place::Path(path) => write!(f, "{}: {message}", shown(path)),
            Place::Variable(name) => write!(f, "environment variable {}: {message}", printable(name)),
            Place::CommandLine(key) => write!(f, "command line ({key}): {message}"),
            Place::Nowhere => f.write_str(&message),
        }
    }
}

/// The message with its line and a caret under the part that is meant.
fn cite(f: &mut fmt::Formatter<'_>, document: &Document, span: &Range<usize>, message: &str) -> fmt::Result {
    let (number, line, column) = locate(&document.text, span.start);
    write!(f, "{}:{}:{}: {message}", shown(&document.path), number + 1, column + 1)?;
    let quoted = if is_private(&document.text, number) { masked(line) } else { printable(line) };
    let marked = document.text.get(span.clone()).unwrap_or_default();
    let rest = line.chars().count().saturating_sub(column);
    let width = marked.lines().next().unwrap_or_default().chars().count().clamp(1, rest.max(1));
    write!(f, "\n  {quoted}\n  {}{}", " ".repeat(column), "^".repeat(width))
}

/// The line that holds this byte: its number from 0, its text, and the byte's column in characters from 0.
fn locate(text: &str, offset: usize) -> (usize, &str, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let column = before.get(start..).unwrap_or_default().chars().count();
    (before.matches('\n').count(), line, column)
}

/// Whether the line belongs to ComfyUI's environment, where people keep tokens: findings end up in the journal.
fn is_private(text: &str, number: usize) -> bool {
    let lines: Vec<&str> = text.lines().take(number + 1).collect();
    for line in lines.iter().rev().map(|line| line.trim_start()) {
        let word = line.split(['=', '.']).next().unwrap_or_default().trim();
        if word == "environment" || line.contains("comfyui.environment") {
            return true;
        }
        let another_key = super::file::KEYS.iter().any(|(key, _)| key.rsplit('.').next() == Some(word));
        if line.starts_with('[') || another_key {
            return false;
        }
    }
    false
}

/// The line with all behind its first `=` blanked out, so that columns stay what they are.
fn masked(line: &str) -> String {
    let name = line.find('=').map_or(0, |equals| equals + 1);
    let (name, value) = line.split_at(name);
    printable(name) + &value.chars().map(|c| if c.is_whitespace() { ' ' } else { '*' }).collect::<String>()
}

/// Text that cannot move the cursor or ring a bell, as wide as it was.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str, span: Range<usize>) -> String {
        let document = Document { path: "/etc/x.toml".into(), text: text.to_owned() };
        Finding { place: Place::File(Arc::new(document), span), message: "no".to_owned() }.to_string()
    }

    #[test]
    fn a_finding_points_at_what_is_meant() {
        assert_eq!(told("[auth]\n\tenabled = 3\n", 18..19), "/etc/x.toml:2:12: no\n   enabled = 3\n             ^");
        assert_eq!(told("é = \"ü\"", 5..9), "/etc/x.toml:1:5: no\n  é = \"ü\"\n      ^^^");
    }

    #[test]
    fn a_place_outside_the_text_is_still_told() {
        assert!(told("a = 1", 5..5).starts_with("/etc/x.toml:1:6: no\n"));
        assert!(told("a = 1\n", 600..700).starts_with("/etc/x.toml:2:1: no\n"));
        assert!(told("", 0..0).starts_with("/etc/x.toml:1:1: no\n"));
    }

    #[test]
    fn a_token_in_comfyuis_environment_is_not_quoted() {
        for text in [
            "[comfyui.environment]\nHF_TOKEN = \"secret\"\nX = 1\n",
            "[comfyui]\nenvironment = { HF_TOKEN = \"secret\"\n",
            "[comfyui]\nenvironment.HF_TOKEN = \"secret\n",
            "[comfyui]\nenvironment = {\n A = \"x\",\n HF_TOKEN = \"secret\",\n",
            "comfyui.environment.HF_TOKEN = \"secret\n",
        ] {
            let start = text.find("secret").unwrap();
            let told = told(text, start..start + 6);
            assert!(told.contains("^^^^^^") && !told.contains("secret"), "{told}");
        }
        assert!(told("[comfyui]\nenvironment = {}\nport = 70000\n", 34..39).contains("port = 70000"));
    }

    #[test]
    fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
        assert!(!told("a = \u{1b}[2J", 4..5).contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn citing_never_fails(text in ".*\n?.*", start in 0usize..40, length in 0usize..40) {
            prop_assert!(told(&text, start..start + length).starts_with("/etc/x.toml:"));
        }
    }
}
