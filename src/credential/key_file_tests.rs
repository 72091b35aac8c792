//! Tests of the key file: who may own it, what it may be, that it is replaced whole.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::os::users::effective_uid;

const PHC: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$ddQf2bCkNDEaC12YFIvCPCGVpVAdCqEIkSfQrOGRJOs";
const STRONG: &str = "6f1d2a9c0b7e4835d1c6f0a89b3e7254c8d90f1e6a2b5374e0f9d8c7b6a51423";

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn file_with(content: &[u8], mode: u32) -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    Place { _directory: directory, path }
}

fn read_mine(path: &Path) -> Result<Phc, KeyFileError> {
    read(path, &[effective_uid()])
}

#[test]
fn what_was_written_is_read_back_by_its_owner_only() {
    let place = file_with(b"old", 0o644);
    let key = Secret::new(STRONG.as_bytes().to_vec());
    write(&place.path, &Phc::hash(&key).unwrap(), None).unwrap();
    assert_eq!(fs::metadata(&place.path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(read_mine(&place.path).unwrap().verify(&key));
    assert!(!fs::read_to_string(&place.path).unwrap().contains(STRONG));
}

#[test]
fn every_bit_for_group_or_others_is_refused_and_the_owners_are_not() {
    for bit in 0..9 {
        let mode = 0o600 | 1 << bit;
        let place = file_with(PHC.as_bytes(), mode);
        match read_mine(&place.path) {
            Err(error @ KeyFileError::OpenToOthers { .. }) if bit < 6 => {
                let told = error.to_string();
                assert!(told.contains(&format!("{mode:04o}")) && told.contains("chmod 600"), "{told}");
            }
            Ok(_) if bit >= 6 => {}
            other => panic!("{mode:o}: {other:?}"),
        }
    }
}

#[test]
fn a_credential_may_show_the_group_bits_of_an_access_list_and_nothing_more() {
    for mode in [0o400, 0o440, 0o600, 0o444, 0o460, 0o404, 0o450] {
        let place = file_with(PHC.as_bytes(), mode);
        let read = read_credential(&place.path, &[effective_uid()]);
        assert_eq!(read.is_ok(), matches!(mode, 0o400 | 0o440), "{mode:o}: {read:?}");
    }
}

#[test]
fn a_file_that_is_closed_to_the_guard_is_told_with_the_cure() {
    let denied = io::ErrorKind::PermissionDenied.into();
    let told = explain(Path::new("/etc/comfy-guard/key"), &[Uid::ROOT, Uid(3_999_999_001)], denied).to_string();
    assert!(told.contains("chown 3999999001 /etc/comfy-guard/key"), "{told}");
}

#[test]
fn links_are_refused() {
    let place = file_with(PHC.as_bytes(), 0o600);
    let (soft, hard) = (place.path.with_file_name("soft"), place.path.with_file_name("hard"));
    std::os::unix::fs::symlink(&place.path, &soft).unwrap();
    assert!(matches!(read_mine(&soft), Err(KeyFileError::Symlink { .. })));
    fs::hard_link(&place.path, &hard).unwrap();
    assert!(matches!(read_mine(&hard), Err(KeyFileError::HardLinks { links: 2, .. })));
    assert!(matches!(read_mine(&place.path), Err(KeyFileError::HardLinks { .. })));
    fs::remove_file(&hard).unwrap();
    assert!(read_mine(&place.path).is_ok());
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let place = file_with(PHC.as_bytes(), 0o600);
    let fifo = place.path.with_file_name("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert!(matches!(read_mine(&fifo), Err(KeyFileError::NotRegular { found: Kind::Fifo, .. })));
    assert!(matches!(
        read_mine(place.path.parent().unwrap()),
        Err(KeyFileError::NotRegular { found: Kind::Directory, .. })
    ));
    assert!(matches!(read_mine(Path::new("/dev/null")), Err(KeyFileError::NotRegular { found: Kind::Other, .. })));
    assert!(matches!(read_mine(&place.path.with_file_name("none")), Err(KeyFileError::Missing { .. })));
}

#[test]
fn another_owner_is_refused_and_named() {
    let place = file_with(PHC.as_bytes(), 0o600);
    let stranger = Uid(effective_uid().0 + 54_321);
    let told = read(&place.path, &[stranger]).unwrap_err();
    assert!(matches!(told, KeyFileError::WrongOwner { found, .. } if found == effective_uid()));
    assert!(told.to_string().contains(&format!("chown {stranger} ")), "{told}");
    assert!(read(&place.path, &[effective_uid(), stranger]).is_ok());
    assert!(matches!(read(&place.path, &[]), Err(KeyFileError::WrongOwner { .. })));
    if effective_uid().is_root() {
        write(&place.path, &Phc::parse(PHC).unwrap(), Some((stranger, Gid(0)))).unwrap();
        assert!(matches!(read_mine(&place.path), Err(KeyFileError::WrongOwner { found, .. }) if found == stranger));
        assert!(read(&place.path, &[stranger]).is_ok());
    }
}

#[test]
fn content_that_is_no_hash_never_opens_anything() {
    let judged = |content: &[u8]| read_mine(&file_with(content, 0o600).path).map(drop);
    for blank in [&b""[..], b"\n", b"\r\n", b"  \t \n", b"\n\n\n"] {
        assert!(matches!(judged(blank), Err(KeyFileError::Empty { .. })), "{blank:?}");
    }
    assert!(matches!(judged(&[b'x'; 4097]), Err(KeyFileError::TooLarge { .. })));
    assert!(matches!(judged(format!("{PHC}\n{PHC}\n").as_bytes()), Err(KeyFileError::ManyLines { .. })));
    assert!(matches!(judged(format!("{PHC}\n\n").as_bytes()), Err(KeyFileError::ManyLines { .. })));
    assert!(matches!(judged(STRONG.as_bytes()), Err(KeyFileError::NotPhc { .. })));
    assert!(matches!(judged(b"\xff\xfe"), Err(KeyFileError::NotPhc { .. })));
    assert!(matches!(judged(&PHC.as_bytes()[..60]), Err(KeyFileError::NotPhc { .. })));
    for good in [PHC.to_owned(), format!("{PHC}\n"), format!("{PHC}\r\n")] {
        assert!(judged(good.as_bytes()).is_ok());
    }
}

#[test]
fn no_message_shows_what_the_file_holds() {
    let told = read_mine(&file_with(STRONG.as_bytes(), 0o600).path).unwrap_err();
    assert!(!format!("{told} {told:?}").contains(STRONG));
}

#[test]
fn a_plain_key_is_hashed_and_its_line_end_is_no_part_of_it() {
    let given = |content: &str, mode| read_plain_or_phc(&file_with(content.as_bytes(), mode).path, &[effective_uid()]);
    let key = Secret::new(STRONG.as_bytes().to_vec());
    for content in [STRONG.to_owned(), format!("{STRONG}\n"), format!("{STRONG}\r\n")] {
        let given = given(&content, 0o600).unwrap();
        assert!(given.phc.verify(&key));
        assert_eq!(given.weakness, None);
    }
    assert!(given(PHC, 0o600).is_ok());
    assert_eq!(given("abc", 0o600).unwrap().weakness, Some(Weakness::Short { length: 3 }));
    assert!(matches!(given("", 0o600), Err(KeyFileError::Empty { .. })));
    assert!(matches!(given(STRONG, 0o640), Err(KeyFileError::OpenToOthers { .. })));
    assert!(matches!(given(&PHC[..60], 0o600), Err(KeyFileError::NotPhc { .. })));
    assert!(matches!(given(" abc", 0o600), Err(KeyFileError::Unusable { .. })));
    assert!(matches!(given("a\nb", 0o600), Err(KeyFileError::ManyLines { .. })));
}

/// A right file and a wrong one change places all the time: what is read is the right one's content, or an error about the wrong one.
#[test]
fn a_swap_between_check_and_read_changes_nothing() {
    let place = file_with(PHC.as_bytes(), 0o600);
    let directory = place.path.parent().unwrap().to_owned();
    let wrong = PHC.replace("m=19456", "m=19457");
    let stop = AtomicBool::new(false);
    let (mut right_seen, mut wrong_seen) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let spare = directory.join("spare");
            while !stop.load(Ordering::Relaxed) {
                for (content, mode) in [(wrong.as_str(), 0o644), (PHC, 0o600)] {
                    fs::write(&spare, content).unwrap();
                    fs::set_permissions(&spare, fs::Permissions::from_mode(mode)).unwrap();
                    fs::rename(&spare, &place.path).unwrap();
                }
            }
        });
        for _ in 0..20_000 {
            match read_mine(&place.path) {
                Ok(stored) => {
                    assert_eq!(stored.expose(), PHC);
                    right_seen += 1;
                }
                Err(KeyFileError::OpenToOthers { mode: 0o644, .. }) => wrong_seen += 1,
                // Replaced between open and fstat: the old file has no name left, and is still judged by its own mode.
                Err(other) => {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{other:?}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(right_seen > 0 && wrong_seen > 0, "{right_seen} right, {wrong_seen} wrong");
}
