//! What is served without a key: decided by place *and* ending, from method and path alone.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::config;

use super::path::PathKind;

/// Whether this request reads one of ComfyUI's static files.
///
/// An ending alone would open API resources (`/history/x.json` is a real document), a place alone would open lists
/// (`/extensions`). Places are compared decoded, the configured ones too, so that no spelling escapes the `never` list.
pub(crate) fn is_exempt(method: &Method, raw_path: &str, kind: PathKind, exempt: &config::Exempt) -> bool {
    if kind != PathKind::Canonical || !matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    let Some((folder, name)) = raw_path.rsplit_once('/') else { return false };
    if !has_suffix(name, &exempt.suffixes) {
        return false;
    }
    let path = decoded(raw_path);
    (folder.is_empty() || exempt.trees.iter().any(|tree| path.starts_with(&decoded(tree))))
        && !exempt.never.iter().any(|place| lies_at_or_below(&path, &decoded(place.trim_end_matches('/'))))
}

/// Borrowed unless there is an escape in it. A canonical path has no escaped slash or dot, so decoding moves nothing.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    percent_decode_str(text).into()
}

/// Endings are compared exactly: ComfyUI's file names are, and nothing is lost by asking for a key once too often.
fn has_suffix(name: &str, suffixes: &[String]) -> bool {
    suffixes.iter().any(|suffix| name.strip_suffix(suffix.as_str()).is_some_and(|stem| !stem.is_empty()))
}

fn lies_at_or_below(path: &[u8], place: &[u8]) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, ROUTES};
    use super::super::path::classify;
    use super::*;
    use proptest::prelude::*;

    fn exempt(method: &Method, path: &str) -> bool {
        is_exempt(method, path, classify(path), &fixture::auth().exempt)
    }

    #[test]
    fn static_files_are_open_to_read() {
        for path in [
            "/user.css",
            "/index.html",
            "/manifest.json",
            "/assets/index-abc.js",
            "/assets/a/b/c.mjs",
            "/extensions/My%20Node/a.js",
            "/extensions/core/%E4%BD%A0.png",
            "/templates/default.json",
            "/docs/en/x.md",
            "/fonts/inter.woff2",
            "/scripts/app.js.map",
        ] {
            assert!(exempt(&Method::GET, path), "{path}");
            assert!(exempt(&Method::HEAD, path), "{path}");
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
                assert!(!exempt(&method, path), "{method} {path}");
            }
        }
    }

    #[test]
    fn everything_else_needs_a_key() {
        for path in [
            "/",
            "/api/",
            "/queue",
            "/extensions",
            "/extensions/",
            "/extensions/x",
            "/extensions.json/",
            "/assets/",
            "/assets/.js",
            "/.js",
            "/assets/x.JS",
            "/assets/x.py",
            "/assets/x.js/",
            "/assets/x.js/y",
            "/Assets/x.js",
            "/assetsx/x.js",
            "/other/x.js",
            "/api/assets/x.js",
            "/api/userdata/pic.png",
            "/userdata/user.css",
            "/history/x.json",
            "/view/x.png",
            "/internal/x.js",
            "/assets/x%2Ejs",
            "/assets/../queue.json",
            "/assets//x.js",
            "/assets/x;y.js",
            "/assets/%2F/x.js",
            "/%61ssets/x.js",
        ] {
            assert!(!exempt(&Method::GET, path), "{path}");
        }
    }

    #[test]
    fn never_wins_over_a_tree_however_it_is_spelt() {
        let mut rules = fixture::auth().exempt;
        rules.never.push("/extensions/a@b".into());
        rules.never.push("/extensions/slash/".into());
        rules.never.push("/extensions/c%20d".into());
        let open = |path: &str| is_exempt(&Method::GET, path, classify(path), &rules);
        for path in
            ["/extensions/a@b/x.js", "/extensions/a%40b/x.js", "/extensions/slash/x.js", "/extensions/c%20d/x.js"]
        {
            assert!(!open(path), "{path}");
        }
        assert!(open("/extensions/a@bc/x.js"));
        assert!(open("/extensions/slashed/x.js"));
    }

    /// P1: nothing that an API handler answers is exempt, whatever a guest makes its last segment end in.
    #[test]
    fn no_route_is_exempt_by_method_suffix_or_spelling() {
        let auth = fixture::auth();
        let methods =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
        let mut tried = 0;
        for (_, route) in ROUTES {
            for path in fixture::spellings(route, &auth.exempt.suffixes) {
                for method in &methods {
                    assert!(!exempt(method, &path), "{method} {path}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 20_000, "{tried}");
    }

    proptest! {
        #[test]
        fn exempt_means_a_readable_canonical_file_in_its_place(
            method in fixture::methods(),
            path in fixture::paths(),
        ) {
            if exempt(&method, &path) {
                let rules = fixture::auth().exempt;
                prop_assert!(method == Method::GET || method == Method::HEAD);
                prop_assert_eq!(classify(&path), PathKind::Canonical);
                prop_assert!(rules.suffixes.iter().any(|suffix| path.ends_with(suffix.as_str())));
                let at_root = path.matches('/').count() == 1;
                prop_assert!(at_root || rules.trees.iter().any(|tree| path.starts_with(tree.as_str())));
                let below = |place: &String| path.strip_prefix(place.as_str()).is_some_and(|rest| rest.starts_with('/'));
                prop_assert!(!rules.never.iter().any(below));
            }
        }
    }
}
