//! The Content Security Policy of our pages: nothing from anywhere, and of script and style only what is embedded here.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::config::Origin;

/// The style of every page.
pub(super) const STYLE: &str = include_str!("page.css");

/// A page and the header that belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// The document.
    pub(crate) html: String,
    /// The value of `Content-Security-Policy`.
    pub(crate) policy: HeaderValue,
}

/// The expression that allows [`STYLE`].
pub(super) static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| source(STYLE));

/// The expression that allows exactly one embedded text (CSP level 3, section 2.3.1, hash-source).
pub(super) fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// The policy of a page with these scripts and styles. `frame_ancestors`: who may show it in a frame, besides the site itself.
pub(super) fn policy(scripts: &str, styles: &str, frame_ancestors: &[Origin]) -> HeaderValue {
    let mut policy = format!(
        "default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    );
    for origin in frame_ancestors {
        policy.push(' ');
        policy.push_str(&origin.0);
    }
    // An origin is made of letters, digits and a few marks, so this cannot fail; if it did, the page would have to do
    // without script and style.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hash_source_is_the_digest_that_browsers_compute() {
        // The example of CSP level 3, section 8.3 has this text; its digest was made by `openssl dgst -sha256 -binary | base64`.
        assert_eq!(source("alert('Hello, world.');"), "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
    }

    #[test]
    fn only_the_named_origins_may_frame_a_page() {
        let named = ["https://app.example.org".parse().unwrap(), "https://[2001:db8::1]:8443".parse().unwrap()];
        let framed = policy("'x'", "'y'", &named);
        assert!(
            framed
                .to_str()
                .unwrap()
                .ends_with("; frame-ancestors 'self' https://app.example.org https://[2001:db8::1]:8443")
        );
        assert!(policy("'x'", "'y'", &[]).to_str().unwrap().ends_with("; frame-ancestors 'self'"));
    }

    #[test]
    fn nothing_unsafe_is_allowed() {
        let policy = policy(&source("x"), &STYLE_SOURCE, &[]);
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"));
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
    }
}
