//! The command line's end of the control socket.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;

use crate::cli::{Exit, Failure};
use crate::config::Config;
use crate::wire::control::{Answer, Request, SOCKET};

/// A guard that lives answers at once; one that was stopped does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the guard did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// No socket, or nobody behind it.
    #[error("no guard runs with the state directory {} (see `systemctl status comfy-guard`); --config names another", .0.display())]
    NotRunning(PathBuf),
    /// The mode keeps others out.
    #[error("{} is for root and the guard's own user only; run this as root", .0.display())]
    Denied(PathBuf),
    /// The socket cannot be spoken to.
    #[error("{} cannot be spoken to: {source}", path.display())]
    Socket {
        /// Which.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It has not answered in time.
    #[error("the guard does not answer; see `systemctl status comfy-guard`")]
    Silent,
    /// An answer that this version does not know.
    #[error(
        "the guard's answer cannot be read ({0}); the running guard is of another version: restart it when no job runs"
    )]
    Strange(String),
    /// It said no, and why.
    #[error("{0}")]
    Refused(String),
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        let exit = match &error {
            AskError::Denied(_) => Exit::NoPermission,
            AskError::Socket { .. } => Exit::System,
            AskError::NotRunning(_) | AskError::Silent | AskError::Strange(_) | AskError::Refused(_) => {
                Exit::Unavailable
            }
        };
        Self::new(exit, error)
    }
}

/// The answers to one request, as they come.
pub(crate) struct Answers {
    lines: Lines<BufReader<UnixStream>>,
}

impl Answers {
    /// The next one; none: that was all. `within`: how long it may take, none: for ever.
    pub(crate) async fn next(&mut self, within: Option<Duration>) -> Result<Option<Answer>, AskError> {
        let line = match within {
            Some(time) => tokio::time::timeout(time, self.lines.next_line()).await.map_err(|_| AskError::Silent)?,
            None => self.lines.next_line().await,
        };
        // A guard that is being ended resets the connection.
        let Some(line) = line.unwrap_or_default() else { return Ok(None) };
        match serde_json::from_str(&line) {
            Ok(Answer::Error(why)) => Err(AskError::Refused(why)),
            Ok(answer) => Ok(Some(answer)),
            Err(error) => Err(AskError::Strange(error.to_string())),
        }
    }
}

/// Puts a request to the guard of this configuration.
pub(crate) async fn ask(config: &Config, request: &Request) -> Result<Answers, AskError> {
    let path = config.state.directory.join(SOCKET);
    let mut stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) => return Err(unreached(&path, error)),
    };
    let line = serde_json::to_string(request).map_err(|error| AskError::Strange(error.to_string()))? + "\n";
    // Who is sent away at the door cannot be written to any more, and has its answer waiting.
    if let Err(error) = stream.write_all(line.as_bytes()).await {
        tracing::debug!(%error, "the request was not heard");
    }
    Ok(Answers { lines: BufReader::new(stream).lines() })
}

/// The one answer to a request that has one.
pub(crate) async fn ask_once(config: &Config, request: &Request) -> Result<Answer, AskError> {
    let answer = ask(config, request).await?.next(Some(PATIENCE)).await?;
    answer.ok_or_else(|| AskError::Refused("the guard is ending".to_owned()))
}

fn unreached(path: &Path, source: io::Error) -> AskError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AskError::NotRunning(path.parent().unwrap_or(path).to_owned())
        }
        io::ErrorKind::PermissionDenied => AskError::Denied(path.to_owned()),
        _ => AskError::Socket { path: path.to_owned(), source },
    }
}

/// Runs what waits for sockets and signals.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::System, format!("cannot wait for sockets: {error}")))?.block_on(work)
}
