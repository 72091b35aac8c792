//! The control socket: what a person at the machine asks of the running guard. Root and the guard's own user only.
//!
//! Every asker has a task of its own, bounded in number, bytes and time; the supervisor's loop hears of a request when it is whole and
//! never waits for whoever asked.

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::event::Event;
use super::start::StartError;
use super::tail::News;
use crate::os::local;
use crate::os::lock::{self, Lock};
use crate::os::users::{Uid, effective_uid};
use crate::wire::control::{Answer, LONGEST_REQUEST, Request, SOCKET};

/// Held for as long as the guard lives; beside it a second guard on the same state does not start.
const LOCK: &str = "control.lock";
/// A guard that is just ending lets go within this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Askers at once.
const AT_ONCE: usize = 8;
/// Of these, those that stay to hear each new line: the rest is kept free for whoever asks what is wrong.
const FOLLOWERS: usize = 4;
/// For the request to come, and for the answer to go.
const TIME: Duration = Duration::from_secs(2);

/// The right to this state directory, and the socket in it.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    listener: Option<StdListener>,
    /// None: no lock could be had for another reason than another guard.
    _lock: Option<Lock>,
}

/// What the supervisor says to a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// This, and no more.
    Once(Answer),
    /// These lines, and then each new one if there is news of them.
    Lines(Vec<String>, Option<News>),
}

impl Control {
    /// Claims the state directory and makes the socket. Call while this process has one thread, as the user that it will be.
    ///
    /// A socket that cannot be made (a full disk, a path that is too long) is told and costs the commands that need it, not the start.
    ///
    /// # Errors
    /// Another guard lives in this state directory.
    pub(crate) fn claim(state: &Path) -> Result<Self, StartError> {
        let lock = match lock::take(&state.join(LOCK), None, PATIENCE) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(StartError::StateInUse { path: state.to_owned() });
            }
            Err(error) => {
                tracing::warn!(%error, "{} cannot be locked: two guards could use this state directory", state.join(LOCK).display());
                None
            }
        };
        let path = state.join(SOCKET);
        let listener = local::listen_private(&path)
            .map_err(|error| tracing::warn!(%error, "no control socket at {}: `status`, `logs` and `restart` will not work", path.display()))
            .ok();
        Ok(Self { path, listener, _lock: lock })
    }

    /// Begins to answer. Requests come as [`Event::Asked`].
    pub(crate) fn serve(&mut self, events: &mpsc::Sender<Event>) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        tokio::spawn(accept(UnixListener::from_std(listener)?, events.clone()));
        Ok(())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Err(error) = local::remove_socket(&self.path) {
            tracing::debug!(%error, "the control socket stays");
        }
    }
}

async fn accept(listener: UnixListener, events: mpsc::Sender<Event>) {
    let (askers, followers) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(FOLLOWERS)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(TIME).await;
                continue;
            }
        };
        // Before it takes a place: the mode keeps others out already, and were it changed, they should not fill the places either.
        if !stream.peer_cred().is_ok_and(|peer| may_ask(Uid(peer.uid()), effective_uid())) {
            tracing::debug!("the control socket refused somebody");
            refuse(stream, "only root and the guard's own user may ask");
            continue;
        }
        let Ok(place) = askers.clone().try_acquire_owned() else {
            refuse(stream, "too many ask at once; ask again");
            continue;
        };
        let (events, followers) = (events.clone(), followers.clone());
        tokio::spawn(async move {
            if let Err(error) = attend(stream, &events, followers).await {
                tracing::debug!(%error, "an asker on the control socket left");
            }
            drop(place);
        });
    }
}

/// The mode of the socket says the same; this holds if somebody widens it.
fn may_ask(peer: Uid, own: Uid) -> bool {
    peer.is_root() || peer == own
}

/// An answer for who is not let in: as much of it as the socket takes without waiting.
fn refuse(stream: UnixStream, why: &str) {
    let line = Answer::Error(why.to_owned()).line();
    if let Err(error) = stream.try_write(line.as_bytes()) {
        tracing::debug!(%error, "nor did it hear why");
    }
}

async fn attend(stream: UnixStream, events: &mpsc::Sender<Event>, followers: Arc<Semaphore>) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    let request = match tokio::time::timeout(TIME, read(&mut from)).await {
        Ok(Ok(request)) => request,
        Ok(Err(why)) => return say(&mut to, &Answer::Error(why)).await,
        Err(_) => return say(&mut to, &Answer::Error("no request came".to_owned())).await,
    };
    let follower = match request {
        Request::Logs { follow: true, .. } => match followers.try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => return say(&mut to, &Answer::Error("too many follow the lines already".to_owned())).await,
        },
        _ => None,
    };
    let (reply, answer) = oneshot::channel();
    if events.send(Event::Asked { request, reply }).await.is_err() {
        return Ok(());
    }
    match answer.await {
        Ok(Reply::Once(answer)) => say(&mut to, &answer).await?,
        Ok(Reply::Lines(lines, news)) => {
            for line in lines {
                say(&mut to, &Answer::Line(line)).await?;
            }
            if let Some(news) = news {
                follow(from, to, news).await?;
            }
        }
        Err(_) => say(&mut to, &Answer::Error("the guard is ending".to_owned())).await?,
    }
    drop(follower);
    Ok(())
}

/// One line with a request, or what is wrong with it.
async fn read(from: &mut BufReader<OwnedReadHalf>) -> Result<Request, String> {
    let mut line = Vec::new();
    let most = LONGEST_REQUEST as u64;
    from.take(most).read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    if line.last() != Some(&b'\n') {
        return Err(format!("a request is one line of at most {LONGEST_REQUEST} bytes"));
    }
    serde_json::from_slice(&line).map_err(|error| format!("this guard does not know that request: {error}"))
}

async fn say(to: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let line = answer.line();
    tokio::time::timeout(TIME, to.write_all(line.as_bytes())).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Each new line, until the asker leaves. One who reads slowly loses lines, is told how many, and holds nobody up.
async fn follow(mut from: BufReader<OwnedReadHalf>, mut to: OwnedWriteHalf, mut news: News) -> io::Result<()> {
    let mut rest = [0; 64];
    loop {
        let answer = tokio::select! {
            line = news.recv() => match line {
                Ok(line) => Answer::Line(line.to_string()),
                Err(RecvError::Lagged(lost)) => Answer::Lost(lost),
                Err(RecvError::Closed) => return Ok(()),
            },
            heard = from.read(&mut rest) => match heard? {
                0 => return Ok(()),
                _ => continue,
            },
        };
        // Without a limit of time: a pager that stands still is no error, and takes one of the few places only.
        to.write_all(answer.line().as_bytes()).await?;
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
