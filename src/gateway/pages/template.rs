//! Fills the marks of a page in one pass, so that what is filled in can never be taken for a mark.

use html_escape::encode_quoted_attribute;

/// What stands in place of a mark.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// Text of any origin. It is escaped, for element content and for quoted attributes alike.
    Text(&'a str),
    /// Markup, style or script of our own.
    Markup(&'a str),
}

/// The page with each `{{mark}}` replaced by its value. A mark without a value becomes nothing: a page with a gap tells
/// more than no page.
pub(super) fn fill(page: &str, values: &[(&str, Value<'_>)]) -> String {
    let mut filled = String::with_capacity(page.len() * 2);
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            rest = after;
            break;
        };
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, Value::Text(text))) => filled.push_str(&encode_quoted_attribute(text)),
            Some((_, Value::Markup(markup))) => filled.push_str(markup),
            None => {}
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// The names of the marks in a page.
#[cfg(test)]
pub(super) fn marks(page: &str) -> Vec<&str> {
    page.split("{{").skip(1).filter_map(|part| part.split_once("}}")).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_is_never_taken_for_a_mark() {
        let filled = fill("<p>{{a}}</p>{{b}}", &[("a", Value::Text("{{b}}")), ("b", Value::Markup("<hr>"))]);
        assert_eq!(filled, "<p>{{b}}</p><hr>");
    }

    #[test]
    fn a_mark_without_a_value_leaves_nothing() {
        assert_eq!(fill("a{{x}}b", &[]), "ab");
        assert_eq!(fill("a{{x", &[]), "ax");
    }

    proptest! {
        #[test]
        fn text_never_becomes_markup(text in any::<String>()) {
            let filled = fill("<p title=\"{{t}}\">", &[("t", Value::Text(&text))]);
            let inner = filled.strip_prefix("<p title=\"").and_then(|rest| rest.strip_suffix("\">"));
            prop_assert!(inner.is_some_and(|inner| !inner.contains(['<', '>', '"', '\''])));
        }
    }
}
