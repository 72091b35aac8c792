//! Tests of files: a replacement that is killed or finds the disk full leaves the old content.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_replaced_file_has_its_mode_and_owner_and_leaves_no_temporary() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    for (content, mode) in [("first", 0o600), ("second", 0o644), ("", 0o400)] {
        replace(&path, content.as_bytes(), mode, None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
    }
    assert_eq!(names_in(directory.path()), ["key"]);
}

#[test]
fn a_link_is_replaced_and_its_target_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let (path, target) = (directory.path().join("key"), directory.path().join("target"));
    fs::write(&target, "keep").unwrap();
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert!(is_symlink_refusal(&open(&path, Links::Refuse).unwrap_err()));
    assert_eq!(open(&path, Links::Follow).unwrap().1.kind, Kind::Regular);
    replace(&path, b"new", 0o600, None).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "keep");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    fs::create_dir(&path).unwrap();
    assert!(replace(&path, b"new", 0o600, None).is_err());
    assert_eq!(names_in(directory.path()), ["key"]);
    assert!(replace(&directory.path().join("missing/key"), b"new", 0o600, None).is_err());
    assert!(replace(Path::new("/"), b"new", 0o600, None).is_err());
}

#[test]
fn only_old_temporaries_of_this_file_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (old, fresh, others) = (".key.0123456789abcdef.new", ".key.fedcba9876543210.new", ".key.backup.new");
    for name in [old, fresh, others] {
        fs::write(at(name), "left").unwrap();
    }
    let hours_ago = SystemTime::now() - Duration::from_secs(7200);
    for name in [old, others] {
        File::options().write(true).open(at(name)).unwrap().set_modified(hours_ago).unwrap();
    }
    replace(&at("key"), b"new", 0o600, None).unwrap();
    assert_eq!(names_in(directory.path()), [others, fresh, "key"]);
}

#[test]
fn a_read_is_bounded() {
    assert_eq!(read_at_most(&mut &b"12345"[..], 5).unwrap().unwrap().as_slice(), b"12345");
    assert!(read_at_most(&mut &b"123456"[..], 5).unwrap().is_none());
    assert!(read_at_most(&mut io::repeat(b'x'), 4096).unwrap().is_none());
    assert_eq!(read_at_most(&mut io::empty(), 5).unwrap().unwrap().len(), 0);
}

#[test]
fn opening_a_fifo_or_a_directory_does_not_wait_and_shows_it() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    unistd::mkfifo(&fifo, Mode::S_IRUSR).unwrap();
    assert_eq!(open(&fifo, Links::Refuse).unwrap().1.kind, Kind::Fifo);
    assert_eq!(open(directory.path(), Links::Refuse).unwrap().1.kind, Kind::Directory);
    assert_eq!(open(Path::new("/dev/null"), Links::Refuse).unwrap().1.kind, Kind::Other);
}

#[test]
fn a_private_directory_is_made_or_taken_over_while_empty_and_else_only_judged() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let deep = at("a/b/state");
    private_directory(&deep, None).unwrap();
    private_directory(&deep, None).unwrap();
    assert_eq!(mode(&deep), 0o700);

    let open = at("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(open.join("somebodys"), "").unwrap();
    let told = private_directory(&open, None).unwrap_err().to_string();
    assert!(told.contains("0777") && told.contains("chmod 700"), "{told}");
    assert_eq!(mode(&open), 0o777);
    fs::remove_file(open.join("somebodys")).unwrap();
    private_directory(&open, None).unwrap();
    assert_eq!(mode(&open), 0o700);

    fs::write(at("file"), "").unwrap();
    assert!(private_directory(&at("file"), None).is_err());
    if effective_uid().is_root() {
        let (first, second) = (Some((Uid(54_321), Gid(54_321))), Some((Uid(54_322), Gid(54_322))));
        private_directory(&open, first).unwrap();
        assert_eq!((fs::metadata(&open).unwrap().uid(), mode(&open)), (54_321, 0o700));
        assert!(private_directory(&open, second).is_err());
        fs::write(deep.join("content"), "").unwrap();
        assert!(private_directory(&deep, first).is_err());
        assert_eq!(fs::metadata(&deep).unwrap().uid(), 0);
    }
}

#[test]
fn every_change_changes_the_signature() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    assert_eq!(signature(&path), None);
    replace(&path, b"one", 0o600, None).unwrap();
    let first = signature(&path);
    assert!(first.is_some());
    assert_eq!(first, signature(&path));
    replace(&path, b"two", 0o600, None).unwrap();
    let second = signature(&path);
    assert_ne!(first, second);
    // Another content of the same length, written in place, with the old time put back: ctime tells.
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(&path, "six").unwrap();
    File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_ne!(second, signature(&path));
}

/// Set: this process is the child of a test, and writes for ever to the file named in it.
const WRITER: &str = "COMFY_GUARD_TEST_WRITER";

const OLD: u8 = b'a';
const NEW: u8 = b'b';
const LENGTH: usize = 3000;

#[test]
fn writer_child() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    loop {
        for content in [NEW, OLD] {
            replace(Path::new(&path), &[content; LENGTH], 0o600, None).unwrap();
        }
    }
}

#[test]
fn a_writer_killed_at_any_point_leaves_one_whole_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    replace(&path, &[OLD; LENGTH], 0o600, None).unwrap();
    for round in 0..40u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "os::files::tests::writer_child"])
            .env(WRITER, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = signature(&path);
        let patience = std::time::Instant::now();
        while signature(&path) == before && patience.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(random_number().unwrap() % 5000));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_ne!(signature(&path), before, "round {round}: the child wrote nothing");

        let content = fs::read(&path).unwrap();
        assert!(content == [OLD; LENGTH] || content == [NEW; LENGTH], "round {round}: {} bytes", content.len());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    // The temporaries that the kills left are in nobody's way.
    replace(&path, b"after", 0o600, None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"after");
}

/// Set: this process is the child of a test, in a mount namespace of its own.
const FULL_DISK: &str = "COMFY_GUARD_TEST_FULL_DISK";

#[test]
fn full_disk_child() {
    let Some(directory) = std::env::var_os(FULL_DISK).map(PathBuf::from) else { return };
    let path = directory.join("key");
    replace(&path, b"the old key", 0o600, None).unwrap();
    let filler = directory.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let refused = replace(&path, &[NEW; LENGTH], 0o600, None).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(fs::read(&path).unwrap(), b"the old key");
    assert_eq!(names_in(&directory), ["filler", "key"]);
    fs::remove_file(&filler).unwrap();
    replace(&path, b"the new key", 0o600, None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"the new key");
}

#[test]
#[allow(clippy::print_stderr)]
fn a_full_disk_leaves_the_old_file() {
    if !unistd::geteuid().is_root() {
        eprintln!("NOT RUN: a_full_disk_leaves_the_old_file needs root (it mounts a small file system)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=64k tmpfs "$COMFY_GUARD_TEST_FULL_DISK" && exec "$0" --exact os::files::tests::full_disk_child"#;
    let ended = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FULL_DISK, directory.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&ended.stderr));
}
