//! ComfyUI's output: every line to the log under its own identifier, the last ones kept for whoever asks why it died.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::broadcast;

use crate::telemetry::output::COMFYUI;
use crate::wire::line::printable;

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
    lines: Arc<Mutex<VecDeque<Arc<str>>>>,
    news: broadcast::Sender<Arc<str>>,
}

impl Default for Tail {
    fn default() -> Self {
        Self { lines: Arc::default(), news: broadcast::Sender::new(QUEUE) }
    }
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
        self.lines().back().map(ToString::to_string)
    }

    /// The last `most` lines, the oldest first, and each that comes after them: none is missed or heard twice in between.
    pub(crate) fn listen(&self, most: usize) -> (Vec<String>, News) {
        let lines = self.lines();
        let first = lines.len().saturating_sub(most);
        (lines.iter().skip(first).map(ToString::to_string).collect(), self.news.subscribe())
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Arc<str>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn copy(&self, mut pipe: pipe::Receiver) -> io::Result<()> {
        let mut buffer = vec![0; 8192];
        let mut line = Vec::new();
        loop {
            let count = pipe.read(&mut buffer).await?;
            for byte in buffer.iter().take(count) {
                // A carriage return ends a line too: progress bars repaint themselves with it.
                if matches!(byte, b'\n' | b'\r') || line.len() >= LONGEST_LINE {
                    self.keep(&line);
                    line.clear();
                }
                if !matches!(byte, b'\n' | b'\r') {
                    line.push(*byte);
                }
            }
            if count == 0 {
                self.keep(&line);
                return Ok(());
            }
        }
    }

    pub(super) fn keep(&self, line: &[u8]) {
        let text = printable(String::from_utf8_lossy(line).trim_end());
        if text.is_empty() {
            return;
        }
        tracing::info!(target: COMFYUI, "{text}");
        let text: Arc<str> = text.into();
        let mut lines = self.lines();
        if lines.len() >= KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(text.clone());
        // An error says that nobody listens.
        self.news.send(text).ok();
    }
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
        assert_eq!(tail.lines().len(), KEPT_LINES);
        assert_eq!(tail.listen(usize::MAX).0.first().map(String::as_str), Some("line 11"));
    }

    #[tokio::test]
    async fn a_flood_without_a_newline_is_cut() {
        let (reader, mut writer) = io::pipe().unwrap();
        let flood = std::thread::spawn(move || writer.write_all(&[b'x'; 100_000]).unwrap());
        let tail = Tail::default();
        tail.copy(pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap()).await.unwrap();
        flood.join().unwrap();
        assert!(tail.lines().iter().all(|line| line.len() <= LONGEST_LINE));
        assert_eq!(tail.lines().len(), 25);
    }
}
