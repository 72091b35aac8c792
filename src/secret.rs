//! Bytes that must not be seen: redacted when printed, wiped when dropped, compared in constant time.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A value that is wiped on drop and never appears in `Debug`, logs or panics.
///
/// Reaching it takes a call of [`Secret::expose`], so that a reader can find every place where one is used.
#[derive(Clone)]
pub(crate) struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over.
    pub(crate) fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value, for the one place that needs it.
    pub(crate) fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + Default> Default for Secret<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    /// Takes the same time for any two values of the same length.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T: Zeroize + Serialize> Serialize for Secret<T> {
    /// Only the wire serialises; its buffers are wiped after use.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, T: Zeroize + Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::deserialize(from).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_printed() {
        let key = Secret::new(b"open sesame".to_vec());
        assert_eq!(format!("{key:?} {:?}", Some(&key)), "[redacted] Some([redacted])");
    }

    #[test]
    fn equal_means_every_byte() {
        let key = |text: &str| Secret::new(text.as_bytes().to_vec());
        assert_eq!(key("abc"), key("abc"));
        assert_ne!(key("abc"), key("abd"));
        assert_ne!(key("abc"), key("abcd"));
        assert_ne!(key(""), key("a"));
    }
}
