//! Tests of the loading of certificate and key: what is taken, what is refused, what is warned of.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::issue::{self, DAY, Made};
use super::super::names::Names;
use super::*;

struct Pair {
    _directory: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn load(&self) -> Result<Identity, IdentityError> {
        load_pem(&self.certificate, &self.key)
    }
}

fn made(now: SystemTime) -> Made {
    let ca = issue::make_ca("box", now).unwrap();
    let names = Names::of(["box.example".to_owned(), "10.0.0.7".to_owned()]);
    issue::make_leaf(&ca.certificate, &ca.key, now + DAY * 3000, &names, now).unwrap()
}

fn pair(certificate: &str, key: &str) -> Pair {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (certificate, key) = (at("cert.pem", certificate), at("key.pem", key));
    Pair { _directory: directory, certificate, key }
}

#[test]
fn a_good_pair_is_loaded() {
    let now = SystemTime::now();
    let made = made(now);
    let identity = pair(&made.certificate, &made.key).load().unwrap();
    assert_eq!(identity.names, ["box.example", "10.0.0.7"]);
    assert_eq!((identity.chain.len(), identity.warnings(now).len()), (2, 0));
    assert_eq!(identity.key.expose().as_slice(), made.key.as_bytes());
    assert_eq!(identity.fingerprint.len(), 95);
    assert!(format!("{identity:?}").contains("key: [redacted]"));
}

#[test]
fn validity_is_judged_by_the_clock() {
    let now = SystemTime::now();
    let made = made(now);
    let pair = pair(&made.certificate, &made.key);
    let identity = pair.load().unwrap();
    let end = identity.not_after;
    for (at, told) in [
        (now - DAY, Some("not valid yet")),
        (now, None),
        (end - DAY * 15, None),
        (end - DAY * 13, Some("expires in 13 days")),
        (end + DAY, Some("has expired")),
    ] {
        let warnings = identity.warnings(at);
        assert!(warnings.iter().map(String::as_str).eq(told.map(|_| warnings[0].as_str())), "{warnings:?}");
        assert!(told.is_none_or(|told| warnings[0].contains(told)), "{warnings:?}");
    }
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let now = SystemTime::now();
    let made = made(now);
    let pair = pair(&made.certificate, &made.key);
    let load = |mode| {
        fs::set_permissions(&pair.key, fs::Permissions::from_mode(mode)).unwrap();
        pair.load()
    };
    assert!(load(0o644).unwrap().warnings(now)[0].contains("every user of this machine (mode 0644)"));
    assert!(load(0o640).unwrap().warnings(now)[0].contains("0640"));
    assert!(load(0o400).unwrap().warnings(now).is_empty());
}

#[test]
fn each_failure_has_its_own_name() {
    let now = SystemTime::now();
    let (good, other) = (made(now), made(now));
    let (cert, key) = (good.certificate.as_str(), good.key.as_str());
    let split = cert.find("-----END CERTIFICATE-----\n").unwrap() + 26;
    let reversed = format!("{}{}", &cert[split..], &cert[..split]);
    let damaged = cert.replacen("MII", "AII", 1);
    let load = |cert: &str, key: &str| pair(cert, key).load().map(drop).unwrap_err();

    assert!(matches!(load("", key), IdentityError::NoCertificate { .. }));
    assert!(matches!(load(key, key), IdentityError::NoCertificate { .. }));
    assert!(matches!(load(&damaged, key), IdentityError::BrokenCertificate { position: 1, .. }));
    assert!(matches!(load(&cert[..split + 100], key), IdentityError::BrokenCertificate { position: 2, .. }));
    assert!(matches!(load(cert, ""), IdentityError::NoKey { .. }));
    assert!(matches!(load(cert, cert), IdentityError::NoKey { .. }));
    assert!(matches!(
        load(cert, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n"),
        IdentityError::EncryptedKey { .. }
    ));
    assert!(matches!(
        load(cert, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        IdentityError::BrokenKey { .. }
    ));
    assert!(matches!(load(cert, &other.key), IdentityError::Mismatch { .. }));
    assert!(matches!(load(&reversed, key), IdentityError::WrongOrder { position: 2, .. }));

    let pair = pair(cert, key);
    let missing = Path::new("/nowhere/cert.pem");
    assert!(matches!(load_pem(missing, &pair.key), Err(IdentityError::Unreadable { path, .. }) if path == missing));
    assert!(matches!(load_pem(pair.certificate.parent().unwrap(), &pair.key), Err(IdentityError::NotRegular { .. })));
    fs::write(&pair.certificate, vec![b'x'; LIMIT + 1]).unwrap();
    assert!(matches!(pair.load(), Err(IdentityError::TooLarge { .. })));
}

#[test]
fn a_link_to_the_newest_certificate_is_followed() {
    let now = SystemTime::now();
    let made = made(now);
    let pair = pair(&made.certificate, &made.key);
    let link = pair.certificate.with_file_name("live.pem");
    std::os::unix::fs::symlink(&pair.certificate, &link).unwrap();
    assert!(load_pem(&link, &pair.key).is_ok());
}

/// As `openssl ecparam -genkey` writes them, with the section that such files hold before the key.
#[test]
fn a_key_in_sec1_is_read_too() {
    let now = SystemTime::now();
    let made = made(now);
    let p256 = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    // RFC 5915 inside of RFC 5208: version, algorithm (22 bytes), then the octet string with the inner key.
    let inner = &p256.secret_der()[3 + 3 + 21 + 2..];
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(inner);
    let sec1 = format!(
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n"
    );
    let identity = pair(&made.certificate, &sec1).load().unwrap();
    assert_eq!(identity.key.expose().as_slice(), sec1.as_bytes());
}
