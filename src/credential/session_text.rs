//! The text of the sessions' file: what is written, and what is read back.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::session_file::Disbelief;
use super::sessions::{Session, Sessions, hex, printable, whole_seconds};

/// What this file is written as. Another version's sessions are not guessed at.
pub(super) const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    /// The fingerprint of the key that opened them.
    key: String,
    sessions: Vec<Record>,
}

/// Only this much is sure of a file of any version.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// A session with its times in seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    digest: String,
    remember: bool,
    opened: u64,
    seen: u64,
    ends: u64,
    peer: IpAddr,
    agent: String,
}

/// The text of these sessions of the key with this fingerprint.
pub(super) fn render(key: &str, sessions: &Sessions) -> serde_json::Result<Vec<u8>> {
    let sessions = sessions.iter().map(record).collect();
    let mut text = serde_json::to_vec_pretty(&Document { version: VERSION, key: key.to_owned(), sessions })?;
    text.push(b'\n');
    Ok(text)
}

/// The fingerprint and the sessions in a text. `key` is the fingerprint of the key in force; none: any key will do.
pub(super) fn parse(text: &[u8], key: Option<&str>) -> Result<(String, Sessions), Disbelief> {
    let broken = |error: serde_json::Error| Disbelief::Broken(error.to_string());
    let Versioned { version } = serde_json::from_slice(text).map_err(broken)?;
    if version != VERSION {
        return Err(Disbelief::Version(version));
    }
    let document: Document = serde_json::from_slice(text).map_err(broken)?;
    if key.is_some_and(|key| key != document.key) {
        return Err(Disbelief::OtherKey);
    }
    let list: Option<Vec<Session>> = document.sessions.iter().map(session).collect();
    let sessions = list.ok_or_else(|| Disbelief::Broken("a digest or a time is none".to_owned()))?;
    let sessions = Sessions::restore(sessions).ok_or_else(|| Disbelief::Broken("a session twice".to_owned()))?;
    Ok((document.key, sessions))
}

fn record(session: &Session) -> Record {
    Record {
        digest: hex(&session.digest),
        remember: session.remember,
        opened: unix_seconds(session.opened),
        seen: unix_seconds(session.seen),
        ends: unix_seconds(session.ends),
        peer: session.peer,
        agent: session.agent.clone(),
    }
}

fn session(record: &Record) -> Option<Session> {
    let time = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    Some(Session {
        digest: unhex(&record.digest)?,
        remember: record.remember,
        opened: time(record.opened)?,
        seen: time(record.seen)?,
        ends: time(record.ends)?,
        peer: record.peer,
        agent: printable(&record.agent),
    })
}

/// Seconds since 1970.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    whole_seconds(time).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes.filter(|_| odd.is_empty())?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::sessions::{Guest, Lifetimes};
    use super::*;
    use crate::secret::Secret;

    fn two() -> Sessions {
        let lifetimes = Lifetimes { remembered: Duration::from_secs(2_592_000), browser: Duration::from_secs(43_200) };
        let mut sessions = Sessions::default();
        for (id, remember, agent) in [(1, true, "Firefox\u{1b}[31m \u{202e}"), (2, false, "")] {
            let guest = Guest { remember, peer: "2001:db8::1".parse().unwrap(), agent: agent.to_owned() };
            let at = UNIX_EPOCH + Duration::from_millis(1_800_000_000_999);
            sessions.open(&Secret::new([id; 32]), &guest, at, lifetimes);
        }
        sessions
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for sessions in [Sessions::default(), two()] {
            let text = render("aa", &sessions).unwrap();
            assert_eq!(parse(&text, Some("aa")), Ok(("aa".to_owned(), sessions.clone())));
            assert_eq!(parse(&text, None), Ok(("aa".to_owned(), sessions)));
            assert_eq!(parse(&text, Some("ab")), Err(Disbelief::OtherKey));
        }
    }

    #[test]
    fn no_id_is_in_it() {
        let text = String::from_utf8(render("aa", &two()).unwrap()).unwrap();
        assert!(text.contains(&hex(&super::super::sessions::digest(&Secret::new([1; 32])))), "{text}");
        assert!(!text.contains(&hex(&[1; 32])) && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn what_is_damaged_holds_no_session() {
        let text = String::from_utf8(render("aa", &two()).unwrap()).unwrap();
        let digest = hex(&super::super::sessions::digest(&Secret::new([1; 32])));
        let other = hex(&super::super::sessions::digest(&Secret::new([2; 32])));
        let table = [
            (String::new(), "empty"),
            ("null".to_owned(), "no object"),
            (text.replace("true", "1"), "a number for a flag"),
            (text.replace(&digest, &digest.replacen(['0', '1', '2', '3', '4'], "g", 1)), "no hex digit"),
            (text.replace(&digest, digest.split_at(62).0), "a short digest"),
            (text.replace(&digest, &format!("{digest}0")), "an odd digest"),
            (text.replace(&digest, &other), "one twice"),
            (text.replace("1800000000", "18446744073709551615"), "a time past the calendar"),
            (text.replace("1800000000", "-1"), "a time below zero"),
            (text.replace("2001:db8::1", "somewhere"), "no address"),
            (text.replace("\"agent\"", "\"agents\""), "an unknown key"),
            (format!("{text}x"), "something behind it"),
        ];
        for (text, what) in table {
            let parsed = parse(text.as_bytes(), Some("aa"));
            assert!(matches!(parsed, Err(Disbelief::Broken(_))), "{what}: {parsed:?}");
        }
        for end in 0..text.len() - 2 {
            let parsed = parse(&text.as_bytes()[..end], Some("aa"));
            assert!(matches!(parsed, Err(Disbelief::Broken(_))), "cut at {end}: {parsed:?}");
        }
        let newer = br#"{"version": 2, "sessions": {}}"#;
        assert_eq!(parse(newer, Some("aa")), Err(Disbelief::Version(2)));
    }
}
