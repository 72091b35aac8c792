//! How a screen says things: ages, sizes, bars, colours, lines that fit. Plain ASCII, for consoles that know no more.

use time::OffsetDateTime;

use crate::wire::line::printable;

/// What the output is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// Columns.
    pub(crate) width: usize,
    /// Whether colours are understood and wanted.
    pub(crate) colour: bool,
}

/// The colours, after what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Odd,
    Bad,
    Aside,
}

impl Look {
    /// Where nobody knows the width: a console's.
    pub(crate) const WIDTH: usize = 80;

    /// The text in this colour, where there are colours.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Odd => "33",
            Tone::Bad => "1;31",
            Tone::Aside => "2",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The text in lines that fit behind `indent` columns; a word that is longer than a line is cut, unless it is an address to follow.
    pub(crate) fn wrap(self, indent: usize, text: &str) -> Vec<String> {
        let room = self.width.saturating_sub(indent).max(20);
        let mut lines: Vec<String> = Vec::new();
        for word in clean(text).split_whitespace() {
            let mut word = if word.starts_with("https://") { word.to_owned() } else { cut(word, room) };
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                    line.push(' ');
                    line.push_str(&word);
                }
                _ => lines.push(std::mem::take(&mut word)),
            }
        }
        lines
    }

    /// One line that fits behind `indent` columns.
    pub(crate) fn fit(self, indent: usize, text: &str) -> String {
        cut(&clean(text), self.width.saturating_sub(indent).max(20))
    }
}

/// ComfyUI, its nodes and guests choose some of the words: none of them paints on the terminal of who reads.
fn clean(text: &str) -> String {
    printable(text)
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect()
}

/// `41 s`, `7 min`, `2 h 14 min`, `3 d 2 h`.
pub(crate) fn age(seconds: f64) -> String {
    let total = if seconds.is_finite() { seconds.max(0.0) as u64 } else { 0 };
    let (minutes, hours, days) = (total / 60, total / 3600, total / 86_400);
    match total {
        0..60 => format!("{total} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// `33.0 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {name}") }
}

/// `[####------]  41 %`, in the colour that the share deserves.
pub(crate) fn bar(look: Look, cells: usize, share: f64) -> String {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let full = (share * cells as f64).round() as usize;
    let tone = if share > 0.95 { Tone::Odd } else { Tone::Good };
    let filled = look.paint(tone, &"#".repeat(full));
    format!("[{filled}{}] {:>3.0} %", "-".repeat(cells - full), share * 100.0)
}

/// `2026-01-31 12:00 UTC`.
pub(crate) fn date(seconds: f64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds as i64).ok();
    let Some(at) = at else { return "?".to_owned() };
    format!("{:04}-{:02}-{:02} {:02}:{:02} UTC", at.year(), u8::from(at.month()), at.day(), at.hour(), at.minute())
}

/// `1 job`, `2 jobs`.
pub(crate) fn many(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_said_as_people_do() {
        let ages = [
            (0.0, "0 s"),
            (59.9, "59 s"),
            (61.0, "1 min"),
            (8_040.0, "2 h 14 min"),
            (266_400.0, "3 d 2 h"),
            (-5.0, "0 s"),
            (f64::NAN, "0 s"),
        ];
        for (seconds, said) in ages {
            assert_eq!(age(seconds), said);
        }
        for (bytes, said) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (85_899_345_920, "80.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), said);
        }
        assert_eq!((date(1_769_860_800.0), date(1e30)), ("2026-01-31 12:00 UTC".to_owned(), "?".to_owned()));
    }

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let look = Look { width: 80, colour: false };
        for (share, bar_of) in
            [(0.0, "[----]   0 %"), (0.5, "[##--]  50 %"), (1.7, "[####] 100 %"), (f64::NAN, "[----]   0 %")]
        {
            assert_eq!(bar(look, 4, share), bar_of);
        }
    }

    #[test]
    fn lines_fit_and_nobody_paints_on_the_terminal() {
        let look = Look { width: 30, colour: true };
        let lines = look.wrap(4, &format!("some words \x1b[2J {} end", "x".repeat(60)));
        assert!(lines.iter().all(|line| line.chars().count() <= 26 && !line.contains('\x1b')), "{lines:?}");
        let address = format!("https://example.org/{}", "x".repeat(60));
        assert_eq!(look.wrap(4, &format!("see {address} there")), ["see", &address, "there"]);
        assert_eq!(look.fit(4, &"y".repeat(60)), format!("{}...", "y".repeat(23)));
        assert_eq!(look.paint(Tone::Bad, "no"), "\x1b[1;31mno\x1b[0m");
    }
}
