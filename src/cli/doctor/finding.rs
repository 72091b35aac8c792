//! What the doctor says: how bad, about what, what was found, and the cure.

use serde::Serialize;

use crate::cli::status::{Look, Tone};

/// How bad it is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grade {
    /// As it should be.
    Ok,
    /// It works, and perhaps not as meant.
    Warning,
    /// It does not work, or is open to somebody.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at, in a word.
    pub(crate) about: &'static str,
    pub(crate) grade: Grade,
    /// What was found.
    pub(crate) found: String,
    /// What to do about it, where something is to be done.
    pub(crate) cure: Option<String>,
}

impl Finding {
    pub(crate) fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self { about, grade: Grade::Ok, found: found.into(), cure: None }
    }

    pub(crate) fn warning(about: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { about, grade: Grade::Warning, found: found.into(), cure: Some(cure.into()) }
    }

    pub(crate) fn problem(about: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { about, grade: Grade::Problem, found: found.into(), cure: Some(cure.into()) }
    }

    /// A sentence of another command that names its cure itself.
    pub(crate) fn told(about: &'static str, grade: Grade, found: impl Into<String>) -> Self {
        Self { about, grade, found: found.into(), cure: None }
    }
}

/// All of it, for a program.
#[derive(Debug, Serialize)]
struct Document<'a> {
    worst: Grade,
    findings: &'a [Finding],
}

/// The worst of them.
pub(crate) fn worst(findings: &[Finding]) -> Grade {
    findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Ok)
}

/// As JSON.
pub(crate) fn json(findings: &[Finding]) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(&Document { worst: worst(findings), findings })? + "\n")
}

/// As text: the grade, the word, what was found, and the cure below it.
pub(crate) fn text(findings: &[Finding], look: Look) -> String {
    const INDENT: usize = 22;
    let mut text = String::new();
    for finding in findings {
        let (tone, grade) = match finding.grade {
            Grade::Ok => (Tone::Good, "ok"),
            Grade::Warning => (Tone::Odd, "warning"),
            Grade::Problem => (Tone::Bad, "PROBLEM"),
        };
        let grade = look.paint(tone, &format!("{grade:8}"));
        for (number, line) in look.wrap(INDENT, &finding.found).iter().enumerate() {
            let start = if number == 0 { format!("{grade} {:12} ", finding.about) } else { " ".repeat(INDENT) };
            text.push_str(&format!("{start}{line}\n"));
        }
        for (number, line) in look.wrap(INDENT + 3, finding.cure.as_deref().unwrap_or_default()).iter().enumerate() {
            let arrow = if number == 0 { "->" } else { "  " };
            text.push_str(&format!("{}{arrow} {line}\n", " ".repeat(INDENT)));
        }
    }
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    text + &format!(
        "\n{} in order, {} to think about, {} to mend\n",
        count(Grade::Ok),
        count(Grade::Warning),
        count(Grade::Problem)
    )
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// The grades and words of what was found, for tables in tests.
    pub(in crate::cli::doctor) fn grades(findings: &[Finding]) -> Vec<(&'static str, Grade)> {
        findings.iter().map(|finding| (finding.about, finding.grade)).collect()
    }

    fn three() -> Vec<Finding> {
        vec![
            Finding::ok("clock", "synchronised"),
            Finding::warning("disk", "little room \u{1b}[2J".to_owned() + &" left".repeat(20), "make room"),
            Finding::problem("key", "there is none", "comfy-guard set-key"),
        ]
    }

    #[test]
    fn people_read_grade_word_finding_and_cure() {
        let text = text(&three(), Look { width: 80, colour: false });
        assert!(text.starts_with("ok       clock        synchronised\nwarning  disk         little room"), "{text}");
        assert!(text.contains("\n                      -> make room\nPROBLEM  key          there is none\n"), "{text}");
        assert!(text.ends_with("\n1 in order, 1 to think about, 1 to mend\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80 && !line.contains('\u{1b}')), "{text}");
    }

    #[test]
    fn programs_read_json() {
        let read: serde_json::Value = serde_json::from_str(&json(&three()).unwrap()).unwrap();
        assert_eq!((&read["worst"], &read["findings"][1]["grade"]), (&"problem".into(), &"warning".into()));
        assert_eq!(read["findings"][0]["cure"], serde_json::Value::Null);
        assert_eq!(worst(&[]), Grade::Ok);
    }
}
