//! Numbers with a unit: what a person writes (`"100MB"`, `"30d"`) and what the code computes with.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// Why a text is not a number with a unit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum UnitError {
    /// No digits before the unit.
    #[error("\"{0}\" does not begin with a number")]
    NoNumber(String),
    /// A unit that is not in the table.
    #[error("\"{unit}\" is not a unit of {quantity}; use one of {known}")]
    UnknownUnit {
        /// What stood behind the number.
        unit: String,
        /// `time` or `size`.
        quantity: &'static str,
        /// The units that exist.
        known: String,
    },
    /// The number does not fit.
    #[error("\"{0}\" is too large")]
    TooLarge(String),
}

/// A length of time, written as whole numbers with a unit: `ms`, `s`, `m`, `h`, `d`; parts add up (`"1h30m"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span(pub(crate) Duration);

const SPAN_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Span {
    /// Whole seconds.
    pub(crate) const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let mut rest = text.trim();
        let mut total: u64 = 0;
        while {
            let (number, unit, after) = leading_part(text, rest)?;
            let scale = scale_of(unit, "time", SPAN_UNITS)?;
            let part = number.checked_mul(scale).ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
            total = total.checked_add(part).ok_or_else(|| UnitError::TooLarge(text.to_owned()))?;
            rest = after.trim_start();
            !rest.is_empty()
        } {}
        Ok(Self(Duration::from_millis(total)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in SPAN_UNITS.iter().rev() {
            let count = rest / scale;
            rest %= scale;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

/// A number of bytes, written with `B`, `kB`/`KB`, `MB`, `GB` or `KiB`, `MiB`, `GiB`.
///
/// As ComfyUI's `--max-upload-size` does, `MB` means 1024 × 1024 bytes here: one word, one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Bytes(pub(crate) u64);

const BYTE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1 << 10),
    ("KB", 1 << 10),
    ("KiB", 1 << 10),
    ("MB", 1 << 20),
    ("MiB", 1 << 20),
    ("GB", 1 << 30),
    ("GiB", 1 << 30),
];

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit, after) = leading_part(text, text.trim())?;
        if !after.trim().is_empty() {
            return Err(UnitError::NoNumber(after.trim().to_owned()));
        }
        let scale = scale_of(unit, "size", BYTE_UNITS)?;
        number.checked_mul(scale).map(Self).ok_or_else(|| UnitError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in [("GB", 1u64 << 30), ("MB", 1 << 20), ("KB", 1 << 10)] {
            if self.0 >= scale && self.0.is_multiple_of(scale) {
                return write!(f, "{}{unit}", self.0 / scale);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A number of processors, written as a number (`2`, `1.5`); kept in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Processors(pub(crate) u32);

impl Processors {
    /// A number that a person wrote, where it is one that can be meant.
    fn of(number: f64) -> Option<Self> {
        let thousandths = (number * 1000.0).round();
        // More than 65,536 processors has no machine; the bound also makes the cast exact. NaN is in no range.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the range")]
        (0.0..=65_536_000.0).contains(&thousandths).then_some(Self(thousandths as u32))
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Processors {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl de::Visitor<'_> for Number {
            type Value = Processors;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of processors, such as 2 or 1.5")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Processors, E> {
                Processors::of(number).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Processors, E> {
                let exact = i32::try_from(number).ok().and_then(|number| Processors::of(f64::from(number)));
                exact.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Processors, E> {
                let exact = u32::try_from(number).ok().and_then(|number| Processors::of(f64::from(number)));
                exact.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }
        }
        from.deserialize_any(Number)
    }
}

/// Splits `rest` into its leading digits, the letters behind them and what is left.
fn leading_part<'a>(whole: &str, rest: &'a str) -> Result<(u64, &'a str, &'a str), UnitError> {
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber(whole.to_owned()));
    }
    let number = number.parse().map_err(|_| UnitError::TooLarge(whole.to_owned()))?;
    let after = after.trim_start();
    let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
    let (unit, left) = after.split_at(letters);
    Ok((number, unit, left))
}

fn scale_of(unit: &str, quantity: &'static str, table: &[(&str, u64)]) -> Result<u64, UnitError> {
    table.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or_else(|| UnitError::UnknownUnit {
        unit: unit.to_owned(),
        quantity,
        known: table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
    })
}

/// Serialises as its text, reads from its text: the configuration and the wire share one spelling.
macro_rules! as_text {
    ($unit:ty) => {
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    };
}

as_text!(Span);
as_text!(Bytes);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let table: &[(&str, u64)] = &[
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("30d", 2_592_000_000),
            (" 5 m ", 300_000),
        ];
        for (text, millis) in table {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(*millis))), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_span_is_named() {
        assert_eq!("".parse::<Span>(), Err(UnitError::NoNumber(String::new())));
        assert!(matches!("30".parse::<Span>(), Err(UnitError::UnknownUnit { .. })));
        assert!(matches!("30 days".parse::<Span>(), Err(UnitError::UnknownUnit { unit, .. }) if unit == "days"));
        assert!(matches!("-1s".parse::<Span>(), Err(UnitError::NoNumber(_))));
        assert!(matches!("99999999999999999999s".parse::<Span>(), Err(UnitError::TooLarge(_))));
        assert!(matches!("9999999999999999999d".parse::<Span>(), Err(UnitError::TooLarge(_))));
    }

    #[test]
    fn sizes_mean_what_comfyui_means() {
        assert_eq!("100MB".parse(), Ok(Bytes(104_857_600)));
        assert_eq!("1 GiB".parse(), Ok(Bytes(1 << 30)));
        assert!("12".parse::<Bytes>().is_err());
        assert!("1MB2".parse::<Bytes>().is_err());
    }

    #[test]
    fn processors_are_whole_or_not() {
        let read = |text: &str| {
            let table: Result<std::collections::BTreeMap<String, Processors>, _> =
                toml::from_str(&format!("n = {text}"));
            table.map(|table| table["n"])
        };
        for (text, thousandths) in [("2", 2000), ("1.5", 1500), ("0.25", 250), ("0", 0)] {
            let number = read(text).unwrap();
            assert_eq!(number, Processors(thousandths));
            assert_eq!(number.to_string(), text);
        }
        for text in ["-1", "-0.5", "nan", "inf", "1e9", "99999999999", "\"2\""] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.contains("a number of processors, such as 2 or 1.5"), "{told}");
        }
    }

    proptest! {
        #[test]
        fn a_span_reads_back_as_written(millis in 0u64..10_000_000_000) {
            let span = Span(Duration::from_millis(millis));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn a_size_reads_back_as_written(count in 0u64..(1 << 50)) {
            prop_assert_eq!(Bytes(count).to_string().parse(), Ok(Bytes(count)));
        }

        #[test]
        fn any_text_is_judged_without_panic(text in ".*") {
            let _span: Result<Span, _> = text.parse();
            let _bytes: Result<Bytes, _> = text.parse();
        }
    }
}
