//! What a command prints: a reader that has gone (`| head`) is no failure, a full disk is.

use std::io::{self, Write};

use crate::cli::{Exit, Failure};

/// Whether anybody still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Go on.
    Listens,
    /// There is no point in going on.
    Gone,
}

/// Writes to stdout at once.
pub(crate) fn print(text: &str) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::new(Exit::CannotCreate, format!("cannot print: {error}"))),
    }
}
