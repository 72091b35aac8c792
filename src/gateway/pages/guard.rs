//! `/guard/`: the status page. The document is the same for everybody but for its language; its script asks for the figures.

use std::sync::LazyLock;

use super::guard_texts::texts;
use super::language::Language;
use super::login::attribute;
use super::policy::{Page, STYLE, STYLE_SOURCE, policy, source};
use super::template::{Value, fill};
use crate::config::Origin;

const PAGE: &str = include_str!("guard.html");
/// Two files, one script: what reads and acts, and what draws.
const SCRIPT: &str = concat!(include_str!("guard_plot.js"), include_str!("guard.js"));
const OWN_STYLE: &str = include_str!("guard.css");

static SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| source(SCRIPT));
static STYLE_SOURCES: LazyLock<String> = LazyLock::new(|| format!("{} {}", *STYLE_SOURCE, source(OWN_STYLE)));

/// The status page. `frame_ancestors`: origins that may show it in a frame, besides the site itself.
pub(crate) fn guard(language: Language, frame_ancestors: &[Origin]) -> Page {
    let says: String = texts(language).map(|(name, text)| attribute(name, text)).collect();
    let mut values = vec![
        ("lang", Value::Text(language.tag())),
        ("style", Value::Markup(STYLE)),
        ("own_style", Value::Markup(OWN_STYLE)),
        ("script", Value::Markup(SCRIPT)),
        ("says", Value::Markup(&says)),
    ];
    values.extend(texts(language).map(|(name, text)| (name, Value::Text(text))));
    Page { html: fill(PAGE, &values), policy: policy(&SCRIPT_SOURCE, &STYLE_SOURCES, frame_ancestors) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::guard_texts::TEXTS;
    use super::super::template::marks;
    use super::*;

    #[test]
    fn every_mark_has_a_value_and_every_text_is_used() {
        for language in Language::ALL {
            assert_eq!(marks(&guard(language, &[]).html), Vec::<&str>::new());
        }
        let known = |mark: &&str| {
            ["lang", "style", "own_style", "script", "says"].contains(mark)
                || TEXTS.iter().any(|(name, _)| name == mark)
        };
        assert_eq!(marks(PAGE).into_iter().find(|mark| !known(mark)), None);
        for (name, _) in TEXTS {
            let used = PAGE.contains(&format!("{{{{{name}}}}}")) || SCRIPT.contains(&format!("says.{name}"));
            assert!(used, "{name}");
        }
        for part in SCRIPT.split("says.").skip(1) {
            let end = part.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap();
            let name = part.get(..end).unwrap();
            assert!(TEXTS.iter().any(|(known, _)| *known == name), "{name}");
        }
    }

    #[test]
    fn the_policy_allows_the_very_script_and_styles_in_the_page() {
        let Page { html, policy } = guard(Language::Japanese, &[]);
        let policy = policy.to_str().unwrap();
        let inner = |open: &str, close: &str| -> Vec<String> {
            html.split(open).skip(1).map(|rest| rest.split_once(close).unwrap().0.to_owned()).collect()
        };
        let (styles, scripts) = (inner("<style>", "</style>"), inner("<script>", "</script>"));
        assert_eq!((styles.len(), scripts.len()), (2, 1));
        for text in styles.iter().chain(&scripts) {
            assert!(!text.is_empty() && policy.contains(&source(text)));
        }
        assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'; "));
    }

    #[test]
    fn text_of_others_never_becomes_markup_or_code() {
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "setTimeout('"]
        {
            assert!(!SCRIPT.contains(forbidden), "{forbidden}");
        }
        assert!(!PAGE.contains(" style=") && !PAGE.contains(" onclick="));
    }
}
