//! Tests of the local CA: made once, renewed in time, believed by a real TLS client.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::super::issue::DAY;
use super::*;

fn wanted(names: &[&str]) -> Names {
    Names::of(names.iter().map(|name| (*name).to_owned()))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_first_start_makes_all_and_the_next_reuses_it() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let names = wanted(&["box", "localhost", "127.0.0.1", "::1"]);
    let first = ensure(state.path(), &names, now).unwrap();
    assert_eq!(first.renewed, Some(Reason::FirstStart));
    assert_eq!(first.identity.chain.len(), 2);
    assert_eq!(first.identity.names, names.texts());
    assert!(first.identity.not_after.duration_since(first.identity.not_before).unwrap() <= LEAF_LIFE);
    let places = Places::of(state.path());
    assert_eq!([mode(&places.directory), mode(&places.ca_key), mode(&places.leaf_key)], [0o700, 0o600, 0o600]);

    let second = ensure(state.path(), &names, now + DAY).unwrap();
    assert_eq!(second.renewed, None);
    assert_eq!(second.identity, first.identity);
    let shown = show(state.path()).unwrap();
    assert_eq!(shown.ca_fingerprint, identity::fingerprint(first.identity.chain.last().unwrap()));
    assert_eq!(shown.leaf_fingerprint, Some(first.identity.fingerprint));
}

#[test]
fn the_leaf_is_renewed_for_each_reason_and_the_ca_stays() {
    let state = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let names = wanted(&["box", "localhost"]);
    let first = ensure(state.path(), &names, now).unwrap();
    let ca = identity::load_pem(&Places::of(state.path()).ca, &Places::of(state.path()).ca_key).unwrap();
    let leaf = &first.identity;
    let more = wanted(&["box", "localhost", "10.1.2.3"]);
    let mut of_another = leaf.clone();
    of_another.chain = vec![leaf.chain[0].clone(), leaf.chain[0].clone()];
    let two_thirds = leaf.not_before + LEAF_LIFE * 2 / 3;
    let minute = Duration::from_secs(60);
    let table = [
        ("as made", leaf, &names, now, None),
        ("fewer names wanted", leaf, &wanted(&["box"]), now, None),
        ("a new address", leaf, &more, now, Some(Reason::NamesMissing(vec!["10.1.2.3".to_owned()]))),
        ("just before a third is left", leaf, &names, two_thirds - minute, None),
        ("a third is left", leaf, &names, two_thirds + minute, Some(Reason::LeafEnds)),
        ("long over", leaf, &names, now + LEAF_LIFE * 5, Some(Reason::LeafEnds)),
        ("another CA", &of_another, &names, now, Some(Reason::LeafOfAnotherCa)),
    ];
    for (case, leaf, wanted, at, expected) in table {
        assert_eq!(needs_renewal(leaf, &ca, wanted, at), expected, "{case}");
    }

    let renewed = ensure(state.path(), &more, now).unwrap();
    assert!(matches!(renewed.renewed, Some(Reason::NamesMissing(_))));
    assert_eq!(renewed.identity.chain.last(), first.identity.chain.last());
    assert_ne!(renewed.identity.fingerprint, first.identity.fingerprint);
    assert!(renewed.identity.names.contains(&"10.1.2.3".to_owned()));
}

#[test]
fn a_kill_between_two_files_is_mended() {
    let state = tempfile::tempdir().unwrap();
    let (now, names) = (SystemTime::now(), wanted(&["box"]));
    let first = ensure(state.path(), &names, now).unwrap();
    let places = Places::of(state.path());
    let stranger = issue::make_ca("other", now).unwrap();

    store(&places.leaf_key, &stranger.key, 0o600).unwrap();
    let after = ensure(state.path(), &names, now).unwrap();
    assert!(matches!(&after.renewed, Some(reason @ Reason::LeafBroken(_)) if !reason.is_new_ca()));
    assert_eq!(after.identity.chain.last(), first.identity.chain.last());

    for damage in [Some("not a certificate"), None] {
        match damage {
            Some(text) => fs::write(&places.leaf, text).unwrap(),
            None => fs::remove_file(&places.leaf).unwrap(),
        }
        assert!(matches!(ensure(state.path(), &names, now).unwrap().renewed, Some(Reason::LeafBroken(_))));
    }

    store(&places.ca_key, &stranger.key, 0o600).unwrap();
    let after = ensure(state.path(), &names, now).unwrap();
    assert!(matches!(&after.renewed, Some(reason @ Reason::CaBroken(_)) if reason.is_new_ca()));
    assert_ne!(after.identity.chain.last(), first.identity.chain.last());
    assert_eq!(ensure(state.path(), &names, now).unwrap().renewed, None);
}

#[test]
fn a_ca_that_ends_before_a_leaf_would_is_remade() {
    let state = tempfile::tempdir().unwrap();
    let (now, names) = (SystemTime::now(), wanted(&["box"]));
    ensure(state.path(), &names, now).unwrap();
    let late = ensure(state.path(), &names, now + DAY * 3200).unwrap();
    assert_eq!(late.renewed, Some(Reason::LeafEnds));
    let later = ensure(state.path(), &names, now + DAY * 3300).unwrap();
    assert_eq!(later.renewed, Some(Reason::CaEnds));
}

#[test]
fn what_others_can_touch_is_refused_with_the_cure() {
    let state = tempfile::tempdir().unwrap();
    let (now, names) = (SystemTime::now(), wanted(&["box"]));
    ensure(state.path(), &names, now).unwrap();
    let places = Places::of(state.path());
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&places.directory, 0o755);
    let told = ensure(state.path(), &names, now).unwrap_err();
    assert!(
        matches!(told, AuthorityError::DirectoryOpen { mode: 0o755, .. }) && told.to_string().contains("chmod 700"),
        "{told}"
    );
    set(&places.directory, 0o700);
    for key in [&places.ca_key, &places.leaf_key] {
        set(key, 0o640);
        assert!(matches!(ensure(state.path(), &names, now), Err(AuthorityError::KeyOpen { mode: 0o640, .. })));
        set(key, 0o600);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&places.directory, elsewhere.path().join("tls")).unwrap();
    assert!(matches!(ensure(elsewhere.path(), &names, now), Err(AuthorityError::Directory { .. })));
}

#[test]
fn before_the_first_start_there_is_nothing_to_show() {
    let state = tempfile::tempdir().unwrap();
    assert!(matches!(show(state.path()), Err(AuthorityError::NoneYet { .. })));
}

/// The judge is a TLS client: rustls with the CA as its only root, by name and by address.
#[test]
fn a_client_that_trusts_the_ca_accepts_the_leaf() {
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    let state = tempfile::tempdir().unwrap();
    let made = ensure(state.path(), &wanted(&["box.example", "10.0.0.7", "::1"]), SystemTime::now()).unwrap();
    let trusts = |root: &[u8]| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(root.to_vec())).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
        let leaf = CertificateDer::from(made.identity.chain[0].clone());
        move |name: &str, at: UnixTime| {
            verifier.verify_server_cert(&leaf, &[], &ServerName::try_from(name.to_owned()).unwrap(), &[], at).is_ok()
        }
    };
    let now = UnixTime::now();
    let accepted = trusts(&made.identity.chain[1]);
    for name in ["box.example", "10.0.0.7", "::1"] {
        assert!(accepted(name, now), "{name}");
    }
    assert!(!accepted("other.example", now));
    assert!(!accepted("box.example", UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + LEAF_LIFE)));
    let elsewhere = tempfile::tempdir().unwrap();
    let other = ensure(elsewhere.path(), &wanted(&["box.example"]), SystemTime::now()).unwrap();
    assert!(!trusts(&other.identity.chain[1])("box.example", now));
}
