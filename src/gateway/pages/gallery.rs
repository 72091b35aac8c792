//! Renders every page in every state and language, checks what holds for all of them, and leaves them as files for a
//! browser to look at where `COMFY_GUARD_GALLERY` names a directory.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use http::StatusCode;

use super::*;
use crate::gateway::answer::Own;

fn logins() -> Vec<(&'static str, LoginState<'static>)> {
    let plain = LoginState { next: "/", ..LoginState::default() };
    let failed = |error| LoginState { error: Some(error), ..plain };
    vec![
        ("login", plain),
        ("login-wrong", failed(LoginError::Wrong)),
        ("login-busy", LoginState { retry_after: Some(12), ..failed(LoginError::Busy) }),
        ("login-busy-a-while", failed(LoginError::Busy)),
        ("login-cross_site", failed(LoginError::CrossSite)),
        ("login-expired", failed(LoginError::Expired)),
        ("login-no_key", failed(LoginError::NoKey)),
        ("login-logout", LoginState { logout: true, ..plain }),
        ("login-signed_out", LoginState { signed_out: true, ..plain }),
    ]
}

fn notices() -> Vec<(&'static str, Own)> {
    let own =
        |status, error, message: &str, retry_after| Own { status, error, message: message.to_owned(), retry_after };
    let starting = "ComfyUI is starting. This takes from ten seconds to some minutes.";
    vec![
        ("notice-starting", own(StatusCode::SERVICE_UNAVAILABLE, "starting", starting, Some(2))),
        ("notice-failed", own(StatusCode::SERVICE_UNAVAILABLE, "failed", "ComfyUI ended too often.", Some(30))),
        ("notice-locked", own(StatusCode::UNAUTHORIZED, "unauthorized", "This ComfyUI needs a key.", None)),
        ("notice-no_answer", own(StatusCode::BAD_GATEWAY, "no_answer", "ComfyUI ended the connection.", Some(2))),
        ("notice-bad_path", own(StatusCode::BAD_REQUEST, "bad_path", "the path has a bad percent escape", None)),
    ]
}

#[test]
fn every_page_is_whole_in_every_language() {
    let directory = std::env::var_os("COMFY_GUARD_GALLERY").map(PathBuf::from);
    for language in Language::ALL {
        let logins = logins().into_iter().map(|(name, state)| (name, login(language, &state, &[])));
        let notices = notices().into_iter().map(|(name, own)| (name, notice(language, &own, &[])));
        for (name, page) in logins.chain(notices) {
            assert!(page.html.starts_with("<!doctype html>") && page.html.ends_with("</html>\n"), "{name}");
            assert!(page.html.len() < 32 * 1024, "{name} is {} bytes", page.html.len());
            if let Some(directory) = &directory {
                let file = directory.join(format!("{name}.{}.html", language.tag()));
                std::fs::write(&file, &page.html).unwrap();
                std::fs::write(file.with_extension("policy"), page.policy.as_bytes()).unwrap();
            }
        }
    }
}
