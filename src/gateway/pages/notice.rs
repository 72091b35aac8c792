//! The page that goes with a refusal or with a ComfyUI that is not there yet; the latter goes on by itself.

use std::sync::LazyLock;

use html_escape::encode_quoted_attribute;
use http::StatusCode;

use super::guard_texts;
use super::language::Language;
use super::login::attribute;
use super::policy::{Page, STYLE, STYLE_SOURCE, policy, source};
use super::template::{Value, fill};
use super::texts::Texts;
use crate::config::Origin;
use crate::gateway::answer::Own;

const PAGE: &str = include_str!("notice.html");
const SCRIPT: &str = include_str!("notice.js");

/// States in which the waiting page's script may find ComfyUI (`status` of `/health`).
const WAITING: [&str; 6] = ["starting", "restarting", "failed", "unreachable", "stopping", "unresponsive"];

static SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| source(SCRIPT));

/// The page that goes with an answer. One that says "not yet" loads itself again.
pub(crate) fn notice(language: Language, answer: &Own, frame_ancestors: &[Origin]) -> Page {
    let texts = Texts::of(language);
    let translated = texts.message(answer.error);
    let untranslated = translated.is_none() && language != Language::English;
    let retry = answer.retry_after.filter(|_| waits(answer.status));
    let refresh = retry
        .map(|seconds| format!("<noscript><meta http-equiv=\"refresh\" content=\"{}\"></noscript>\n", seconds.max(1)));
    let says = retry.map(|_| format!(" class=\"waits\" data-waits{}", says(texts))).unwrap_or_default();
    let (action, href) = match answer.status {
        StatusCode::UNAUTHORIZED => (texts.login, "/auth_login.html"),
        _ if answer.retry_after.is_some() || waits(answer.status) => (texts.try_again, ""),
        _ => (texts.to_start, "/"),
    };
    // Who waits for ComfyUI may want to know why, or to start it anew.
    let more = waits(answer.status).then(|| {
        let name = encode_quoted_attribute(guard_texts::text(language, "title"));
        format!("<span><a href=\"/guard/\">{name}</a></span>")
    });
    let html = fill(
        PAGE,
        &[
            ("lang", Value::Text(language.tag())),
            ("refresh", Value::Markup(refresh.as_deref().unwrap_or_default())),
            ("title", Value::Text(title(answer.status, answer.error, texts))),
            ("style", Value::Markup(STYLE)),
            ("script", Value::Markup(SCRIPT)),
            ("waits", Value::Markup(&says)),
            ("message_lang", Value::Markup(if untranslated { " lang=\"en\"" } else { "" })),
            ("message", Value::Text(translated.unwrap_or(&answer.message))),
            ("action", Value::Text(action)),
            ("href", Value::Text(href)),
            ("goes_on", Value::Text(if retry.is_some() { texts.goes_on } else { "" })),
            ("more", Value::Markup(more.as_deref().unwrap_or_default())),
            ("status", Value::Text(answer.status.as_str())),
        ],
    );
    Page { html, policy: policy(&SCRIPT_SOURCE, &STYLE_SOURCE, frame_ancestors) }
}

/// Whether the same request may well succeed soon.
fn waits(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
}

fn title(status: StatusCode, error: &str, texts: &Texts) -> &'static str {
    let titles = &texts.titles;
    match (status, error) {
        (StatusCode::UNAUTHORIZED, _) => titles.locked,
        (StatusCode::TOO_MANY_REQUESTS, _) => titles.busy,
        (StatusCode::SERVICE_UNAVAILABLE, "starting") => titles.starting,
        (StatusCode::SERVICE_UNAVAILABLE, "restarting") => titles.restarting,
        (StatusCode::SERVICE_UNAVAILABLE, _) => titles.not_ready,
        (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => titles.no_answer,
        _ => titles.refused,
    }
}

/// What the script may have to say, as `data-` attributes.
fn says(texts: &Texts) -> String {
    let titles =
        WAITING.map(|state| attribute(&format!("title_{state}"), title(StatusCode::SERVICE_UNAVAILABLE, state, texts)));
    let messages = WAITING.map(|state| {
        texts.message(state).map(|message| attribute(&format!("message_{state}"), message)).unwrap_or_default()
    });
    titles.concat() + &messages.concat()
}

#[cfg(test)]
mod tests {
    use super::super::template::marks;
    use super::*;
    use crate::gateway::auth::refusal::Refusal;

    fn answer(status: StatusCode, error: &'static str, retry_after: Option<u32>) -> Own {
        Own { status, error, message: "<script>alert(1)</script> & \"more\" {{script}}".to_owned(), retry_after }
    }

    fn page(language: Language, answer: &Own) -> String {
        notice(language, answer, &[]).html
    }

    #[test]
    fn every_refusal_is_told_in_each_language() {
        let refusals = [
            Refusal::TargetTooLong,
            Refusal::MethodNotAllowed("GET"),
            Refusal::BadScheme,
            Refusal::BadHost,
            Refusal::HostMismatch,
            Refusal::TwoLengths,
            Refusal::BadTransferEncoding,
            Refusal::BadContentLength,
            Refusal::BadPath,
        ];
        for language in Language::ALL.into_iter().filter(|language| *language != Language::English) {
            for refusal in refusals {
                assert!(Texts::of(language).message(refusal.code()).is_some(), "{language:?} {refusal:?}");
            }
        }
    }

    #[test]
    fn a_message_cannot_become_markup() {
        let html = page(Language::English, &answer(StatusCode::BAD_GATEWAY, "x", None));
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot; {{script}}"));
        assert_eq!(html.matches("<script>").count(), 1);
    }

    #[test]
    fn only_a_page_that_waits_loads_itself_again() {
        let waiting = page(Language::English, &answer(StatusCode::SERVICE_UNAVAILABLE, "starting", Some(3)));
        assert!(waiting.contains("<noscript><meta http-equiv=\"refresh\" content=\"3\"></noscript>"));
        assert!(waiting.contains(" data-waits ") && waiting.contains("goes on by itself"));
        for (status, retry_after) in [
            (StatusCode::UNAUTHORIZED, None),
            (StatusCode::TOO_MANY_REQUESTS, Some(3)),
            (StatusCode::SERVICE_UNAVAILABLE, None),
            (StatusCode::BAD_REQUEST, None),
        ] {
            let html = page(Language::English, &answer(status, "x", retry_after));
            assert!(!html.contains("http-equiv") && !html.contains("data-waits"), "{status}");
        }
    }

    #[test]
    fn who_waits_for_comfyui_is_shown_the_way_to_its_status() {
        let waiting = page(Language::Japanese, &answer(StatusCode::SERVICE_UNAVAILABLE, "failed", Some(3)));
        assert!(waiting.contains("<a href=\"/guard/\">ComfyUI の状態</a>"));
        assert!(!page(Language::English, &answer(StatusCode::UNAUTHORIZED, "unauthorized", None)).contains("/guard/"));
    }

    #[test]
    fn a_known_answer_is_told_in_the_readers_language() {
        let starting = answer(StatusCode::SERVICE_UNAVAILABLE, "starting", Some(2));
        assert!(page(Language::Chinese, &starting).contains("正在启动，需要十秒到几分钟"));
        assert!(!page(Language::Chinese, &starting).contains("alert(1)"));
    }

    #[test]
    fn an_unknown_answer_is_marked_as_english() {
        let html = page(Language::Korean, &answer(StatusCode::BAD_REQUEST, "some_new_error", None));
        assert!(html.contains("<p id=\"message\" lang=\"en\""));
        assert!(
            !page(Language::English, &answer(StatusCode::BAD_REQUEST, "some_new_error", None))
                .contains("lang=\"en\" class")
        );
    }

    #[test]
    fn a_locked_page_leads_to_the_login() {
        let html = page(Language::Japanese, &answer(StatusCode::UNAUTHORIZED, "unauthorized", None));
        assert!(html.contains("<a class=\"main\" href=\"/auth_login.html\">ログイン</a>"));
    }

    #[test]
    fn every_mark_has_a_value() {
        for language in Language::ALL {
            let own = Own { message: "m".to_owned(), ..answer(StatusCode::SERVICE_UNAVAILABLE, "starting", Some(1)) };
            assert_eq!(marks(&page(language, &own)), Vec::<&str>::new());
        }
        for mark in marks(PAGE) {
            assert!(include_str!("notice.rs").contains(&format!("(\"{mark}\", ")), "{mark}");
        }
    }

    #[test]
    fn the_policy_allows_the_very_script_and_style_in_the_page() {
        let Page { html, policy } = notice(Language::English, &answer(StatusCode::NOT_FOUND, "x", None), &[]);
        for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
            let inner =
                html.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map_or("", |(inner, _)| inner);
            assert!(!inner.is_empty() && policy.to_str().is_ok_and(|policy| policy.contains(&source(inner))));
        }
        assert!(!html.contains(" style="));
    }
}
