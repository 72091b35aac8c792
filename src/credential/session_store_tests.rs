//! The store, with real files, locks and a full disk.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::super::session_file::LOCK;
use super::*;
use crate::os::users::effective_uid;
use crate::os::{files, lock};

const LIFETIMES: Lifetimes =
    Lifetimes { remembered: Duration::from_secs(30 * 86_400), browser: Duration::from_secs(43_200) };

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// A key's hash with this salt; made without argon2's work.
fn key(salt: &str) -> Phc {
    let text = format!("$argon2id$v=19$m=19456,t=2,p=1${salt}$ddQf2bCkNDEaC12YFIvCPCGVpVAdCqEIkSfQrOGRJOs");
    Phc::parse(&text).unwrap()
}

fn first_key() -> Phc {
    key("c29tZXNhbHRzb21lc2FsdA")
}

fn other_key() -> Phc {
    key("b3RoZXJzYWx0b3RoZXJzYQ")
}

fn guest(remember: bool) -> Guest {
    Guest { remember, peer: "192.0.2.7".parse().unwrap(), agent: "Mozilla/5.0".to_owned() }
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> SessionStore {
        self.store_at(0)
    }

    fn store_at(&self, seconds: u64) -> SessionStore {
        SessionStore::open(self.0.path(), &first_key(), None, LIFETIMES, at(seconds)).unwrap()
    }

    fn of_any_key(&self) -> SessionStore {
        SessionStore::open_of_any_key(self.0.path(), None, LIFETIMES, at(0)).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("sessions.json")
    }

    /// The file is gone, and none can be put in its place.
    fn block(&self) {
        fs::remove_file(self.file()).ok();
        fs::create_dir(self.file()).unwrap();
        fs::write(self.file().join("in the way"), "").unwrap();
    }

    fn unblock(&self, content: &[u8]) {
        fs::remove_dir_all(self.file()).unwrap();
        files::replace(&self.file(), content, 0o600, None).unwrap();
    }
}

fn open(store: &mut SessionStore, remember: bool) -> Digest {
    store.open_session(&guest(remember), at(0)).unwrap().1.digest
}

#[test]
fn sessions_outlive_the_process_that_opened_them() {
    let place = Place::new();
    let mut store = place.store();
    let (id, session) = store.open_session(&guest(true), at(0)).unwrap();
    assert_eq!(super::super::sessions::digest(&id), session.digest);
    let another = store.open_session(&guest(false), at(0)).unwrap().0;
    assert!(id != another);
    assert_eq!(place.store().sessions(), store.sessions());
    assert_eq!(place.store().find(&session.digest, at(1)), Some(&session));
    assert_eq!(fs::metadata(place.file()).unwrap().permissions().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(place.file()).unwrap();
    assert!(!text.contains(&super::super::sessions::hex(id.expose())) && !text.contains("argon2"), "{text}");
}

#[test]
fn another_key_has_no_session() {
    let place = Place::new();
    let digest = open(&mut place.store(), true);
    let with = |key: Phc| SessionStore::open(place.0.path(), &key, None, LIFETIMES, at(0)).unwrap();
    assert!(with(other_key()).find(&digest, at(1)).is_none());
    assert!(with(first_key()).find(&digest, at(1)).is_some(), "looking changes nothing");
    open(&mut with(other_key()), true);
    assert!(with(first_key()).find(&digest, at(1)).is_none(), "the file is the other key's now");
}

#[test]
fn a_new_key_ends_all_for_good() {
    let place = Place::new();
    let mut store = place.store();
    let digest = open(&mut store, true);
    store.rekey(&first_key(), at(1)).unwrap();
    assert!(store.find(&digest, at(1)).is_some());
    store.rekey(&other_key(), at(1)).unwrap();
    assert!(store.find(&digest, at(1)).is_none());
    assert_eq!(store.take_ended(), [digest]);
    assert!(place.store().find(&digest, at(1)).is_none(), "the old key put back does not bring it back");
}

#[test]
fn what_one_process_ends_the_other_learns() {
    let place = Place::new();
    let mut guard = place.store();
    let [one, two, three] = [(); 3].map(|()| open(&mut guard, true));
    assert_eq!(guard.reload(at(1)).unwrap(), Vec::<Digest>::new());
    let mut person = place.of_any_key();
    assert!(person.end(&one, at(1)).unwrap() && !person.end(&one, at(1)).unwrap());
    assert!(guard.find(&one, at(1)).is_some(), "not yet");
    assert_eq!(guard.reload(at(1)).unwrap(), [one]);
    assert!(guard.find(&one, at(1)).is_none());
    // Learnt on the way of a change of one's own, told all the same.
    person.end(&two, at(1)).unwrap();
    let four = open(&mut guard, true);
    assert_eq!(guard.reload(at(1)).unwrap(), [two]);
    assert_eq!(person.change(at(1), Sessions::end_all).unwrap(), 2);
    let mut ended = guard.reload(at(1)).unwrap();
    ended.sort_unstable();
    let mut expected = [three, four];
    expected.sort_unstable();
    assert_eq!(ended, expected);
    assert_eq!(guard.reload(at(1)).unwrap(), Vec::<Digest>::new());
}

#[test]
fn a_session_ended_elsewhere_is_not_prolonged() {
    let place = Place::new();
    let mut guard = place.store();
    let digest = open(&mut guard, true);
    place.of_any_key().end(&digest, at(1)).unwrap();
    assert_eq!(guard.slide(&digest, at(3_600)), Slide::Gone);
    assert_eq!(guard.take_ended(), [digest]);
}

#[test]
fn processes_that_change_at_once_lose_nothing() {
    let place = Place::new();
    let doomed: Vec<Digest> = (0..10).map(|_| open(&mut place.store(), true)).collect();
    let opened = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut store = place.store();
                    (0..10).map(|_| open(&mut store, true)).collect::<Vec<_>>()
                })
            })
            .collect();
        let ender = scope.spawn(|| {
            let mut store = place.of_any_key();
            doomed.iter().for_each(|digest| assert!(store.end(digest, at(1)).unwrap()));
        });
        ender.join().unwrap();
        openers.into_iter().flat_map(|opener| opener.join().unwrap()).collect::<Vec<_>>()
    });
    let store = place.store();
    assert_eq!(store.sessions().len(), 30);
    assert!(opened.iter().all(|digest| store.sessions().contains(digest)));
}

#[test]
fn a_use_is_written_only_when_the_last_was_ten_minutes_ago() {
    let place = Place::new();
    let mut store = place.store();
    let digest = open(&mut store, true);
    let written = || files::signature(&place.file());
    let before = written();
    for seconds in [0, 1, 300, 599] {
        assert_eq!(store.slide(&digest, at(seconds)), Slide::Fresh);
    }
    assert_eq!(written(), before);
    assert_eq!(store.slide(&digest, at(600)), Slide::Noted);
    assert_ne!(written(), before);
    assert_eq!(place.store_at(600).find(&digest, at(600)).unwrap().ends, at(600 + 30 * 86_400));
}

#[test]
fn what_has_ended_by_time_leaves_the_file_and_is_told() {
    let place = Place::new();
    let mut store = place.store();
    let [remembered, browser] = [true, false].map(|remember| open(&mut store, remember));
    let before = files::signature(&place.file());
    store.expire(at(43_199)).unwrap();
    assert_eq!(files::signature(&place.file()), before, "nothing to write");
    assert!(store.find(&browser, at(43_200)).is_none());
    store.expire(at(43_200)).unwrap();
    assert_eq!(store.take_ended(), [browser]);
    let text = fs::read_to_string(place.file()).unwrap();
    let hex = super::super::sessions::hex;
    assert!(text.contains(&hex(&remembered)) && !text.contains(&hex(&browser)), "{text}");
}

#[test]
fn a_file_that_somebody_else_can_have_written_holds_no_session() {
    type Spoil = fn(&Path);
    let table: [(&str, Spoil); 8] = [
        ("open to the group", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap()),
        ("writable by others", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o602)).unwrap()),
        ("two names", |file| fs::hard_link(file, file.with_extension("twin")).unwrap()),
        ("a link", |file| {
            fs::rename(file, file.with_extension("real")).unwrap();
            symlink(file.with_extension("real"), file).unwrap();
        }),
        ("a pipe", |file| {
            fs::remove_file(file).unwrap();
            assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(file).status().unwrap().success());
        }),
        ("too large", |file| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, format!("{text}{}", " ".repeat(1 << 20))).unwrap();
        }),
        ("cut", |file| fs::write(file, &fs::read(file).unwrap()[..100]).unwrap()),
        ("another version", |file| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, text.replace("\"version\": 1", "\"version\": 2")).unwrap();
        }),
    ];
    for (what, spoil) in table {
        let place = Place::new();
        let mut guard = place.store();
        let digest = open(&mut guard, true);
        spoil(&place.file());
        assert_eq!(place.store().sessions().len(), 0, "{what}");
        assert_eq!(place.of_any_key().change(at(1), Sessions::end_all).unwrap(), 0, "{what}");
        assert_eq!(guard.reload(at(1)).unwrap(), [digest], "{what}");
        let next = open(&mut guard, true);
        assert!(place.store().sessions().contains(&next), "{what}: overwritten by the next session");
        assert_eq!(place.store().sessions().len(), 1, "{what}");
        assert_eq!(fs::symlink_metadata(place.file()).unwrap().permissions().mode() & 0o7777, 0o600, "{what}");
    }
}

#[test]
fn a_file_of_another_owner_holds_no_session() {
    if !effective_uid().is_root() {
        return;
    }
    let place = Place::new();
    let digest = open(&mut place.store(), true);
    std::os::unix::fs::chown(place.file(), Some(4242), Some(4242)).unwrap();
    assert!(!place.store().sessions().contains(&digest));
    let owner = Some((Uid(4242), Gid(4242)));
    let mut owned = SessionStore::open(place.0.path(), &first_key(), owner, LIFETIMES, at(0)).unwrap();
    assert!(owned.sessions().contains(&digest), "root may read what the service's user wrote");
    open(&mut owned, true);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(place.file()).unwrap().uid(), 4242, "and leaves it to that user");
}

#[test]
fn a_session_that_cannot_be_written_is_none_and_others_go_on() {
    let place = Place::new();
    let mut store = place.store();
    let digest = open(&mut store, true);
    place.block();
    let told = store.open_session(&guest(true), at(0)).map(drop).unwrap_err();
    assert!(matches!(told, SessionError::Unwritable { .. }), "{told}");
    assert_eq!(store.sessions().len(), 1);
    assert_eq!(store.slide(&digest, at(3_600)), Slide::Noted);
    assert_eq!(store.slide(&digest, at(3_601)), Slide::Fresh, "no second try at once");
    assert!(store.find(&digest, at(3_600)).is_some());
    assert_eq!(store.take_ended(), Vec::<Digest>::new());
}

#[test]
fn an_end_that_cannot_be_written_is_one_and_is_written_later() {
    let place = Place::new();
    let mut store = place.store();
    let [stays, ends, lapses] = [true, true, false].map(|remember| open(&mut store, remember));
    let content = fs::read(place.file()).unwrap();
    place.block();
    assert!(store.end(&ends, at(1)).is_err());
    assert!(store.find(&ends, at(1)).is_none() && store.find(&stays, at(1)).is_some());
    assert_eq!(store.take_ended(), [ends]);
    assert!(store.expire(at(43_200)).is_err());
    assert_eq!(store.take_ended(), [lapses], "time ends sessions on a full disk too");
    place.unblock(&content);
    assert_eq!(store.reload(at(43_200)).unwrap(), Vec::<Digest>::new());
    assert!(store.find(&ends, at(43_200)).is_none(), "the old file does not bring it back");
    store.expire(at(43_200)).unwrap();
    let after = place.store();
    assert!(after.sessions().contains(&stays) && !after.sessions().contains(&ends));
}

#[test]
fn all_end_at_once_also_when_that_cannot_be_written() {
    let place = Place::new();
    let mut store = place.store();
    let first = [open(&mut store, true), open(&mut store, false)];
    assert_eq!(store.end_every(at(1)).unwrap(), 2);
    assert_eq!(BTreeSet::from_iter(store.take_ended()), BTreeSet::from(first));
    assert_eq!(place.store().sessions().len(), 0);
    let last = open(&mut store, true);
    let content = fs::read(place.file()).unwrap();
    place.block();
    assert!(store.end_every(at(2)).is_err());
    assert_eq!(store.take_ended(), [last]);
    place.unblock(&content);
    store.expire(at(3)).unwrap();
    assert_eq!(place.store().sessions().len(), 0, "written later");
}

#[test]
fn a_lock_that_is_never_let_go_stops_nobody_for_long() {
    let place = Place::new();
    let mut store = place.store();
    let digest = open(&mut store, true);
    let held = lock::take(&place.0.path().join(LOCK), None, Duration::ZERO).unwrap();
    let started = Instant::now();
    let told = store.open_session(&guest(true), at(0)).map(drop).unwrap_err();
    assert!(matches!(told, SessionError::Busy { .. }), "{told}");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(store.find(&digest, at(0)).is_some());
    drop(held);
    open(&mut store, true);
}

#[test]
fn without_a_key_no_session_is_opened() {
    let place = Place::new();
    let told = place.of_any_key().open_session(&guest(true), at(0)).map(drop).unwrap_err();
    assert!(matches!(told, SessionError::NoKey), "{told}");
    assert!(!place.file().exists());
}
