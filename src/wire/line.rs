//! A log line on its way from a role to the supervisor: a sandboxed process has no journal to write to.

use serde::{Deserialize, Serialize};

/// The longest text of a line; longer ones are cut where they are made, so that a line always fits a packet.
pub(crate) const MAX_TEXT: usize = 4096;

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Level {
    /// What failed.
    Error,
    /// What will fail or was refused.
    Warn,
    /// What changed.
    Info,
    /// What was done.
    Debug,
    /// Everything.
    Trace,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// How grave it is.
    pub(crate) level: Level,
    /// The message with its fields, without a newline and without control characters.
    pub(crate) text: String,
}

/// Makes a text safe to print: control characters (which could repaint a terminal or forge a line) become `\u{..}`, and
/// what is longer than [`MAX_TEXT`] is cut.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len().min(MAX_TEXT));
    for c in text.chars() {
        if safe.len() + 10 > MAX_TEXT {
            safe.push('…');
            break;
        }
        if c.is_control() && c != '\t' { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// The beginning of a text, of so many bytes at the most: messages are counted in bytes, and a character has up to four.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let end = text.char_indices().map(|(start, c)| start + c.len_utf8()).take_while(|end| *end <= bytes).last();
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_counts_bytes_and_splits_no_character() {
        assert_eq!(
            (cut("abc", 2), cut("a😀b", 4), cut("a😀b", 5), cut("😀", 3), cut("ab", 9)),
            ("ab", "a", "a😀", "", "ab")
        );
    }

    #[test]
    fn a_line_cannot_forge_another_or_paint_a_terminal() {
        assert_eq!(printable("a\nb\u{1b}[2Jc\td"), "a\\u{a}b\\u{1b}[2Jc\td");
    }

    #[test]
    fn a_long_line_is_cut() {
        assert!(printable(&"\u{1}é".repeat(MAX_TEXT)).len() <= MAX_TEXT);
    }
}
