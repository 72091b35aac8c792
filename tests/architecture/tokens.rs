//! What a file's tokens say: the paths that it names, its unsafe code, its calls that panic, its modules of tests.
//!
//! Tokens and not text, so that comments and strings mislead nobody; tokens and not a syntax tree, because no more is asked.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Calls and macros that end the process, for which a typed error or a total function stands instead.
const PANICS: &[&str] =
    &["unwrap", "expect", "unwrap_err", "expect_err", "panic", "todo", "unimplemented", "unreachable"];

/// A path in the code: `crate::os::files`, `nix::libc`.
pub(crate) struct Named {
    /// Its words.
    pub(crate) path: Vec<String>,
    /// Where its last word stands, from 1.
    pub(crate) line: usize,
}

/// What a walk over a file's tokens finds.
#[derive(Default)]
pub(crate) struct Found {
    /// What is imported or named by a path.
    pub(crate) paths: Vec<Named>,
    /// Line, and whether it is a block or an impl: what has to be reasoned, not merely declared.
    pub(crate) unsafes: Vec<(usize, bool)>,
    /// Calls that end the process, outside tests.
    pub(crate) panics: Vec<(usize, String)>,
    /// `#[cfg(test)] mod NAME;`
    pub(crate) test_modules: Vec<String>,
}

fn text_of(token: Option<&TokenTree>) -> String {
    match token {
        Some(TokenTree::Group(_)) | None => String::new(),
        Some(token) => token.to_string(),
    }
}

fn is_path_separator(tokens: &[TokenTree], at: usize) -> bool {
    text_of(tokens.get(at)) == ":" && text_of(tokens.get(at + 1)) == ":"
}

/// Expands `a::{b, c::{self, d}}` from `at` on; returns where it ends.
fn expand(tokens: &[TokenTree], mut at: usize, prefix: &[String], paths: &mut Vec<Named>) -> usize {
    let mut path = prefix.to_vec();
    let mut line = 0;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) if word != "as" => {
                line = word.span().start().line;
                path.push(word.to_string());
                at += 1;
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let mut from = 0;
                while from < inner.len() {
                    from = expand(&inner, from, &path, paths) + 1;
                }
                return skip_to_comma(tokens, at);
            }
            _ => break,
        }
        if !is_path_separator(tokens, at) {
            break;
        }
        at += 2;
    }
    if line > 0 {
        paths.push(Named { path, line });
    }
    skip_to_comma(tokens, at)
}

fn skip_to_comma(tokens: &[TokenTree], mut at: usize) -> usize {
    while at < tokens.len() && text_of(tokens.get(at)) != "," {
        at += 1;
    }
    at
}

/// Whether this attribute's content makes what follows a part of the tests: `cfg(test)`, `cfg(all(test, …))`.
fn is_cfg_test(attribute: &TokenTree) -> bool {
    let text: String = attribute.to_string().split_whitespace().collect();
    text.starts_with("[cfg(test") || text.starts_with("[cfg(all(test")
}

/// Walks over tokens. `module`: where they stand; `test`: whether only tests have them.
pub(crate) fn walk(stream: TokenStream, module: &[String], test: bool, found: &mut Found) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    // From a `#[cfg(test)]` to the end of its item.
    let mut test_item = false;
    while let Some(token) = tokens.get(at) {
        let before = text_of(at.checked_sub(1).and_then(|at| tokens.get(at)));
        let in_test = test || test_item;
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                if let Some(attribute @ TokenTree::Group(_)) = tokens.get(at + 1) {
                    test_item |= is_cfg_test(attribute);
                }
            }
            TokenTree::Punct(mark) if mark.as_char() == ';' => test_item = false,
            TokenTree::Group(group) => {
                let mut inside = module.to_vec();
                if let (Some(TokenTree::Ident(keyword)), Some(TokenTree::Ident(name))) =
                    (at.checked_sub(2).and_then(|at| tokens.get(at)), at.checked_sub(1).and_then(|at| tokens.get(at)))
                    && keyword == "mod"
                {
                    inside.push(name.to_string());
                }
                walk(group.stream(), &inside, in_test, found);
                if group.delimiter() == Delimiter::Brace {
                    test_item = false;
                }
            }
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                let word = word.to_string();
                let next = text_of(tokens.get(at + 1));
                if word == "use" && next != "<" {
                    let end = (at..tokens.len()).find(|at| text_of(tokens.get(*at)) == ";").unwrap_or(tokens.len());
                    let tree = tokens.get(at + 1..end).unwrap_or_default();
                    let start = if is_path_separator(tree, 0) { 2 } else { 0 };
                    let mut paths = Vec::new();
                    expand(tree, start, &[], &mut paths);
                    found.paths.extend(paths.into_iter().filter_map(|named| resolve(named, module)));
                    at = end;
                    continue;
                }
                if word == "mod" && in_test && text_of(tokens.get(at + 2)) == ";" {
                    found.test_modules.push(next);
                } else if word == "unsafe" {
                    let block = matches!(tokens.get(at + 1), Some(TokenTree::Group(_))) || next == "impl";
                    found.unsafes.push((line, block));
                } else if PANICS.contains(&word.as_str()) && !in_test && (before == "." || next == "!") {
                    found.panics.push((line, word));
                } else if is_path_separator(&tokens, at + 1) && !continues_a_path(&tokens, at) {
                    let mut path = vec![word];
                    let mut from = at + 1;
                    while is_path_separator(&tokens, from)
                        && let Some(TokenTree::Ident(next)) = tokens.get(from + 2)
                    {
                        path.push(next.to_string());
                        from += 3;
                    }
                    found.paths.extend(resolve(Named { path, line }, module));
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// Whether the word at `at` is not the first of its path: `a::HERE`, but not `::HERE`.
fn continues_a_path(tokens: &[TokenTree], at: usize) -> bool {
    let Some(first) = at.checked_sub(3) else { return false };
    let word_before = matches!(tokens.get(first), Some(TokenTree::Ident(_))) || text_of(tokens.get(first)) == ">";
    is_path_separator(tokens, at - 2) && word_before
}

/// `super::x` and `self::x` as `crate::…`; what is not absolute after that is a crate's name or a local one.
fn resolve(named: Named, module: &[String]) -> Option<Named> {
    let mut place: Vec<String> = module.to_vec();
    let mut words = named.path.into_iter().peekable();
    let is_relative = words.peek().is_some_and(|word| word == "self" || word == "super");
    while let Some(word) = words.next_if(|word| word == "self" || word == "super") {
        if word == "super" {
            place.pop()?;
        }
    }
    let start = if is_relative { [vec!["crate".to_owned()], place].concat() } else { Vec::new() };
    Some(Named { path: [start, words.collect()].concat(), line: named.line })
}
