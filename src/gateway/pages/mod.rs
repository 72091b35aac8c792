//! Pages for people, embedded in the binary; the one place where text meets HTML. Pure: facts in, documents out.
//!
//! A page depends on `Accept-Language`, so an answer that carries one says `Vary: Accept-Language`.

mod guard;
mod guard_texts;
mod inject;
mod language;
mod login;
mod notice;
mod policy;
mod template;
mod texts;

pub(crate) use guard::guard;
pub(crate) use inject::{INJECT_JS, inject_etag};
pub(crate) use language::{Language, language};
pub(crate) use login::{LoginError, LoginState, login};
pub(crate) use notice::notice;
pub(crate) use policy::Page;

#[cfg(test)]
mod gallery;
