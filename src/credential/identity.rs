//! Who the server is in TLS: a certificate chain and the key that belongs to it, loaded from PEM and checked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use crate::os::files::{self, Facts, Kind, Links};
use crate::secret::Secret;

/// The greatest size of a file of certificates, in bytes: a chain of a dozen has some 30 KiB.
const LIMIT: usize = 256 << 10;

/// The greatest size of a key's file, in bytes: RSA with 8192 bits has 7 KiB.
const KEY_LIMIT: usize = 64 << 10;

const DAY_SECONDS: u64 = 86_400;

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::from_secs(14 * DAY_SECONDS);

/// A certificate chain with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The certificates in DER, leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// The private key in PEM, as it stands in its file: PKCS#8, SEC1 or PKCS#1.
    pub(crate) key: Secret<Vec<u8>>,
    /// SHA-256 of the leaf, as `AA:BB:…`: what browsers show.
    pub(crate) fingerprint: String,
    /// When the leaf begins to be valid.
    pub(crate) not_before: SystemTime,
    /// When the leaf ends to be valid.
    pub(crate) not_after: SystemTime,
    /// The DNS names and addresses that the leaf is for.
    pub(crate) names: Vec<String>,
    /// The file that the chain came from, for messages.
    certificate: PathBuf,
    /// Set when the key's group may do something with its file.
    key_remark: Option<String>,
}

impl Identity {
    /// What is not right about it at this time, though not wrong enough to refuse it.
    pub(crate) fn warnings(&self, now: SystemTime) -> Vec<String> {
        self.key_remark.clone().into_iter().chain(self.judge_validity(now)).collect()
    }

    fn judge_validity(&self, now: SystemTime) -> Option<String> {
        let path = self.certificate.display();
        if now < self.not_before {
            return Some(format!("the certificate {path} is not valid yet (or this machine's clock is wrong)"));
        }
        match self.not_after.duration_since(now) {
            Err(_) => Some(format!("the certificate {path} has expired; browsers and clients refuse it: renew it")),
            Ok(left) if left < SOON => {
                Some(format!("the certificate {path} expires in {} days: renew it", left.as_secs() / DAY_SECONDS))
            }
            Ok(_) => None,
        }
    }
}

/// Why a pair of PEM files is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// Missing, or not allowed.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// A directory, a FIFO.
    #[error("{path} is not a regular file; name the PEM file itself", path = .path.display())]
    NotRegular { path: PathBuf },
    /// Over the limit.
    #[error("{path} is larger than {limit} bytes, so it is not a PEM file of certificates or a key", path = .path.display())]
    TooLarge { path: PathBuf, limit: usize },
    /// No section `CERTIFICATE`.
    #[error("{path} holds no certificate in PEM form (a section that begins with -----BEGIN CERTIFICATE-----)", path = .path.display())]
    NoCertificate { path: PathBuf },
    /// One of the sections is damaged.
    #[error("certificate {position} in {path} cannot be read: {reason}; put the file in place anew", path = .path.display())]
    BrokenCertificate { path: PathBuf, position: usize, reason: String },
    /// No section with a private key.
    #[error("{path} holds no private key in PEM form (PKCS#8, SEC1 or PKCS#1)", path = .path.display())]
    NoKey { path: PathBuf },
    /// There is nobody to ask for the passphrase.
    #[error("the private key {path} is encrypted; store it without a passphrase: `openssl pkey -in {path} -out NEW` with mode 600", path = .path.display())]
    EncryptedKey { path: PathBuf },
    /// Damaged, or of a kind that the TLS library does not sign with.
    #[error("the private key {path} cannot be used: {reason}; RSA (2048 bits and more), ECDSA P-256/P-384/P-521 and Ed25519 can", path = .path.display())]
    BrokenKey { path: PathBuf, reason: String },
    /// Two halves of different pairs, as while a renewal is being copied.
    #[error("the private key {private_key} does not belong to the first certificate of {certificate}; name the two files of one pair", private_key = .private_key.display(), certificate = .certificate.display())]
    Mismatch { certificate: PathBuf, private_key: PathBuf },
    /// All there, in the wrong order.
    #[error("in {certificate} the server's own certificate is number {position}; it must come first, the ones that signed it after it", certificate = .certificate.display())]
    WrongOrder { certificate: PathBuf, position: usize },
}

/// Loads and checks a pair.
///
/// Symbolic links are followed: tools that renew certificates keep the newest behind one.
pub(crate) fn load_pem(certificate: &Path, private_key: &Path) -> Result<Identity, IdentityError> {
    let chain = load_certificates(certificate)?;
    let (key_pem, key_facts) = read(private_key, KEY_LIMIT)?;
    let key_remark = judge_key_mode(private_key, &key_facts);
    let key = parse_key(private_key, &key_pem)?;
    check_pair(certificate, private_key, &chain, &key)?;

    let leaf = chain.first().ok_or_else(|| IdentityError::NoCertificate { path: certificate.to_owned() })?;
    let facts = leaf_facts(leaf).map_err(|reason| broken(certificate, 1, reason))?;
    Ok(Identity {
        fingerprint: fingerprint(leaf),
        chain: chain.iter().map(|one| one.to_vec()).collect(),
        key: Secret::new(key_pem.to_vec()),
        not_before: facts.not_before,
        not_after: facts.not_after,
        names: facts.names,
        certificate: certificate.to_owned(),
        key_remark,
    })
}

/// The certificates of a PEM file, in DER, each one readable.
pub(crate) fn load_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    parse_chain(path, &read(path, LIMIT)?.0)
}

/// SHA-256 of a certificate in DER, as `AA:BB:…`.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn read(path: &Path, limit: usize) -> Result<(Zeroizing<Vec<u8>>, Facts), IdentityError> {
    let unreadable = |source| IdentityError::Unreadable { path: path.to_owned(), source };
    let (mut file, facts) = files::open(path, Links::Follow).map_err(unreadable)?;
    if facts.kind != Kind::Regular {
        return Err(IdentityError::NotRegular { path: path.to_owned() });
    }
    let content = files::read_at_most(&mut file, limit).map_err(unreadable)?;
    Ok((content.ok_or_else(|| IdentityError::TooLarge { path: path.to_owned(), limit })?, facts))
}

fn broken(path: &Path, position: usize, reason: impl ToString) -> IdentityError {
    IdentityError::BrokenCertificate { path: path.to_owned(), position, reason: reason.to_string() }
}

fn parse_chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let mut chain = Vec::new();
    for (index, section) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let certificate = section.map_err(|error| broken(path, index + 1, error))?;
        leaf_facts(&certificate).map_err(|reason| broken(path, index + 1, reason))?;
        chain.push(certificate);
    }
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

/// A remark on a key that others can read. It is not refused, as nginx and Caddy do not refuse it either: tools that renew
/// certificates choose the mode, and a guard that does not start protects nobody.
fn judge_key_mode(path: &Path, facts: &Facts) -> Option<String> {
    let whom = match facts.mode {
        mode if mode & 0o007 != 0 => "every user of this machine",
        mode if mode & 0o070 != 0 => "its group",
        _ => return None,
    };
    let path = path.display();
    Some(format!("the private key {path} is open to {whom} (mode {:04o}): `chmod 600 {path}`", facts.mode))
}

fn parse_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| pem.windows(mark.len()).any(|window| window == *mark)) {
        return Err(IdentityError::EncryptedKey { path: path.to_owned() });
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => Err(IdentityError::NoKey { path: path.to_owned() }),
        Err(error) => Err(IdentityError::BrokenKey { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn check_pair(
    certificate: &Path,
    private_key: &Path,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), IdentityError> {
    let signing = aws_lc_rs::sign::any_supported_type(key)
        .map_err(|error| IdentityError::BrokenKey { path: private_key.to_owned(), reason: error.to_string() })?;
    let fits =
        |one: &CertificateDer<'static>| CertifiedKey::new(vec![one.clone()], signing.clone()).keys_match().is_ok();
    match chain.iter().position(fits) {
        Some(0) => Ok(()),
        Some(index) => Err(IdentityError::WrongOrder { certificate: certificate.to_owned(), position: index + 1 }),
        None => {
            Err(IdentityError::Mismatch { certificate: certificate.to_owned(), private_key: private_key.to_owned() })
        }
    }
}

/// What a certificate says about itself.
struct LeafFacts {
    not_before: SystemTime,
    not_after: SystemTime,
    names: Vec<String>,
}

fn leaf_facts(der: &[u8]) -> Result<LeafFacts, String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|error| error.to_string())?;
    let at = |seconds: i64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    let validity = certificate.validity();
    let alternative = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    let names = alternative.map(|extension| extension.value.general_names.iter().filter_map(name_text).collect());
    Ok(LeafFacts {
        not_before: at(validity.not_before.timestamp()),
        not_after: at(validity.not_after.timestamp()),
        names: names.unwrap_or_default(),
    })
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from))
                .ok()
                .map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
