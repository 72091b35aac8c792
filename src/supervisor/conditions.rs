//! The conditions over time: since when each has held, and what is said when one begins or ends.

use std::time::SystemTime;

use crate::wire::condition::{Condition, Name};
use crate::wire::line::{cut, printable};

/// Causes carry words of the driver's and of ComfyUI's: cut, in bytes, to what a status line bears.
const LONGEST_CAUSE: usize = 500;

/// What holds now.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    held: Vec<Condition>,
}

/// What is new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It did not hold before.
    Began(Condition),
    /// It no longer holds.
    Ended(Name),
}

impl Conditions {
    /// What holds, the gravest first.
    pub(super) fn held(&self) -> &[Condition] {
        &self.held
    }

    /// Takes what was found to hold; what is new of it.
    pub(super) fn update(&mut self, found: Vec<(Name, String)>, now: SystemTime) -> Vec<News> {
        let before = std::mem::take(&mut self.held);
        let mut news = Vec::new();
        for (name, cause) in found {
            let cause = cut(&printable(&cause), LONGEST_CAUSE).to_owned();
            let since = before.iter().find(|condition| condition.name == name).map(|condition| condition.since);
            let condition = Condition { name, since: since.unwrap_or(now), cause };
            if since.is_none() {
                news.push(News::Began(condition.clone()));
            }
            self.held.push(condition);
        }
        let over = before
            .iter()
            .map(|condition| condition.name)
            .filter(|name| !self.held.iter().any(|held| held.name == *name));
        news.extend(over.map(News::Ended));
        news
    }
}

/// One line for each change.
pub(super) fn tell(news: &News) {
    match news {
        // These have lines of their own, and are no trouble by themselves.
        News::Began(Condition {
            name: Name::Starting | Name::Stopping | Name::Restarting | Name::GpuAbsent, ..
        }) => {}
        News::Ended(Name::Starting | Name::Stopping | Name::Restarting | Name::GpuAbsent) => {}
        News::Began(condition) => {
            let (word, cure) = (condition.name.word(), condition.name.cure());
            tracing::warn!(condition = word, "{word}: {}; {cure}", condition.cause);
        }
        News::Ended(name) => tracing::info!(condition = name.word(), "{} is over", name.word()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_condition_is_told_once_and_keeps_its_beginning() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let hot = |degrees: u32| (Name::GpuHot, format!("{degrees} °C\u{1b}[2J"));
        let mut conditions = Conditions::default();
        let news = conditions.update(vec![hot(91)], at(1));
        assert!(matches!(news.as_slice(), [News::Began(Condition { name: Name::GpuHot, .. })]), "{news:?}");
        assert_eq!(conditions.update(vec![(Name::GpuLost, String::new()), hot(92)], at(2)).len(), 1);
        let held = conditions.held();
        assert_eq!(
            held.iter().map(|one| (one.name, one.since)).collect::<Vec<_>>(),
            [(Name::GpuLost, at(2)), (Name::GpuHot, at(1))]
        );
        assert!(held.last().unwrap().cause.starts_with("92 °C") && !held.last().unwrap().cause.contains('\u{1b}'));
        assert_eq!(conditions.update(vec![hot(90)], at(3)), [News::Ended(Name::GpuLost)]);
        assert_eq!(conditions.update(Vec::new(), at(4)), [News::Ended(Name::GpuHot)]);
        let news = conditions.update(vec![hot(91)], at(5));
        assert!(matches!(news.as_slice(), [News::Began(began)] if began.since == at(5)));
    }
}
