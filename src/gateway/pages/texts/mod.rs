//! What the pages say, in each language. A text that is missing in one language does not compile.

mod en;
mod ja;
mod ko;
mod zh;

use super::language::Language;

/// The texts of one language. `{seconds}`, `{status}` and `{command}` stand for what is filled in.
pub(super) struct Texts {
    /// Heading of the login page.
    pub(super) login_title: &'static str,
    /// What to do there.
    pub(super) login_lead: &'static str,
    /// Label of the password field.
    pub(super) key_label: &'static str,
    /// Name of the button that shows the key while it is hidden.
    pub(super) show_key: &'static str,
    /// What a press does while it is shown.
    pub(super) hide_key: &'static str,
    /// Label of the check box.
    pub(super) remember: &'static str,
    /// The button.
    pub(super) login: &'static str,
    /// The button while the answer is awaited.
    pub(super) asking: &'static str,
    /// Where the key comes from; `{command}` is `comfy-guard set-key`.
    pub(super) where_from: &'static str,
    /// The key is not the right one.
    pub(super) wrong: &'static str,
    /// Too many tries; `{seconds}` counts down.
    pub(super) busy: &'static str,
    /// Too many tries, and nobody knows for how long.
    pub(super) busy_a_while: &'static str,
    /// The time has come.
    pub(super) again: &'static str,
    /// The form came from another site.
    pub(super) cross_site: &'static str,
    /// The session is over.
    pub(super) expired: &'static str,
    /// Nothing answers.
    pub(super) offline: &'static str,
    /// There is no key on the machine.
    pub(super) no_key: &'static str,
    /// The browser refuses cookies.
    pub(super) no_cookies: &'static str,
    /// Any other answer, with its `{status}`.
    pub(super) unexpected: &'static str,
    /// After signing out.
    pub(super) signed_out: &'static str,
    /// Heading of the sign-out form.
    pub(super) sign_out_title: &'static str,
    /// What it does.
    pub(super) sign_out_lead: &'static str,
    /// Its button.
    pub(super) sign_out: &'static str,
    /// The session could not be ended.
    pub(super) sign_out_failed: &'static str,
    /// A page that loads itself again says so.
    pub(super) goes_on: &'static str,
    /// The button that loads the page again.
    pub(super) try_again: &'static str,
    /// The button that leads to the root.
    pub(super) to_start: &'static str,
    /// Headings of notices.
    pub(super) titles: Titles,
    /// What a notice says, by its word for programs. English has none: there the answer's own message is shown.
    pub(super) messages: &'static [(&'static str, &'static str)],
}

/// Headings of notices, by what has happened.
pub(super) struct Titles {
    /// A key is needed.
    pub(super) locked: &'static str,
    /// ComfyUI loads.
    pub(super) starting: &'static str,
    /// ComfyUI loads anew.
    pub(super) restarting: &'static str,
    /// ComfyUI cannot be used at present.
    pub(super) not_ready: &'static str,
    /// ComfyUI did not answer this request.
    pub(super) no_answer: &'static str,
    /// Too many tries.
    pub(super) busy: &'static str,
    /// The request is not accepted.
    pub(super) refused: &'static str,
}

impl Texts {
    /// The texts of a language.
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &en::TEXTS,
            Language::Chinese => &zh::TEXTS,
            Language::Japanese => &ja::TEXTS,
            Language::Korean => &ko::TEXTS,
        }
    }

    /// The message that belongs to a word for programs.
    pub(super) fn message(&self, error: &str) -> Option<&'static str> {
        self.messages.iter().find(|(known, _)| *known == error).map(|(_, message)| *message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_has_its_place_in_every_language() {
        for language in Language::ALL {
            let texts = Texts::of(language);
            assert!(texts.where_from.contains("{command}"), "{language:?}");
            assert!(texts.busy.contains("{seconds}"), "{language:?}");
            assert!(texts.unexpected.contains("{status}"), "{language:?}");
        }
    }

    #[test]
    fn every_translation_knows_the_same_messages() {
        let known = |language| Texts::of(language).messages.iter().map(|(error, _)| *error).collect::<Vec<_>>();
        assert_eq!(known(Language::Chinese), known(Language::Japanese));
        assert_eq!(known(Language::Chinese), known(Language::Korean));
    }

    #[test]
    fn the_english_names_are_those_of_the_guide() {
        let texts = Texts::of(Language::English);
        assert_eq!((texts.remember, texts.login, texts.key_label), ("Remember me", "Login", "API key"));
        assert_eq!(texts.login_lead, "Enter your API key in the password field.");
    }
}
