//! Pages for people, embedded in the binary; the one place where text meets HTML.

use html_escape::encode_quoted_attribute;
use http::StatusCode;

use super::answer::Own;

/// Nothing from anywhere, styles from the page itself.
pub(crate) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("notice.html");

/// The page that goes with an answer. One that says "not yet" loads itself again.
pub(crate) fn render(answer: &Own) -> String {
    let refresh = match answer.retry_after {
        Some(seconds)
            if answer.status == StatusCode::SERVICE_UNAVAILABLE || answer.status == StatusCode::BAD_GATEWAY =>
        {
            format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")
        }
        _ => String::new(),
    };
    PAGE.replace("{refresh}", &refresh)
        .replace("{title}", title(answer))
        .replace("{status}", answer.status.as_str())
        .replace("{message}", &encode_quoted_attribute(&answer.message))
}

fn title(answer: &Own) -> &'static str {
    match answer.status {
        StatusCode::UNAUTHORIZED => "This ComfyUI is locked",
        StatusCode::SERVICE_UNAVAILABLE => "ComfyUI is not ready",
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => "ComfyUI did not answer",
        StatusCode::TOO_MANY_REQUESTS => "Too many tries",
        _ => "This request was refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: StatusCode, retry_after: Option<u32>) -> Own {
        Own { status, error: "x", message: "<script>alert(1)</script> & \"more\"".to_owned(), retry_after }
    }

    #[test]
    fn a_message_cannot_become_markup() {
        let page = render(&answer(StatusCode::BAD_GATEWAY, None));
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;"));
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn a_page_that_waits_loads_itself_again() {
        assert!(
            render(&answer(StatusCode::SERVICE_UNAVAILABLE, Some(3))).contains("http-equiv=\"refresh\" content=\"3\"")
        );
        assert!(!render(&answer(StatusCode::UNAUTHORIZED, None)).contains("refresh"));
    }

    #[test]
    fn every_mark_is_filled() {
        assert!(!render(&answer(StatusCode::UNAUTHORIZED, None)).contains('{') || !PAGE.contains("{{"));
        for mark in ["{refresh}", "{title}", "{status}", "{message}"] {
            assert!(PAGE.contains(mark) && !render(&answer(StatusCode::UNAUTHORIZED, None)).contains(mark));
        }
    }
}
