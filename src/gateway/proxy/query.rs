//! The key leaves the query before the request goes on; every other byte stays.

use http::uri::{InvalidUri, PathAndQuery};

use crate::gateway::auth::credentials::is_key_parameter;

/// The target without `api_key` and `token`; `None`: there is nothing to remove, and nothing was allocated.
///
/// # Errors
/// Only if what is left were no target. It then must not go on in its old form, which holds the key.
pub(crate) fn without_credentials(target: &PathAndQuery) -> Result<Option<PathAndQuery>, InvalidUri> {
    let Some(query) = target.query() else {
        return Ok(None);
    };
    if !query.split('&').any(carries_key) {
        return Ok(None);
    }
    let mut left = String::with_capacity(target.as_str().len());
    left.push_str(target.path());
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !carries_key(pair)) {
        left.push(separator);
        left.push_str(pair);
        separator = '&';
    }
    PathAndQuery::try_from(left).map(Some)
}

fn carries_key(pair: &str) -> bool {
    is_key_parameter(pair.split_once('=').map_or(pair, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gateway::auth::credentials::{Presented, presented};
    use http::HeaderMap;
    use proptest::prelude::*;

    fn strip(target: &str) -> Option<String> {
        without_credentials(&target.parse().unwrap()).unwrap().map(|left| left.to_string())
    }

    #[test]
    fn only_the_key_is_removed() {
        for (target, left) in [
            ("/queue?api_key=k", "/queue"),
            ("/queue?token=k", "/queue"),
            ("/queue?api_key", "/queue"),
            ("/queue?api%5Fkey=k&a=%2f+", "/queue?a=%2f+"),
            ("/ws?clientId=1&token=k", "/ws?clientId=1"),
            ("/view?a=1&api_key=k&&b=%20&token=k&c", "/view?a=1&&b=%20&c"),
            ("/a%2Fb/%71?api_key=k&x=;api_key=z", "/a%2Fb/%71?x=;api_key=z"),
        ] {
            assert_eq!(strip(target).as_deref(), Some(left), "{target}");
        }
        for target in ["/queue", "/queue?", "/queue?a=api_key&xtoken=1", "/api_key=k", "/x?API_KEY=k", "/x?a=1&&b"] {
            assert_eq!(strip(target), None, "{target}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_presents_nothing(query in "((api_key|token|api%5Fkey|a|)(=[a-z%&+]{0,4})?&?){0,6}") {
            let target: PathAndQuery = format!("/x?{query}").parse().unwrap();
            let left = without_credentials(&target).unwrap();
            let seen = left.as_ref().unwrap_or(&target);
            prop_assert_eq!(presented(&HeaderMap::new(), seen.query()), Presented::None);
            let kept: Vec<_> = query.split('&').filter(|pair| !carries_key(pair)).collect();
            if left.is_some() {
                prop_assert_eq!(seen.query().unwrap_or(""), kept.join("&"));
            }
        }
    }
}
