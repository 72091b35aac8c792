//! `auth_inject.js`: the script that gives ComfyUI's own requests the session's token. Served as it is, the same for everybody.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

/// The script's text.
pub(crate) const INJECT_JS: &str = include_str!("auth_inject.js");

static ETAG: LazyLock<HeaderValue> = LazyLock::new(|| etag(INJECT_JS));

/// The script's entity tag, a strong one (RFC 9110 section 8.8.3): another version of the guard has another.
pub(crate) fn inject_etag() -> HeaderValue {
    ETAG.clone()
}

fn etag(text: &str) -> HeaderValue {
    // Base64 is always a header value.
    let tag = format!("\"{}\"", STANDARD.encode(Sha256::digest(text)));
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"0\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_quoted_and_follows_the_text() {
        assert_eq!(etag(""), "\"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"");
        assert_eq!(inject_etag(), etag(INJECT_JS));
        assert_ne!(etag(INJECT_JS), etag(&INJECT_JS.replacen('a', "b", 1)));
    }

    #[test]
    fn the_script_has_the_guides_names() {
        for name in
            ["comfyui_api_key", "localStorage", "sessionStorage", "/auth_login.html", "XMLHttpRequest", "comfyuiLogout"]
        {
            assert!(INJECT_JS.contains(name), "{name}");
        }
    }
}
