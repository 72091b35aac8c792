//! Making certificates: the local CA and the leaves that it signs. Pure: no file is touched here.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use zeroize::Zeroizing;

use super::names::Names;

/// A day.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// How long the CA is valid: the user trusts it once.
const CA_LIFE: Duration = DAY.saturating_mul(3650);

/// How long a leaf is valid: browsers refuse more than 398 days.
pub(crate) const LEAF_LIFE: Duration = DAY.saturating_mul(397);

/// Guests whose clocks are behind shall not be locked out of a certificate that was made a minute ago.
const BACKDATED: Duration = Duration::from_secs(3600);

/// The X.520 bound on a common name.
const COMMON_NAME_LIMIT: usize = 64;

/// A certificate (with those that signed it) and its key, both in PEM.
pub(crate) struct Made {
    /// The certificates.
    pub(crate) certificate: String,
    /// PKCS#8.
    pub(crate) key: Zeroizing<String>,
}

/// A CA that can sign one leaf's certificate but no further CA, ECDSA P-256.
pub(crate) fn make_ca(host: &str, now: SystemTime) -> Result<Made, rcgen::Error> {
    let mut params = CertificateParams::default();
    let not_before = now - BACKDATED;
    params.not_before = not_before.into();
    params.not_after = (not_before + CA_LIFE).into();
    params.distinguished_name = named(&format!("comfy-guard local CA ({host})"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    Ok(Made { certificate: params.self_signed(&key)?.pem(), key: Zeroizing::new(key.serialize_pem()) })
}

/// A leaf for these names, signed by this CA, that ends no later than the CA.
pub(crate) fn make_leaf(
    ca_pem: &str,
    ca_key_pem: &str,
    ca_ends: SystemTime,
    names: &Names,
    now: SystemTime,
) -> Result<Made, rcgen::Error> {
    let issuer = Issuer::from_ca_cert_pem(ca_pem, KeyPair::from_pem(ca_key_pem)?)?;
    let mut params = CertificateParams::new(names.texts())?;
    let not_before = now - BACKDATED;
    params.not_before = not_before.into();
    params.not_after = (not_before + LEAF_LIFE).min(ca_ends).into();
    params.distinguished_name =
        named(names.dns.iter().find(|name| *name != "localhost").map_or("localhost", String::as_str));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let leaf = params.signed_by(&key, &issuer)?.pem();
    Ok(Made { certificate: format!("{leaf}{ca_pem}"), key: Zeroizing::new(key.serialize_pem()) })
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "comfy-guard");
    name.push(DnType::CommonName, common_name.chars().take(COMMON_NAME_LIMIT).collect::<String>());
    name
}
