//! For tests: ComfyUI's routes, the guide's policy, and paths that are nearly something else.

use std::path::PathBuf;

use http::Method;
use proptest::prelude::*;

use crate::config;
use crate::units::Span;

/// ComfyUI's API as its server registers it; each path but `/internal` also exists below `/api`.
/// A `{name}` stands for one segment, `{name:.*}` for any number.
pub(super) const ROUTES: &[(&str, &str)] = &[
    ("GET", "/ws"),
    ("GET", "/embeddings"),
    ("GET", "/models"),
    ("GET", "/models/{folder}"),
    ("GET", "/extensions"),
    ("POST", "/upload/image"),
    ("POST", "/upload/mask"),
    ("GET", "/view"),
    ("GET", "/view_metadata/{folder_name}"),
    ("GET", "/system_stats"),
    ("GET", "/features"),
    ("GET", "/prompt"),
    ("POST", "/prompt"),
    ("GET", "/object_info"),
    ("GET", "/object_info/{node_class}"),
    ("GET", "/history"),
    ("POST", "/history"),
    ("GET", "/history/{prompt_id}"),
    ("GET", "/queue"),
    ("POST", "/queue"),
    ("POST", "/interrupt"),
    ("POST", "/free"),
    ("GET", "/users"),
    ("POST", "/users"),
    ("GET", "/userdata"),
    ("GET", "/v2/userdata"),
    ("GET", "/userdata/{file}"),
    ("POST", "/userdata/{file}"),
    ("DELETE", "/userdata/{file}"),
    ("POST", "/userdata/{file}/move/{dest}"),
    ("GET", "/settings"),
    ("POST", "/settings"),
    ("GET", "/settings/{id}"),
    ("POST", "/settings/{id}"),
    ("GET", "/experiment/models"),
    ("GET", "/experiment/models/{folder}"),
    ("GET", "/experiment/models/preview/{folder}/{path_index}/{filename:.*}"),
    ("GET", "/workflow_templates"),
    ("GET", "/i18n"),
    ("GET", "/internal/logs"),
    ("GET", "/internal/logs/raw"),
    ("PATCH", "/internal/logs/subscribe"),
    ("GET", "/internal/folder_paths"),
    ("GET", "/internal/files/{directory_type}"),
];

/// The guide's policy, closed by place.
pub(super) fn auth() -> config::Auth {
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    config::Auth {
        enabled: true,
        key_file: PathBuf::from("/etc/comfy-guard/key"),
        anonymous_websocket: config::AnonymousWebsocket::Status,
        allowed_origins: Vec::new(),
        frame_ancestors: Vec::new(),
        session_lifetime: Span::from_secs(30 * 86_400),
        browser_session_lifetime: Span::from_secs(12 * 3_600),
        exempt: config::Exempt {
            trees: list("/assets/ /scripts/ /fonts/ /cursor/ /lib/ /extensions/ /templates/ /docs/"),
            suffixes: list(
                ".html .js .css .json .png .jpg .jpeg .gif .webp .svg .ico .woff .woff2 .ttf .mp3 .wav .mp4 .webm .mjs .map .eot .txt .md",
            ),
            never: list(
                "/api /userdata /history /view /internal /models /object_info /view_metadata /settings /users /prompt /queue \
                 /upload /experiment /ws",
            ),
        },
    }
}

/// Paths at which this route's handler runs, or could be thought to run, made to end in each suffix.
pub(super) fn spellings(route: &str, suffixes: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    let plain = !route.contains('{');
    let segments: Vec<&str> = route.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
    let base = segments.join("/");
    for base in [base.clone(), format!("/api{base}")] {
        if plain {
            all.push(base.clone());
        }
        for suffix in suffixes {
            for separator in ["/x", "%2Fx", "%2fx", "/..%2Fx", "//x", "%5Cx", ";x", "/%2e%2e/x", "%252Fx"] {
                // Below `/extensions` lie files, not the list: that is a static tree.
                if base != "/extensions" || separator != "/x" {
                    all.push(format!("{base}{separator}{suffix}"));
                }
            }
            if !plain {
                all.push(format!("{base}{suffix}"));
                all.push(format!("{base}%2Fy{suffix}"));
            }
        }
    }
    all
}

/// The usual methods and two others.
pub(super) fn methods() -> impl Strategy<Value = Method> {
    prop_oneof![
        4 => Just(Method::GET),
        2 => Just(Method::HEAD),
        1 => Just(Method::POST),
        1 => Just(Method::DELETE),
        1 => Just(Method::OPTIONS),
        1 => Just(Method::TRACE),
        1 => Just(Method::from_bytes(b"GETS").unwrap_or_default()),
    ]
}

/// Pieces that routes, files and attacks on path readers consist of.
pub(super) const PIECES: &[&str] = &[
    "/",
    "/",
    "/",
    "/",
    "api",
    "queue",
    "userdata",
    "history",
    "view",
    "ws",
    "internal",
    "models",
    "prompt",
    "health",
    "assets",
    "extensions",
    "scripts",
    "templates",
    "docs",
    "lib",
    "core",
    "x",
    "a",
    "My%20Node",
    "%E4%BD%A0",
    ".js",
    ".json",
    ".css",
    ".png",
    ".JS",
    ".html",
    "%2F",
    "%2f",
    "%5C",
    "\\",
    "%2E",
    "%2e",
    ".",
    "..",
    "//",
    ";",
    ";.js",
    "%25",
    "%252F",
    "%71",
    "%61",
    "%C3",
    "%c3%a9",
    "%40",
    "@",
    "%3F",
    "%23",
    "%2B",
    "+",
    "%26",
    "&",
    "=",
    "%3D",
    "%21",
    "%28",
    "~",
    "%7E",
    "\u{e9}",
    "\u{4f60}",
    " ",
    "\"",
    "|",
    "{x}",
    "[",
    "%5B",
    "%",
    "%0",
    "%00",
    "%0A",
    "%7F",
    "^",
    "%EF%BB%BF",
    "%E2%80%AE",
    "%F0%9F%98%80",
    "%ED%A0%80",
    ":",
    "%3A",
    "*",
    "'",
    "%27",
    ",",
    "%2C",
    "%24",
    "$",
    "-",
    "_",
    "%20",
    "user.css",
    "index.html",
];

/// Paths put together from [`PIECES`], and some that lie in a tree.
pub(super) fn paths() -> impl Strategy<Value = String> {
    let pieces = || proptest::collection::vec(proptest::sample::select(PIECES), 0..8).prop_map(|list| list.concat());
    prop_oneof![
        3 => pieces().prop_map(|tail| format!("/{tail}")),
        2 => (proptest::sample::select(vec!["/assets/", "/extensions/", "/docs/", "/"]), pieces())
            .prop_map(|(tree, tail)| format!("{tree}{tail}x.js")),
        1 => Just("/ws".to_owned()),
    ]
}
