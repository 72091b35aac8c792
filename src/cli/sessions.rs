//! `comfy-guard sessions`: shows the browsers that are signed in and signs them out.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use clap::Args as ClapArgs;
use clap::Subcommand;
use serde::Serialize;
use time::OffsetDateTime;

use crate::cli::settings::settings;
use crate::cli::verify_key::owners;
use crate::cli::{Exit, Failure, Global};
use crate::config::Config;
use crate::credential::key_file;
use crate::credential::session_file::{Disbelief, SessionError};
use crate::credential::session_store::SessionStore;
use crate::credential::session_text::unix_seconds;
use crate::credential::sessions::{Lifetimes, NameError, Session, Sessions};
use crate::os::users::{self, Gid, Uid};

/// Show the browsers that are signed in, and sign them out
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show them; times are UTC
    List {
        /// As JSON, times in seconds since 1970
        #[arg(long)]
        json: bool,
    },
    /// End one: its pages, streams and WebSockets are cut within a second, and its cookie is worthless
    End {
        /// The 12 hexadecimal digits that `sessions list` shows
        #[arg(value_name = "ID")]
        id: String,
    },
    /// End all
    EndAll,
}

/// Carries the command out. It works on the file: a guard that runs notices, one that does not need not run.
pub(crate) fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let config = settings(global)?;
    let now = SystemTime::now();
    let owner = owner(&config);
    let mut store = SessionStore::open_of_any_key(&config.state.directory, owner, Lifetimes::of(&config.auth), now)
        .map_err(failed)?;
    remark(&config, &store, now);
    match &args.what {
        What::List { json: true } => print(&json(store.sessions())?),
        What::List { json: false } => print(&table(store.sessions())),
        What::End { id } => end(&mut store, id, now),
        What::EndAll => end_all(&mut store, now),
    }
}

/// Why the list may not be what the person thinks it is.
fn remark(config: &Config, store: &SessionStore, now: SystemTime) {
    let key_file = &config.auth.key_file;
    if let Some(reason) = store.disbelief() {
        eprintln!("note: no session is taken from {}: {reason}", store.path().display());
    }
    let empty = store.sessions().len() == 0;
    if empty && !key_file.exists() {
        eprintln!(
            "note: no key is set ({} is missing), so nobody can sign in; set one with `comfy-guard set-key`",
            key_file.display()
        );
    }
    let Ok(stored) = key_file::read(key_file, &owners(config)) else { return };
    let of_key = SessionStore::open(&config.state.directory, &stored, owner(config), Lifetimes::of(&config.auth), now);
    if !empty && of_key.is_ok_and(|store| store.disbelief() == Some(&Disbelief::OtherKey)) {
        eprintln!(
            "note: these sessions were opened by another key than the one in {}; they hold only in a guard that was started with that key",
            key_file.display()
        );
    }
}

fn end(store: &mut SessionStore, id: &str, now: SystemTime) -> Result<(), Failure> {
    let refused = |error: NameError| Failure::new(Exit::Data, error);
    // Where there is none, there may be no state directory to hold a lock in either.
    if store.sessions().len() == 0 {
        return Sessions::default().end_named(id).map(drop).map_err(refused);
    }
    let ended = store.change(now, |sessions| sessions.end_named(id)).map_err(failed)?.map_err(refused)?;
    eprintln!("Session {} of {} has ended.", ended.name(), ended.peer);
    Ok(())
}

fn end_all(store: &mut SessionStore, now: SystemTime) -> Result<(), Failure> {
    let count = match store.sessions().len() {
        0 => 0,
        _ => store.change(now, Sessions::end_all).map_err(failed)?,
    };
    match count {
        0 => eprintln!("There was no session."),
        1 => eprintln!("The one session has ended."),
        _ => eprintln!("All {count} sessions have ended."),
    }
    Ok(())
}

/// Whose the files stay when root changes them: the owner of the state directory, whoever runs the guard.
fn owner(config: &Config) -> Option<(Uid, Gid)> {
    let directory = std::fs::metadata(&config.state.directory).ok()?;
    users::effective_uid().is_root().then_some((Uid(directory.uid()), Gid(directory.gid())))
}

fn failed(error: SessionError) -> Failure {
    let denied = |source: &io::Error| source.kind() == io::ErrorKind::PermissionDenied;
    match &error {
        SessionError::Lock { source, .. }
        | SessionError::Unreadable { source, .. }
        | SessionError::Unwritable { source, .. }
            if denied(source) =>
        {
            Failure::new(Exit::NoPermission, format!("{error}; run this as root or as the guard's user"))
        }
        SessionError::Unreadable { .. } => Failure::new(Exit::NoInput, error),
        SessionError::Busy { .. } | SessionError::NoKey => Failure::new(Exit::Unavailable, error),
        SessionError::Lock { .. } | SessionError::Unwritable { .. } => Failure::new(Exit::CannotCreate, error),
        SessionError::Random(_) => Failure::new(Exit::System, error),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::CannotCreate, format!("cannot print the sessions: {error}")))
}

const HEADINGS: [&str; 7] = ["ID", "OPENED", "LAST SEEN", "ENDS", "REMEMBER", "ADDRESS", "BROWSER"];

/// Columns as wide as their widest cell; the last one, which a guest chose, ends the line.
fn table(sessions: &Sessions) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(sessions.iter().map(cells));
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |row: &[String; HEADINGS.len()]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn cells(session: &Session) -> [String; HEADINGS.len()] {
    [
        session.name(),
        minute(session.opened),
        minute(session.seen),
        minute(session.ends),
        if session.remember { "yes" } else { "no" }.to_owned(),
        session.peer.to_string(),
        session.agent.clone(),
    ]
}

/// `2026-01-31 12:00`, UTC.
fn minute(time: SystemTime) -> String {
    let at = i64::try_from(unix_seconds(time)).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let Some(at) = at else { return "?".to_owned() };
    format!("{:04}-{:02}-{:02} {:02}:{:02}", at.year(), u8::from(at.month()), at.day(), at.hour(), at.minute())
}

/// A session for a program.
#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    opened: u64,
    last_seen: u64,
    ends: u64,
    remember: bool,
    address: std::net::IpAddr,
    user_agent: &'a str,
}

fn shown(session: &Session) -> Shown<'_> {
    Shown {
        id: session.name(),
        opened: unix_seconds(session.opened),
        last_seen: unix_seconds(session.seen),
        ends: unix_seconds(session.ends),
        remember: session.remember,
        address: session.peer,
        user_agent: &session.agent,
    }
}

fn json(sessions: &Sessions) -> Result<String, Failure> {
    let list: Vec<Shown<'_>> = sessions.iter().map(shown).collect();
    let text = serde_json::to_string_pretty(&list)
        .map_err(|error| Failure::new(Exit::Software, format!("the sessions cannot be written as JSON: {error}")))?;
    Ok(format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::time::Duration;

    use super::*;
    use crate::credential::sessions::Guest;
    use crate::secret::Secret;

    fn two() -> Sessions {
        let lifetimes = Lifetimes { remembered: Duration::from_secs(2_592_000), browser: Duration::from_secs(43_200) };
        let mut sessions = Sessions::default();
        for (id, remember, peer, agent) in
            [(1, true, "192.0.2.7", "Mozilla/5.0 \u{1b}[2J"), (2, false, "2001:db8::1234", "")]
        {
            let guest = Guest { remember, peer: peer.parse().unwrap(), agent: agent.to_owned() };
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800);
            sessions.open(&Secret::new([id; 32]), &guest, at, lifetimes);
        }
        sessions
    }

    #[test]
    fn a_person_reads_a_table() {
        let names: Vec<String> = two().iter().map(Session::name).collect();
        let expected = format!(
            "ID            OPENED            LAST SEEN         ENDS              REMEMBER  ADDRESS         BROWSER\n\
             {}  2026-01-31 12:00  2026-01-31 12:00  2026-03-02 12:00  yes       192.0.2.7       Mozilla/5.0 ?[2J\n\
             {}  2026-01-31 12:00  2026-01-31 12:00  2026-02-01 00:00  no        2001:db8::1234\n",
            names[0], names[1]
        );
        assert_eq!(table(&two()), expected);
        assert_eq!(table(&Sessions::default()).lines().count(), 1);
    }

    #[test]
    fn a_program_reads_json() {
        let parsed: serde_json::Value = serde_json::from_str(&json(&two()).unwrap()).unwrap();
        assert_eq!(parsed[0]["ends"], 1_769_860_800 + 2_592_000);
        assert_eq!(parsed[1]["remember"], false);
        assert_eq!(parsed[1]["address"], "2001:db8::1234");
        assert_eq!(parsed[0]["id"].as_str().unwrap().len(), 12);
        assert_eq!(json(&Sessions::default()).unwrap(), "[]\n");
    }

    #[test]
    fn times_out_of_the_calendar_are_shown_as_such() {
        assert_eq!(minute(SystemTime::UNIX_EPOCH), "1970-01-01 00:00");
        assert_eq!(minute(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60)), "?");
    }
}
