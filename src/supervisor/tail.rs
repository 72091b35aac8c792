//! ComfyUI's output: every line to the log under its own identifier, the last ones kept for whoever asks why it died.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::broadcast;

use crate::telemetry::output::COMFYUI;
use crate::wire::line::{cut, printable};

const KEPT_LINES: usize = 500;
/// New lines that wait for a listener; one that is further behind loses the oldest.
const QUEUE: usize = 256;
/// A longer line is cut in pieces: progress bars and tracebacks fit, a flood without a newline does not grow.
const LONGEST_LINE: usize = 4000;

/// New lines, as they come.
pub(crate) type News = broadcast::Receiver<Arc<str>>;

/// The last lines, and who waits for new ones.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    kept: Arc<Mutex<Kept>>,
    news: broadcast::Sender<Arc<str>>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { kept: Arc::default(), news: broadcast::Sender::new(QUEUE) }
    }
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    /// Whether the last line is one that the next will be painted over: a progress bar that is not at its end.
    open: bool,
}

/// How a line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// `\n`, or the end of the output.
    Feed,
    /// `\r`: a terminal would paint the next line over it.
    Return,
}

impl Tail {
    /// Copies a pipe, line by line, until its last writer has gone.
    pub(crate) fn follow(&self, pipe: OwnedFd) -> io::Result<()> {
        let receiver = pipe::Receiver::from_owned_fd(pipe)?;
        let tail = self.clone();
        tokio::spawn(async move {
            if let Err(error) = tail.copy(receiver).await {
                tracing::warn!(%error, "ComfyUI's output can no longer be read");
            }
        });
        Ok(())
    }

    /// The last line that says something.
    pub(crate) fn last(&self) -> Option<String> {
        self.kept().lines.back().cloned()
    }

    /// The last lines, each of so many bytes at the most.
    pub(crate) fn lines(&self, most: usize, longest: usize) -> Vec<String> {
        let kept = self.kept();
        let skipped = kept.lines.len().saturating_sub(most);
        kept.lines.iter().skip(skipped).map(|line| cut(line, longest).to_owned()).collect()
    }

    /// The last `most` lines, and each that comes after them: none is missed or heard twice in between. A bar that is being painted
    /// comes when it stands.
    pub(crate) fn listen(&self, most: usize) -> (Vec<String>, News) {
        let kept = self.kept();
        let whole = kept.lines.len() - usize::from(kept.open && !kept.lines.is_empty());
        let lines = kept.lines.iter().take(whole).skip(whole.saturating_sub(most)).cloned().collect();
        (lines, self.news.subscribe())
    }

    /// Where the progress bar stands that is being painted, in percent; none: none is.
    pub(crate) fn progress(&self) -> Option<u8> {
        let kept = self.kept();
        kept.lines.back().filter(|_| kept.open).and_then(|line| percent(line))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn copy(&self, mut pipe: pipe::Receiver) -> io::Result<()> {
        let mut buffer = vec![0; 8192];
        let mut line = Vec::new();
        loop {
            let count = pipe.read(&mut buffer).await?;
            for byte in buffer.iter().take(count) {
                match byte {
                    b'\n' => self.end(&mut line, LineEnd::Feed),
                    b'\r' => self.end(&mut line, LineEnd::Return),
                    _ if line.len() >= LONGEST_LINE => {
                        self.end(&mut line, LineEnd::Feed);
                        line.push(*byte);
                    }
                    _ => line.push(*byte),
                }
            }
            if count == 0 {
                self.end(&mut line, LineEnd::Feed);
                return Ok(());
            }
        }
    }

    pub(super) fn end(&self, line: &mut Vec<u8>, how: LineEnd) {
        let text = printable(String::from_utf8_lossy(line).trim_end());
        line.clear();
        let mut kept = self.kept();
        // A bar that is painted twenty times is one line of the log.
        if let Some(finished) = kept.take(text, how) {
            tracing::info!(target: COMFYUI, "{finished}");
            // Under the lock, so that a listener who is just coming misses nothing. An error says that nobody listens.
            self.news.send(finished.into()).ok();
        }
    }
}

impl Kept {
    /// Takes a line; the one that stands for good now, if one does.
    fn take(&mut self, text: String, how: LineEnd) -> Option<String> {
        let was_open = self.open;
        self.open = how == LineEnd::Return && (was_open || !text.is_empty());
        if text.is_empty() {
            // `\r\n`, or a bar's last newline: what stands there is not painted over any more.
            return self.lines.back().filter(|_| was_open && how == LineEnd::Feed).cloned();
        }
        if was_open {
            self.lines.pop_back();
        } else if self.lines.len() >= KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(text);
        self.lines.back().filter(|_| how == LineEnd::Feed).cloned()
    }
}

/// The number before `%|`, as tqdm paints its bars: ` 45%|████▌     | 9/20 [00:04<00:05,  2.1it/s]`.
fn percent(line: &str) -> Option<u8> {
    let digits = line.split_once("%|")?.0.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn lines_are_kept_the_oldest_goes_first() {
        let (reader, mut writer) = io::pipe().unwrap();
        let tail = Tail::default();
        let text: String = (0..KEPT_LINES + 10).map(|n| format!("line {n}\r\n")).collect();
        writer.write_all(text.as_bytes()).unwrap();
        writer.write_all(b"no newline").unwrap();
        drop(writer);
        let reader = OwnedFd::from(reader);
        tail.copy(pipe::Receiver::from_owned_fd(reader).unwrap()).await.unwrap();
        assert_eq!(tail.last().as_deref(), Some("no newline"));
        assert_eq!(tail.kept().lines.len(), KEPT_LINES);
        assert_eq!(tail.kept().lines.front().map(String::as_str), Some("line 11"));
        assert_eq!(tail.lines(2, 6), ["line 5", "no new"]);
    }

    #[tokio::test]
    async fn a_flood_without_a_newline_is_cut() {
        let (reader, mut writer) = io::pipe().unwrap();
        let flood = std::thread::spawn(move || writer.write_all(&[b'x'; 100_000]).unwrap());
        let tail = Tail::default();
        tail.copy(pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap()).await.unwrap();
        flood.join().unwrap();
        assert!(tail.kept().lines.iter().all(|line| line.len() <= LONGEST_LINE));
        assert_eq!(tail.kept().lines.len(), 25);
    }

    #[test]
    fn a_bar_that_repaints_itself_is_one_line() {
        let mut kept = Kept::default();
        assert_eq!(kept.take("got prompt".to_owned(), LineEnd::Feed).as_deref(), Some("got prompt"));
        assert_eq!(kept.take(String::new(), LineEnd::Return), None);
        for step in ["  0%|          | 0/20", " 45%|████▌     | 9/20", "100%|██████████| 20/20"]
        {
            assert_eq!(kept.take(step.to_owned(), LineEnd::Return), None);
            assert_eq!(kept.lines.len(), 2, "{:?}", kept.lines);
        }
        let tail = Tail { kept: Arc::new(Mutex::new(kept)), ..Tail::default() };
        assert_eq!(tail.progress(), Some(100));
        assert_eq!(tail.listen(5).0, ["got prompt"], "the bar is heard when it stands");
        let mut kept = tail.kept();
        assert_eq!(kept.take(String::new(), LineEnd::Feed).as_deref(), Some("100%|██████████| 20/20"));
        kept.take("Prompt executed".to_owned(), LineEnd::Feed);
        assert_eq!(kept.lines, ["got prompt", "100%|██████████| 20/20", "Prompt executed"]);
        drop(kept);
        assert_eq!(tail.progress(), None);
    }

    #[test]
    fn a_bar_says_how_far_it_is() {
        let table = [
            (" 45%|████▌     | 9/20 [00:04<00:05]", Some(45)),
            ("Requested: 7%|", Some(7)),
            ("100%|##|", Some(100)),
            ("45 %", None),
            ("%|", None),
            ("999%|", None),
        ];
        for (line, expected) in table {
            assert_eq!(percent(line), expected, "{line}");
        }
    }
}
