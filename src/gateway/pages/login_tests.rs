//! What the login page shows in each state.

use super::super::template::marks;
use super::*;
use proptest::prelude::*;

fn page(state: &LoginState<'_>) -> String {
    login(Language::English, state, &[]).html
}

fn section<'a>(page: &'a str, id: &str) -> &'a str {
    let from = page.find(&format!("<section id=\"{id}\"")).map_or("", |at| page.split_at(at).1);
    from.split_once('>').map_or("", |(head, _)| head)
}

#[test]
fn every_mark_has_a_value_and_every_language_a_page() {
    for language in Language::ALL {
        let html = login(language, &LoginState::default(), &[]).html;
        assert!(html.contains(&format!("<html lang=\"{}\">", language.tag())));
        assert!(html.contains(Texts::of(language).login_title));
        assert_eq!(marks(&html), Vec::<&str>::new());
    }
    for mark in marks(PAGE) {
        assert!(include_str!("login.rs").contains(&format!("(\"{mark}\", ")), "{mark}");
    }
}

#[test]
fn the_form_works_without_javascript() {
    let html = page(&LoginState { next: "/a?b=1&c", ..LoginState::default() });
    assert!(html.contains("<form id=\"enter-form\" method=\"post\" action=\"/auth_session\">"));
    assert!(html.contains("<input type=\"hidden\" name=\"next\" value=\"/a?b=1&amp;c\">"));
    assert!(html.contains("name=\"key\" type=\"password\"") && html.contains("autocomplete=\"current-password\""));
    assert!(html.contains("<input name=\"remember\" type=\"checkbox\" value=\"true\">"));
}

#[test]
fn signing_out_shows_its_form_and_not_the_other() {
    let html = page(&LoginState { logout: true, ..LoginState::default() });
    assert!(!section(&html, "leave").contains("hidden") && section(&html, "enter").contains("hidden"));
    assert!(html.contains("<input type=\"hidden\" name=\"logout\" value=\"true\">"));
    let html = page(&LoginState::default());
    assert!(section(&html, "leave").contains("hidden") && !section(&html, "enter").contains("hidden"));
}

#[test]
fn each_error_is_said() {
    let texts = Texts::of(Language::English);
    for (error, text) in [
        (LoginError::Wrong, texts.wrong),
        (LoginError::Busy, texts.busy_a_while),
        (LoginError::CrossSite, texts.cross_site),
        (LoginError::Expired, texts.expired),
        (LoginError::NoKey, texts.no_key),
    ] {
        let html = page(&LoginState { error: Some(error), ..LoginState::default() });
        assert!(html.contains(&format!("role=\"alert\">{}</p>", encode_quoted_attribute(text))), "{error:?}");
        assert_eq!(html.contains("aria-describedby=\"error\" aria-invalid=\"true\""), error == LoginError::Wrong);
        assert_eq!(LoginError::from_word(error.word()), Some(error));
    }
    assert_eq!(LoginError::from_word("Wrong"), None);
}

#[test]
fn the_time_to_wait_is_said_in_seconds() {
    let state = LoginState { error: Some(LoginError::Busy), retry_after: Some(17), ..LoginState::default() };
    for language in Language::ALL {
        assert!(login(language, &state, &[]).html.contains("<span role=\"timer\">17</span>"));
    }
}

#[test]
fn the_policy_allows_the_very_script_and_style_in_the_page() {
    let Page { html, policy } =
        login(Language::Korean, &LoginState { next: "/</script>", ..LoginState::default() }, &[]);
    let between = |open: &str, close: &str| {
        html.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map_or("", |(inner, _)| inner)
    };
    for inner in [between("<style>", "</style>"), between("<script>", "</script>")] {
        assert!(!inner.is_empty() && policy.to_str().is_ok_and(|policy| policy.contains(&source(inner))));
    }
    assert_eq!(html.matches("<script").count(), 1);
    assert!(!html.contains(" style=") && !html.contains(" onclick") && !html.contains("src="));
    assert_eq!(html.matches("http").count(), 1, "the icon's name space, which nothing loads, and no other address");
}

#[test]
fn every_text_that_the_script_asks_for_is_there() {
    let attributes = says(Texts::of(Language::Japanese));
    let asked = SCRIPT
        .split(" says.")
        .skip(1)
        .chain(SCRIPT.split("(says.").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next());
    for name in asked.flatten() {
        let kebab: String =
            name.chars().flat_map(|c| c.is_uppercase().then_some('-').into_iter().chain(c.to_lowercase())).collect();
        assert!(attributes.contains(&format!(" data-{kebab}=\"")), "{name}");
    }
}

proptest! {
    #[test]
    fn no_next_breaks_out_of_its_attribute(next in any::<String>()) {
        let html = page(&LoginState { next: &next, ..LoginState::default() });
        let value = html.split_once("name=\"next\" value=\"").and_then(|(_, rest)| rest.split_once("\">\n<input type=\"text\""));
        prop_assert!(value.is_some_and(|(value, _)| !value.contains(['"', '<', '>'])));
    }
}
