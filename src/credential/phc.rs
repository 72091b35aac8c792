//! The key at rest: an argon2id PHC string. The only file that uses argon2.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use sha2::{Digest, Sha256};

use super::sessions::hex;
use crate::os::memory;
use crate::secret::Secret;

/// What new hashes cost: 19 MiB, two passes, one lane (OWASP's first recommendation for argon2id).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 32;

/// Verification runs with the parameters inside the stored string. Below these a stolen hash is cheap to attack; above them one
/// wrong key would exhaust the machine.
const MEMORY_KIB_ALLOWED: std::ops::RangeInclusive<u32> = 8 * 1024..=1024 * 1024;
const PASSES_ALLOWED: std::ops::RangeInclusive<u32> = 1..=16;
const LANES_ALLOWED: std::ops::RangeInclusive<u32> = 1..=8;
const SALT_ALLOWED: std::ops::RangeInclusive<usize> = 8..=48;
const OUTPUT_ALLOWED: std::ops::RangeInclusive<usize> = 16..=64;

/// The version number of argon2 1.3 (RFC 9106).
const VERSION: u32 = 19;

/// A checked argon2id hash. It is never printed: whoever has it can try keys at leisure.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Phc(Secret<String>);

/// Why a text is not a hash that the guard verifies against.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PhcError {
    /// Not of the form `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
    #[error("not an argon2id hash in PHC form")]
    Malformed,
    /// argon2i, argon2d, scrypt…
    #[error("hashed with {found}, not with argon2id")]
    Algorithm {
        /// The name in the string.
        found: String,
    },
    /// argon2 1.0, or no version at all.
    #[error("not of argon2's version 19")]
    Version,
    /// A parameter out of bounds, or no salt or hash.
    #[error("parameter {name} is out of the bounds {bounds}")]
    Parameter {
        /// `m`, `t`, `p`, `salt`, `hash`.
        name: &'static str,
        /// From and to.
        bounds: String,
    },
    /// One is missing, given twice, or of another name.
    #[error("its parameters are not m, t and p, once each")]
    Parameters,
}

/// Why a key was not hashed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum HashError {
    /// An empty key would be one that everybody has.
    #[error("the key is empty")]
    EmptyKey,
    /// The kernel gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(String),
    /// No memory for the 19 MiB.
    #[error("argon2 failed: {0}")]
    Argon2(String),
}

impl Phc {
    /// Hashes a key with a new salt. Takes some 20 ms and 19 MiB.
    pub(crate) fn hash(key: &Secret<Vec<u8>>) -> Result<Self, HashError> {
        if key.expose().is_empty() {
            return Err(HashError::EmptyKey);
        }
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|error| HashError::Random(error.to_string()))?;
        let told = |error: &dyn fmt::Display| HashError::Argon2(error.to_string());
        let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(OUTPUT_BYTES)).map_err(|error| told(&error))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password_with_salt(key.expose(), &salt).map_err(|error| told(&error));
        memory::give_back_freed();
        Ok(Self(Secret::new(hash?.to_string())))
    }

    /// Takes a stored string, if it is one that may be verified against.
    pub(crate) fn parse(text: &str) -> Result<Self, PhcError> {
        let hash = PasswordHash::new(text).map_err(|_| PhcError::Malformed)?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err(PhcError::Algorithm { found: hash.algorithm.as_str().to_owned() });
        }
        if hash.version != Some(VERSION) {
            return Err(PhcError::Version);
        }
        // One of each: with `m` given twice, a look-up finds the first and argon2 computes with the last.
        let mut names: Vec<String> = hash.params.iter().map(|(name, _)| name.as_str().to_owned()).collect();
        names.sort_unstable();
        if names != ["m", "p", "t"] {
            return Err(PhcError::Parameters);
        }
        let number = |name| hash.params.get_decimal(name);
        within("m", number("m"), &MEMORY_KIB_ALLOWED)?;
        within("t", number("t"), &PASSES_ALLOWED)?;
        within("p", number("p"), &LANES_ALLOWED)?;
        within("salt", hash.salt.as_ref().map(|salt| salt.len()), &SALT_ALLOWED)?;
        within("hash", hash.hash.as_ref().map(|output| output.len()), &OUTPUT_ALLOWED)?;
        // What argon2 itself will compute with: parameters that contradict each other end here and not in a verification.
        Params::try_from(&hash).map_err(|_| PhcError::Malformed)?;
        Ok(Self(Secret::new(text.to_owned())))
    }

    /// Whether this is the key. Computes for tens of milliseconds: not for a thread that serves others. An empty key never is.
    pub(crate) fn verify(&self, key: &Secret<Vec<u8>>) -> bool {
        if key.expose().is_empty() {
            return false;
        }
        let right = PasswordHash::new(self.0.expose())
            .is_ok_and(|hash| Argon2::default().verify_password(key.expose(), &hash).is_ok());
        memory::give_back_freed();
        right
    }

    /// SHA-256 of the string in lower-case hex: which key this is, for what rests on it. The salt is in it, so it tells one
    /// `set-key` from the next, and nothing about the key.
    pub(crate) fn fingerprint(&self) -> String {
        hex(&Sha256::digest(self.0.expose()))
    }

    /// The string, for the key file only.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

fn within<N: PartialOrd + fmt::Display>(
    name: &'static str,
    found: Option<N>,
    allowed: &std::ops::RangeInclusive<N>,
) -> Result<(), PhcError> {
    if found.is_some_and(|found| allowed.contains(&found)) {
        return Ok(());
    }
    Err(PhcError::Parameter { name, bounds: format!("{} to {}", allowed.start(), allowed.end()) })
}

impl fmt::Debug for Phc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phc([redacted])")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    const SALT: &str = "c29tZXNhbHRzb21lc2FsdA";
    const OUTPUT: &str = "ddQf2bCkNDEaC12YFIvCPCGVpVAdCqEIkSfQrOGRJOs";

    fn key(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    fn with(params: &str) -> Result<(), PhcError> {
        Phc::parse(&format!("$argon2id$v=19${params}${SALT}${OUTPUT}")).map(drop)
    }

    #[test]
    fn the_key_and_nothing_else_is_the_key() {
        let phc = Phc::hash(&key("correct horse battery staple")).unwrap();
        assert!(phc.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let stored = Phc::parse(phc.expose()).unwrap();
        assert!(stored.verify(&key("correct horse battery staple")));
        for wrong in [
            "",
            "correct horse battery stapl",
            "correct horse battery staple ",
            "Correct horse battery staple",
            phc.expose(),
        ] {
            assert!(!stored.verify(&key(wrong)), "{wrong:?}");
        }
    }

    #[test]
    fn one_key_never_has_the_same_hash_twice() {
        let hashes = [(); 2].map(|()| Phc::hash(&key("the same key")).unwrap());
        assert_ne!(hashes[0].expose(), hashes[1].expose());
        assert_ne!(hashes[0].fingerprint(), hashes[1].fingerprint());
        assert_eq!(hashes[0].fingerprint(), Phc::parse(hashes[0].expose()).unwrap().fingerprint());
    }

    #[test]
    fn an_empty_key_has_no_hash() {
        assert_eq!(Phc::hash(&key("")).map(drop), Err(HashError::EmptyKey));
    }

    #[test]
    fn parameters_are_bounded() {
        for good in ["m=19456,t=2,p=1", "m=8192,t=1,p=1", "m=1048576,t=16,p=8"] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        let out = |params: &str| match with(params) {
            Err(PhcError::Parameter { name, .. }) => name,
            other => panic!("{params}: {other:?}"),
        };
        assert_eq!(out("m=8191,t=2,p=1"), "m");
        assert_eq!(out("m=1048577,t=2,p=1"), "m");
        assert_eq!(out("m=4294967295,t=2,p=1"), "m");
        assert_eq!(out("m=19456,t=0,p=1"), "t");
        assert_eq!(out("m=19456,t=17,p=1"), "t");
        assert_eq!(out("m=19456,t=2,p=0"), "p");
        assert_eq!(out("m=19456,t=2,p=9"), "p");
        for not_once_each in [
            "t=2,p=1",
            "m=19456,t=2,p=1,keyid=Zm9v",
            "m=19456,m=4194304,t=2,p=1",
            "m=19456,t=2,p=1,p=8",
            "m=19456,m=19456,p=1",
        ] {
            assert_eq!(with(not_once_each), Err(PhcError::Parameters), "{not_once_each}");
        }
    }

    #[test]
    fn other_strings_are_named_for_what_they_are() {
        let parse = |text: &str| Phc::parse(text).map(drop);
        let params = "m=19456,t=2,p=1";
        assert_eq!(parse(""), Err(PhcError::Malformed));
        assert_eq!(parse("a plain key of more than thirty-two characters"), Err(PhcError::Malformed));
        let other = |name: &str| Err(PhcError::Algorithm { found: name.to_owned() });
        assert_eq!(parse(&format!("$argon2i$v=19${params}${SALT}${OUTPUT}")), other("argon2i"));
        assert_eq!(parse(&format!("$argon2d$v=19${params}${SALT}${OUTPUT}")), other("argon2d"));
        assert_eq!(parse(&format!("$argon2id$v=16${params}${SALT}${OUTPUT}")), Err(PhcError::Version));
        assert_eq!(parse(&format!("$argon2id${params}${SALT}${OUTPUT}")), Err(PhcError::Version));
        assert!(matches!(
            parse(&format!("$argon2id$v=19${params}${SALT}")),
            Err(PhcError::Parameter { name: "hash", .. })
        ));
        assert!(matches!(
            parse(&format!("$argon2id$v=19${params}${SALT}$ddQf2bCkNDEaC12Y")),
            Err(PhcError::Parameter { name: "hash", .. })
        ));
        assert!(parse(&format!("$argon2id$v=19${params}$c29t${OUTPUT}")).is_err());
        assert!(parse(&format!("$argon2id$v=19${params}${SALT}${OUTPUT}\n")).is_err());
    }

    #[test]
    fn the_hash_is_not_printed() {
        let phc = Phc::hash(&key("something")).unwrap();
        assert_eq!(format!("{phc:?}"), "Phc([redacted])");
    }

    /// Set: this process is the child of a test, so that no other test's memory is counted.
    const MEASURED: &str = "COMFY_GUARD_TEST_MEASURED";

    #[test]
    fn measured_child() {
        if std::env::var_os(MEASURED).is_none() {
            return;
        }
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let phc = Phc::hash(&key("something")).unwrap();
        for _ in 0..3 {
            assert!(phc.verify(&key("something")));
        }
        assert!(resident() < before + (4 << 20), "{before} bytes before, {} after", resident());
    }

    #[test]
    fn memory_of_a_run_goes_back_to_the_system() {
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "credential::phc::tests::measured_child"])
            .env(MEASURED, "1")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && told.contains("1 passed"), "{told}");
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in "\\PC{0,200}") {
            let _judged = Phc::parse(&text);
        }

        #[test]
        fn any_damaged_hash_is_judged_without_panic(at in 0usize..98, byte in any::<char>()) {
            let mut text: Vec<char> = format!("$argon2id$v=19$m=19456,t=2,p=1${SALT}${OUTPUT}").chars().collect();
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
            let _judged = Phc::parse(&text.into_iter().collect::<String>());
        }
    }
}
