//! What the command line and a running guard say to each other on the control socket: one JSON line with a request, then JSON lines
//! with the answer, until the guard closes. JSON, because the command may be newer, or older, than the guard that runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The socket's name in the state directory.
pub(crate) const SOCKET: &str = "control";
/// The longest request, in bytes.
pub(crate) const LONGEST_REQUEST: usize = 4096;

/// What the command line wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum Request {
    /// How is everything?
    Status,
    /// ComfyUI, and it alone, shall be stopped and started.
    Restart,
    /// ComfyUI's last lines; where the log goes to the journal, which one.
    Logs {
        /// How many.
        #[serde(default)]
        lines: usize,
        /// And then each new one, until the asker leaves.
        #[serde(default)]
        follow: bool,
    },
}

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// [`crate::wire`] knows no telemetry: the `Status` document as it is.
    Status(Value),
    /// It is under way, in words.
    Done(String),
    /// The lines are in the journal.
    Journal {
        /// Under which unit, where the guard knows it.
        unit: Option<String>,
    },
    /// A line of ComfyUI's.
    Line(String),
    /// So many lines were dropped here, because the asker reads too slowly.
    Lost(u64),
    /// It cannot be, with the reason.
    Error(String),
}

impl Answer {
    /// As it goes over the socket, with its newline.
    pub(crate) fn line(&self) -> String {
        // Texts, numbers and a document that is JSON already: nothing here can fail to be written.
        let text = serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        text + "\n"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_documented() {
        let table = [
            (r#"{"command":"status"}"#, Request::Status),
            (r#"{"command":"restart","of":"a newer command line"}"#, Request::Restart),
            (r#"{"command":"logs"}"#, Request::Logs { lines: 0, follow: false }),
            (r#"{"command":"logs","lines":9,"follow":true}"#, Request::Logs { lines: 9, follow: true }),
        ];
        for (text, request) in table {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
            assert_eq!(serde_json::from_str::<Request>(&serde_json::to_string(&request).unwrap()).unwrap(), request);
        }
        for text in [r#"{"command":"stop"}"#, "{}", "[]", "", r#"{"command":"logs","lines":-1}"#] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn answers_are_one_line_each_whatever_is_in_them() {
        for answer in [
            Answer::Line("two\nlines \u{1b}[2J \"quoted\"".to_owned()),
            Answer::Status(serde_json::json!({"state": "ok"})),
            Answer::Journal { unit: None },
            Answer::Lost(7),
        ] {
            let line = answer.line();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        }
    }
}
