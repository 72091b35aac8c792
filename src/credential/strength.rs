//! Which keys are taken: what HTTP cannot carry never, what can be guessed only on demand.

/// The least length of a key that is not weak; the guide's "32+ characters".
pub(crate) const LEAST_LENGTH: usize = 32;

/// The greatest length: a key has to fit into one header field beside everything else.
pub(crate) const GREATEST_LENGTH: usize = 1024;

/// So many characters must stand outside of words, runs and repetitions.
const LEAST_UNGUESSABLE: usize = 16;

const LEAST_DISTINCT: usize = 8;

/// A run is at least this long. Shorter ones occur in random keys.
const RUN: usize = 4;

/// Why a key is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Weakness {
    /// Nothing at all. Never allowed.
    #[error("the key is empty")]
    Empty,
    /// A byte that a header field or a URL cannot carry unchanged. Never allowed.
    #[error(
        "the key holds a byte that HTTP cannot carry (at position {position}); use printable ASCII characters only"
    )]
    Unprintable {
        /// Counted from 1.
        position: usize,
    },
    /// HTTP strips spaces around a field's value, so that the key would never be right. Never allowed.
    #[error("the key begins or ends with a space, which HTTP strips")]
    SpaceAtEnd,
    /// Never allowed.
    #[error("the key has {length} characters; more than {GREATEST_LENGTH} do not fit into a request's head")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Somebody took the key file's content for the key. Never allowed.
    #[error("this is a stored hash, not a key")]
    Hash,
    /// Too few characters.
    #[error("the key has {length} characters; use {LEAST_LENGTH} or more, for example `openssl rand -hex 32`")]
    Short {
        /// Its length.
        length: usize,
    },
    /// The same few characters.
    #[error("the key has only {distinct} different characters")]
    FewCharacters {
        /// How many.
        distinct: usize,
    },
    /// One pattern over and over.
    #[error("the key repeats a pattern of {period} characters")]
    Repeated {
        /// The pattern's length.
        period: usize,
    },
    /// Words and runs that every list of passwords holds.
    #[error("the key consists of well-known words or runs of characters; only {left} characters are others")]
    Guessable {
        /// How many characters are not part of one.
        left: usize,
    },
}

impl Weakness {
    /// Whether `--allow-weak` lets the key pass: it works, it is merely guessable.
    pub(crate) const fn may_be_allowed(&self) -> bool {
        matches!(self, Self::Short { .. } | Self::FewCharacters { .. } | Self::Repeated { .. } | Self::Guessable { .. })
    }
}

/// Judges a new key. What can never be allowed is found before what can.
pub(crate) fn judge(key: &[u8]) -> Result<(), Weakness> {
    usable(key)?;
    let length = key.len();
    if length < LEAST_LENGTH {
        return Err(Weakness::Short { length });
    }
    let distinct = (0..=u8::MAX).filter(|byte| key.contains(byte)).count();
    if distinct < LEAST_DISTINCT {
        return Err(Weakness::FewCharacters { distinct });
    }
    if let Some(period) =
        (1..=length / 2).find(|&period| key.iter().zip(key.iter().skip(period)).all(|(one, next)| one == next))
    {
        return Err(Weakness::Repeated { period });
    }
    let left = unguessable(key);
    if left < LEAST_UNGUESSABLE {
        return Err(Weakness::Guessable { left });
    }
    Ok(())
}

/// Whether the key can work at all.
fn usable(key: &[u8]) -> Result<(), Weakness> {
    if key.is_empty() {
        return Err(Weakness::Empty);
    }
    if let Some(at) = key.iter().position(|byte| !(b' '..=b'~').contains(byte)) {
        return Err(Weakness::Unprintable { position: at + 1 });
    }
    if key.starts_with(b" ") || key.ends_with(b" ") {
        return Err(Weakness::SpaceAtEnd);
    }
    if key.len() > GREATEST_LENGTH {
        return Err(Weakness::TooLong { length: key.len() });
    }
    if key.starts_with(b"$argon2") {
        return Err(Weakness::Hash);
    }
    Ok(())
}

/// Whether the key holds characters that mean something else in a URL's query (base64 does: `+`, `/`, `=`).
pub(crate) fn needs_escapes_in_url(key: &[u8]) -> bool {
    key.iter().any(|byte| !(byte.is_ascii_alphanumeric() || b"-._~".contains(byte)))
}

/// Words of every password list, and the defaults and examples of this field.
const WORDS: &[&[u8]] = &[
    b"your",
    b"secure",
    b"secret",
    b"api",
    b"key",
    b"here",
    b"change",
    b"this",
    b"please",
    b"replace",
    b"example",
    b"sample",
    b"default",
    b"password",
    b"passwort",
    b"passphrase",
    b"passw0rd",
    b"p@ssw0rd",
    b"pass",
    b"word",
    b"comfyui",
    b"comfy",
    b"guard",
    b"stable",
    b"diffusion",
    b"token",
    b"admin",
    b"administrator",
    b"root",
    b"user",
    b"login",
    b"welcome",
    b"letmein",
    b"monkey",
    b"dragon",
    b"master",
    b"iloveyou",
    b"test",
    b"demo",
    b"dummy",
    b"placeholder",
    b"insert",
    b"hello",
    b"world",
    b"qwerty",
    b"qwertz",
    b"azerty",
    b"foobar",
    b"deadbeef",
    b"cafebabe",
    b"openai",
    b"nvidia",
    b"gpu",
];

/// What a finger or a child runs along.
const SEQUENCES: &[&[u8]] = &[
    b"abcdefghijklmnopqrstuvwxyz",
    b"01234567890",
    b"qwertyuiop",
    b"asdfghjkl",
    b"zxcvbnm",
    b"1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    b"!@#$%^&*()",
];

/// How many characters belong to no word, no run, no repetition and no punctuation that pads between them.
fn unguessable(key: &[u8]) -> usize {
    let lower = key.to_ascii_lowercase();
    let mut at = 0;
    let mut left = 0;
    while let Some(rest) = lower.get(at..).filter(|rest| !rest.is_empty()) {
        let known = word_at(rest).max(run_at(rest)).max(repetition_at(rest));
        if known == 0 && rest.first().is_some_and(u8::is_ascii_alphanumeric) {
            left += 1;
        }
        at += known.max(1);
    }
    left
}

fn word_at(rest: &[u8]) -> usize {
    WORDS.iter().filter(|word| rest.starts_with(word)).map(|word| word.len()).max().unwrap_or(0)
}

/// The length of the run along a sequence, either way, that begins here; 0 when it is too short to be one.
fn run_at(rest: &[u8]) -> usize {
    let follows = |sequence: &[u8], one: u8, next: u8| sequence.windows(2).any(|pair| pair == [one, next]);
    let steps = |is_step: &dyn Fn(u8, u8) -> bool| {
        rest.iter().zip(rest.iter().skip(1)).take_while(|&(&one, &next)| is_step(one, next)).count()
    };
    SEQUENCES
        .iter()
        .flat_map(|sequence| {
            [steps(&|one, next| follows(sequence, one, next)), steps(&|one, next| follows(sequence, next, one))]
        })
        .map(|steps| steps + 1)
        .filter(|&length| length >= RUN)
        .max()
        .unwrap_or(0)
}

/// How often the first character is repeated from here; 0 when less than three times.
fn repetition_at(rest: &[u8]) -> usize {
    let count = rest.iter().take_while(|&byte| Some(byte) == rest.first()).count();
    if count >= 3 { count } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_http_cannot_carry_is_never_allowed() {
        let long = "k3Y".repeat(400);
        let table: &[(&[u8], Weakness)] = &[
            (b"", Weakness::Empty),
            (b"\n", Weakness::Unprintable { position: 1 }),
            (b"abc\tdef", Weakness::Unprintable { position: 4 }),
            (b"abc\0", Weakness::Unprintable { position: 4 }),
            (b"abc\x7f", Weakness::Unprintable { position: 4 }),
            ("schlüssel".as_bytes(), Weakness::Unprintable { position: 5 }),
            (b" abc", Weakness::SpaceAtEnd),
            (b"abc ", Weakness::SpaceAtEnd),
            (b" ", Weakness::SpaceAtEnd),
            (long.as_bytes(), Weakness::TooLong { length: 1200 }),
            (b"$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$aGFzaA", Weakness::Hash),
        ];
        for (key, weakness) in table {
            assert_eq!(judge(key).as_ref(), Err(weakness));
            assert!(!weakness.may_be_allowed(), "{weakness}");
        }
    }

    #[test]
    fn guessable_keys_are_weak() {
        let guessable = [
            "changeme",
            "password",
            "your-secure-api-key-here",
            "0123456789abcdef0123456789abcde",
            "your-secure-api-key-here-your-secure-api-key-here",
            "your-secure-api-key-here-00000000",
            "your-secure-api-key-here12345678",
            "Your_Secure_API_Key_Here_!!!!!!!!!!",
            "passwordpasswordpasswordpassword",
            "Password123!Password123!Password123!",
            "changemechangemechangemechangeme1",
            "comfyui-comfyui-comfyui-comfyui-1",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababababababab",
            "abcdefghijklmnopqrstuvwxyz012345",
            "zyxwvutsrqponmlkjihgfedcba987654",
            "12345678901234567890123456789012",
            "qwertyuiopasdfghjklzxcvbnm123456",
            "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,",
            "0123456789abcdef0123456789abcdef",
            "deadbeefdeadbeefcafebabecafebabe",
            "00000000000000000000000000000000000000000000000000000000000000ff",
            "................................",
            "test-test-admin-admin-root-1234-xyz",
        ];
        for key in guessable {
            assert!(
                judge(key.as_bytes()).is_err_and(|weakness| weakness.may_be_allowed()),
                "{key}: {:?}",
                judge(key.as_bytes())
            );
        }
    }

    #[test]
    fn long_keys_of_a_persons_own_are_taken() {
        for key in [
            "correct horse battery staple my api key",
            "Tr0ub4dor&3-and-some-more-of-the-same-kind",
            "x7Kp9mQ2vL4nR8sT1wY6zB3cF5gH0jDa",
        ] {
            assert_eq!(judge(key.as_bytes()), Ok(()), "{key}");
        }
    }

    #[test]
    fn base64_and_punctuation_need_escapes_in_a_url() {
        for (key, needs) in
            [("abc123-._~", false), ("a+b", true), ("a/b", true), ("ab==", true), ("a b", true), ("a&b", true)]
        {
            assert_eq!(needs_escapes_in_url(key.as_bytes()), needs, "{key}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn keys_of_openssl_rand_are_strong(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(judge(hex(&bytes).as_bytes()), Ok(()));
            prop_assert_eq!(judge(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes()), Ok(()));
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _judged = judge(&bytes);
        }
    }
}
