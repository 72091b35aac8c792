//! What is served without a key: the lists of the guide, and the shape that a list of one's own must have.

use std::str::FromStr;

use serde::Deserialize;

use super::values::from_text;

/// ComfyUI's static trees. An ending alone never opens a path, as every dynamic API path can be made to end in `.json`.
const TREES: &[&str] =
    &["/assets/", "/scripts/", "/fonts/", "/cursor/", "/lib/", "/extensions/", "/templates/", "/docs/"];

/// The guide's endings; the last row is what today's front end needs besides.
const SUFFIXES: &[&str] = &[
    ".html", ".js", ".css", ".json", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".ico", ".woff", ".woff2",
    ".ttf", ".mp3", ".wav", ".mp4", ".webm", ".mjs", ".map", ".eot", ".txt", ".md",
];

/// ComfyUI's API (and the manager's), which is never open. `/extensions` is not here since its tree is static;
/// the bare path is an API list, and needs a key for want of an ending.
const NEVER: &[&str] = &[
    "/api",
    "/ws",
    "/userdata",
    "/history",
    "/view",
    "/view_metadata",
    "/internal",
    "/models",
    "/settings",
    "/object_info",
    "/experiment",
    "/queue",
    "/prompt",
    "/upload",
    "/users",
    "/system_stats",
    "/features",
    "/embeddings",
    "/interrupt",
    "/free",
    "/v2",
    "/i18n",
    "/workflow_templates",
    "/manager",
    "/customnode",
    "/snapshot",
    "/externalmodel",
];

/// Why a text cannot stand in one of the lists.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ExemptError {
    /// The whole site.
    #[error("\"/\" would open every path without a key; name the folders that hold static files only")]
    Root,
    /// Not `/NAME/`.
    #[error("\"{0}\" is not a tree; write a path with a slash at both ends, for example \"/assets/\"")]
    Tree(String),
    /// Not `/NAME`.
    #[error("\"{0}\" is not an API path; write a path that begins and does not end with a slash, for example \"/api\"")]
    Never(String),
    /// Not `.NAME`.
    #[error("\"{0}\" is not an ending; write a dot and letters or digits, for example \".png\"")]
    Suffix(String),
}

from_text!(Tree, Suffix, ApiPath);

/// `/x/`: a path prefix below which static files lie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Tree(pub(super) String);

/// `.x`: the ending of a static file's name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Suffix(pub(super) String);

/// `/x`: a path that is never exempt, and all below it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ApiPath(pub(super) String);

impl FromStr for Tree {
    type Err = ExemptError;

    fn from_str(text: &str) -> Result<Self, ExemptError> {
        if text == "/" {
            return Err(ExemptError::Root);
        }
        let inner = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        match inner {
            Some(segments) if are_plain_segments(segments) => Ok(Self(text.to_owned())),
            _ => Err(ExemptError::Tree(text.to_owned())),
        }
    }
}

impl FromStr for ApiPath {
    type Err = ExemptError;

    fn from_str(text: &str) -> Result<Self, ExemptError> {
        match text.strip_prefix('/') {
            Some(segments) if are_plain_segments(segments) => Ok(Self(text.to_owned())),
            _ => Err(ExemptError::Never(text.to_owned())),
        }
    }
}

impl FromStr for Suffix {
    type Err = ExemptError;

    fn from_str(text: &str) -> Result<Self, ExemptError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match text.strip_prefix('.') {
            Some(name) if !name.is_empty() && name.bytes().all(plain) => Ok(Self(text.to_owned())),
            _ => Err(ExemptError::Suffix(text.to_owned())),
        }
    }
}

/// Segments in the one spelling that a path can have: what a request would have to escape, or could spell in
/// two ways, cannot be compared safely and so cannot be configured.
fn are_plain_segments(segments: &str) -> bool {
    segments.split('/').all(|segment| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    })
}

impl Tree {
    /// Whether everything in the tree belongs to this API path.
    pub(super) fn lies_in(&self, never: &str) -> bool {
        self.0.strip_prefix(never).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The default of `auth.exempt.trees`.
pub(super) fn default_trees() -> Vec<Tree> {
    TREES.iter().map(|tree| Tree((*tree).to_owned())).collect()
}

/// The default of `auth.exempt.suffixes`.
pub(super) fn default_suffixes() -> Vec<Suffix> {
    SUFFIXES.iter().map(|suffix| Suffix((*suffix).to_owned())).collect()
}

/// The default of `auth.exempt.never`.
pub(super) fn default_never() -> Vec<ApiPath> {
    NEVER.iter().map(|path| ApiPath((*path).to_owned())).collect()
}

/// ComfyUI's API and what the configuration adds. A list of one's own that forgot a path would open it, so
/// the built-in list cannot be made shorter.
pub(super) fn all_never(written: Vec<ApiPath>) -> Vec<String> {
    let mut paths: Vec<String> = NEVER.iter().map(|path| (*path).to_owned()).collect();
    for ApiPath(path) in written {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_has_the_shape_that_a_list_of_ones_own_must_have() {
        for tree in default_trees() {
            assert_eq!(tree.0.parse(), Ok(tree.clone()));
            assert!(NEVER.iter().all(|never| !tree.lies_in(never)), "{tree:?}");
        }
        for suffix in default_suffixes() {
            assert_eq!(suffix.0.parse(), Ok(suffix));
        }
        for path in default_never() {
            assert_eq!(path.0.parse(), Ok(path));
        }
    }

    #[test]
    fn what_could_be_spelt_in_two_ways_is_refused() {
        for text in
            ["", "assets/", "/assets", "//", "/a//b/", "/./", "/a/../b/", "/a%2fb/", "/a;b/", "/a b/", "/a?/", "/ä/"]
        {
            assert_eq!(text.parse::<Tree>(), Err(ExemptError::Tree(text.to_owned())));
        }
        assert_eq!("/".parse::<Tree>(), Err(ExemptError::Root));
        for text in ["/", "/api/", "api", "/a//b"] {
            assert_eq!(text.parse::<ApiPath>(), Err(ExemptError::Never(text.to_owned())));
        }
        for text in ["", ".", "png", ".p/g", ".p%20"] {
            assert_eq!(text.parse::<Suffix>(), Err(ExemptError::Suffix(text.to_owned())));
        }
    }

    #[test]
    fn a_tree_lies_in_an_api_path_by_whole_segments() {
        let tree = |text: &str| Tree(text.to_owned());
        assert!(tree("/api/").lies_in("/api"));
        assert!(tree("/api/x/").lies_in("/api"));
        assert!(!tree("/apish/").lies_in("/api"));
        assert!(!tree("/extensions/").lies_in("/ext"));
    }

    #[test]
    fn a_list_of_ones_own_cannot_open_the_api() {
        let never = all_never(vec![ApiPath("/mine".to_owned()), ApiPath("/api".to_owned())]);
        assert_eq!(never.len(), NEVER.len() + 1);
        assert!(NEVER.iter().all(|path| never.contains(&(*path).to_owned())));
    }
}
