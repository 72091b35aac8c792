//! A head that may be written to a log.

use std::fmt;

use http::HeaderMap;

/// Shows the names of all fields, and the values of those that can hold no credential.
pub(crate) struct Redacted<'a>(pub(crate) &'a HeaderMap);

/// Parts of names behind which credentials stand, custom nodes' included; the last two hold URLs with queries.
const TELLTALE: [&str; 9] = ["auth", "cookie", "key", "token", "secret", "passw", "session", "referer", "location"];

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            if value.is_sensitive() || TELLTALE.iter().any(|part| name.as_str().contains(part)) {
                map.entry(&name.as_str(), &format_args!("[redacted]"));
            } else {
                map.entry(&name.as_str(), value);
            }
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::map;
    use super::*;

    #[test]
    fn values_of_credentials_are_hidden() {
        let fields = [
            ("authorization", "Bearer sesame"),
            ("proxy-authorization", "sesame"),
            ("x-api-key", "sesame"),
            ("x_api_key", "sesame"),
            ("cookie", "a=sesame"),
            ("set-cookie", "a=sesame"),
            ("referer", "https://box/?api_key=sesame"),
            ("location", "/?token=sesame"),
            ("x-csrf-token", "sesame"),
        ];
        let text = format!("{:?}", Redacted(&map(&fields)));
        assert!(!text.contains("sesame"), "{text}");
        assert!(fields.iter().all(|(name, _)| text.contains(name)), "{text}");
        assert!(format!("{:?}", Redacted(&map(&[("accept", "*/*")]))).contains("*/*"));
    }
}
