//! Which of our languages a browser would rather read: `Accept-Language` (RFC 9110 section 12.5.4).

use http::HeaderValue;

/// The languages of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Language {
    /// The one in which everything is known.
    English,
    /// Simplified; readers of the traditional script get it too, rather than English.
    Chinese,
    /// Japanese.
    Japanese,
    /// Korean.
    Korean,
}

/// Nobody prefers among more; the rest is not read.
const MOST_RANGES: usize = 32;

impl Language {
    /// All of them, in the order in which they are given to somebody who has no preference.
    pub(crate) const ALL: [Self; 4] = [Self::English, Self::Chinese, Self::Japanese, Self::Korean];

    /// The tag for `<html lang>` (BCP 47).
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
            Self::Japanese => "ja",
            Self::Korean => "ko",
        }
    }

    /// The language that a range such as `zh-TW` asks for, by its first subtag.
    fn of_range(range: &str) -> Option<Self> {
        let primary = range.split('-').next().unwrap_or_default();
        let is = |tag: &str| primary.eq_ignore_ascii_case(tag);
        match () {
            () if is("en") => Some(Self::English),
            () if is("zh") => Some(Self::Chinese),
            () if is("ja") => Some(Self::Japanese),
            () if is("ko") => Some(Self::Korean),
            () => None,
        }
    }
}

/// The best of our languages for a request; English where the header is absent, broken or names none of them.
pub(crate) fn language(accept_language: Option<&HeaderValue>) -> Language {
    let Some(text) = accept_language.and_then(|value| value.to_str().ok()) else { return Language::English };
    let ranges: Vec<(&str, u16)> = text.split(',').take(MOST_RANGES).filter_map(range).collect();
    let mut best = (0, usize::MAX, Language::English);
    for candidate in Language::ALL {
        let Some((quality, place)) = wish(&ranges, candidate) else { continue };
        // The higher quality wins, then the earlier place in the header, then our own order.
        if quality > best.0 || (quality == best.0 && quality > 0 && place < best.1) {
            best = (quality, place, candidate);
        }
    }
    best.2
}

/// How much a language is wished for, and where the header says so. `*` speaks for languages that no other range names.
fn wish(ranges: &[(&str, u16)], language: Language) -> Option<(u16, usize)> {
    let named = |range: &str| Language::of_range(range) == Some(language);
    let best = |matches: &dyn Fn(&str) -> bool| {
        let found = ranges.iter().enumerate().filter(|(_, (range, _))| matches(range));
        found
            .map(|(place, (_, quality))| (*quality, place))
            .max_by_key(|(quality, place)| (*quality, usize::MAX - place))
    };
    best(&named).or_else(|| best(&|range| range == "*"))
}

/// One element of the list: the range and its quality in thousandths. A broken one does not count.
fn range(element: &str) -> Option<(&str, u16)> {
    let mut parts = element.split(';');
    let range = parts.next()?.trim();
    let quality = match parts.next() {
        None => 1000,
        Some(weight) => {
            let weight = weight.trim();
            thousandths(weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="))?)?
        }
    };
    Some((range, quality))
}

/// RFC 9110 section 12.4.2: `0`, `0.` or `1` with at most three decimals, and not above one.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = format!("{decimals:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn of(header: &str) -> Language {
        language(Some(&HeaderValue::from_str(header).unwrap()))
    }

    #[test]
    fn the_best_liked_of_our_languages_is_taken() {
        for (header, expected) in [
            ("", Language::English),
            ("fr-FR,fr;q=0.9", Language::English),
            ("de, zh;q=0.2", Language::Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("zh-TW", Language::Chinese),
            ("zh-Hant-HK;q=0.7, en;q=0.3", Language::Chinese),
            ("JA", Language::Japanese),
            ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language::Korean),
            ("en;q=0.5,ja;q=0.50,ko;q=0.499", Language::English),
            ("ja;q=0.5,en;q=0.5", Language::Japanese),
            ("*", Language::English),
            ("en;q=0,*", Language::Chinese),
            ("ko;q=0.2,*;q=0.1", Language::Korean),
            ("ko;q=0.1,*;q=0.2", Language::English),
            ("ja;q=0", Language::English),
            ("ja;q=1.000", Language::Japanese),
            ("japanese", Language::English),
            (" ja ; q=0.9 , en ; q=0.1", Language::Japanese),
        ] {
            assert_eq!(of(header), expected, "{header}");
        }
        assert_eq!(language(None), Language::English);
    }

    #[test]
    fn a_broken_range_does_not_count() {
        for header in ["ja;q=2", "ja;q=1.001", "ja;q=0.0001", "ja;q=", "ja;q=-1", "ja;x=1", "ja;q=.5", "ja;q=0x1"] {
            assert_eq!(of(header), Language::English, "{header}");
        }
        assert_eq!(of("ja;q=9,ko;q=0.1"), Language::Korean);
    }

    #[test]
    fn an_endless_header_is_not_read_to_its_end() {
        assert_eq!(of(&format!("{}ja", "fr,".repeat(31))), Language::Japanese);
        assert_eq!(of(&format!("{}ja", "fr,".repeat(32))), Language::English);
    }

    #[test]
    fn bytes_that_are_no_text_mean_english() {
        assert_eq!(language(Some(&HeaderValue::from_bytes(b"ja\xff").unwrap())), Language::English);
    }

    proptest! {
        #[test]
        fn any_header_has_a_language(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                prop_assert!(Language::ALL.contains(&language(Some(&value))));
            }
        }

        #[test]
        fn the_one_that_is_liked_best_wins(qualities in proptest::array::uniform4(1_u16..=1000)) {
            let text = |quality: u16| if quality == 1000 { "1".to_owned() } else { format!("0.{quality:03}") };
            let header: Vec<String> =
                Language::ALL.iter().zip(qualities).map(|(one, quality)| format!("{};q={}", one.tag(), text(quality))).collect();
            let best = qualities.iter().max().copied().unwrap();
            let first = qualities.iter().position(|quality| *quality == best).unwrap();
            prop_assert_eq!(Some(&of(&header.join(","))), Language::ALL.get(first));
        }
    }
}
