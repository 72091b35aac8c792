//! `/auth_login.html`: the form that takes the key, with and without JavaScript, and the way out.

use std::borrow::Cow;
use std::sync::LazyLock;

use html_escape::encode_quoted_attribute;

use super::language::Language;
use super::policy::{Page, STYLE, STYLE_SOURCE, policy, source};
use super::template::{Value, fill};
use super::texts::Texts;
use crate::config::Origin;

const PAGE: &str = include_str!("login.html");
const SCRIPT: &str = include_str!("login.js");

static SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| source(SCRIPT));

/// Why the last try did not open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginError {
    /// The key is not the right one.
    Wrong,
    /// Too many tries.
    Busy,
    /// The form was sent by another site.
    CrossSite,
    /// There was a session and it is over.
    Expired,
    /// There is no key that could be right.
    NoKey,
}

impl LoginError {
    const ALL: [Self; 5] = [Self::Wrong, Self::Busy, Self::CrossSite, Self::Expired, Self::NoKey];

    /// The word for it in the query of `/auth_login.html?error=`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Busy => "busy",
            Self::CrossSite => "cross_site",
            Self::Expired => "expired",
            Self::NoKey => "no_key",
        }
    }

    /// The error that a word in the query means; none for anything else, so that a link cannot put words into the page.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|error| error.word() == word)
    }
}

/// What a login page has to show.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LoginState<'a> {
    /// What went wrong before.
    pub(crate) error: Option<LoginError>,
    /// Where to go afterwards: a path of this site, checked already.
    pub(crate) next: &'a str,
    /// With [`LoginError::Busy`]: seconds until the next try.
    pub(crate) retry_after: Option<u32>,
    /// Whether to sign out first (`?logout=true`). The page's script does it by itself; without JavaScript a button does,
    /// because a mere link, which any site can set, must not end a session without one.
    pub(crate) logout: bool,
    /// Whether somebody has just signed out.
    pub(crate) signed_out: bool,
}

/// The login page. `frame_ancestors`: origins that may show it in a frame, besides the site itself.
pub(crate) fn login(language: Language, state: &LoginState<'_>, frame_ancestors: &[Origin]) -> Page {
    let texts = Texts::of(language);
    let hidden = |hide: bool| Value::Markup(if hide { " hidden" } else { "" });
    let error = state.error.map(|error| said(error, state.retry_after, texts)).unwrap_or_default();
    let says = says(texts);
    let (before, after) = texts.where_from.split_once("{command}").unwrap_or((texts.where_from, ""));
    let html = fill(
        PAGE,
        &[
            ("lang", Value::Text(language.tag())),
            ("title", Value::Text(if state.logout { texts.sign_out_title } else { texts.login_title })),
            ("style", Value::Markup(STYLE)),
            ("script", Value::Markup(SCRIPT)),
            ("leave_hidden", hidden(!state.logout)),
            ("enter_hidden", hidden(state.logout)),
            ("sign_out_title", Value::Text(texts.sign_out_title)),
            ("sign_out_lead", Value::Text(texts.sign_out_lead)),
            ("sign_out_button", Value::Text(texts.sign_out)),
            ("login_title", Value::Text(texts.login_title)),
            ("login_lead", Value::Text(texts.login_lead)),
            ("good", Value::Text(if state.signed_out { texts.signed_out } else { "" })),
            ("error", Value::Markup(&error)),
            ("next", Value::Text(state.next)),
            ("key_label", Value::Text(texts.key_label)),
            ("key_invalid", Value::Markup(invalid(state.error))),
            ("show_key", Value::Text(texts.show_key)),
            ("remember", Value::Text(texts.remember)),
            ("login_button", Value::Text(texts.login)),
            ("where_before", Value::Text(before)),
            ("where_after", Value::Text(after)),
            ("says", Value::Markup(&says)),
        ],
    );
    Page { html, policy: policy(&SCRIPT_SOURCE, &STYLE_SOURCE, frame_ancestors) }
}

fn invalid(error: Option<LoginError>) -> &'static str {
    if error == Some(LoginError::Wrong) { " aria-invalid=\"true\"" } else { "" }
}

/// The error in words, as markup: the seconds are an element of their own, which the script counts down.
fn said(error: LoginError, retry_after: Option<u32>, texts: &Texts) -> String {
    let text = match (error, retry_after) {
        (LoginError::Wrong, _) => texts.wrong,
        (LoginError::Busy, Some(seconds)) => {
            let (before, after) = texts.busy.split_once("{seconds}").unwrap_or((texts.busy, ""));
            let [before, after] = [before, after].map(|text| encode_quoted_attribute(text));
            return format!("{before}<span role=\"timer\">{seconds}</span>{after}");
        }
        (LoginError::Busy, None) => texts.busy_a_while,
        (LoginError::CrossSite, _) => texts.cross_site,
        (LoginError::Expired, _) => texts.expired,
        (LoginError::NoKey, _) => texts.no_key,
    };
    encode_quoted_attribute(text).into_owned()
}

/// What the script may have to say, as `data-` attributes: the script itself is the same in every language, and so is its
/// digest in the policy.
fn says(texts: &Texts) -> String {
    [
        ("show", texts.show_key),
        ("hide", texts.hide_key),
        ("asking", texts.asking),
        ("wrong", texts.wrong),
        ("busy", texts.busy),
        ("again", texts.again),
        ("cross-site", texts.cross_site),
        ("offline", texts.offline),
        ("no-key", texts.no_key),
        ("no-cookies", texts.no_cookies),
        ("unexpected", texts.unexpected),
        ("signed-out", texts.signed_out),
        ("sign-out-failed", texts.sign_out_failed),
        ("login-title", texts.login_title),
    ]
    .map(|(name, text)| attribute(name, text))
    .concat()
}

/// One `data-` attribute.
pub(super) fn attribute(name: &str, text: &str) -> String {
    let text: Cow<'_, str> = encode_quoted_attribute(text);
    format!(" data-{name}=\"{text}\"")
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
