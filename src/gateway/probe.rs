//! Watching ComfyUI: the one place that asks it on the guard's own behalf, once a second, at a cost that does not grow
//! with its queue. How its jobs ended is asked by [`jobs`], through here.
//!
//! `GET /prompt` answers with one number. `GET /queue` would carry whole workflows and other users' tokens.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::jobs;
use super::shared::Shared;
use crate::wire::message::Answering;
use crate::wire::overview::Device;

const PACE: Duration = Duration::from_secs(1);
/// While it starts, a guest waits for it: asked more often, and a refused connection costs nothing.
const EAGER_PACE: Duration = Duration::from_millis(200);
/// A loading model can hold Python's interpreter lock for seconds.
const PATIENCE: Duration = Duration::from_secs(4);
const DEVICE_PACE: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const LONGEST: usize = 256 * 1024;

/// Why a question got no answer.
pub(crate) enum Unanswered {
    /// Nothing listens.
    Refused,
    /// None came in time, or it was an error of the server's.
    Silent,
    /// It is longer than what is read.
    TooLong,
}

#[derive(Deserialize)]
struct Prompt {
    exec_info: ExecInfo,
}

#[derive(Deserialize)]
struct ExecInfo {
    queue_remaining: u64,
}

#[derive(Deserialize)]
struct SystemStats {
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default)]
    system: System,
}

#[derive(Default, Deserialize)]
struct System {
    comfyui_version: Option<String>,
}

/// Starts watching; what changes is in the receiver, the rest in [`Shared::health`].
pub(crate) fn start(shared: Arc<Shared>) -> watch::Receiver<Answering> {
    tokio::spawn(jobs::watch(shared.clone()));
    let (answering, receiver) = watch::channel(Answering::Unknown);
    tokio::spawn(async move {
        let mut device_asked = None;
        let mut eager = tokio::time::interval(EAGER_PACE);
        eager.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let seen = look(&shared, &mut device_asked).await;
            // Also news where it is what was seen of the process before: another one forgets that.
            if shared.health.send_if_modified(|health| std::mem::replace(&mut health.answering, seen) != seen) {
                answering.send_replace(seen);
            }
            if seen == Answering::Yes {
                tokio::time::sleep(PACE).await;
            } else {
                eager.tick().await;
            }
        }
    });
    receiver
}

/// Prompts that wait or run at this moment.
pub(crate) async fn remaining(shared: &Shared) -> Result<u64, Unanswered> {
    remaining_of(&ask(shared, "/prompt", LONGEST).await?).ok_or(Unanswered::Silent)
}

fn remaining_of(body: &[u8]) -> Option<u64> {
    Some(serde_json::from_slice::<Prompt>(body).ok()?.exec_info.queue_remaining)
}

async fn look(shared: &Shared, device_asked: &mut Option<Instant>) -> Answering {
    let body = match ask(shared, "/prompt", LONGEST).await {
        Ok(body) => body,
        Err(Unanswered::Refused) => {
            *device_asked = None;
            return Answering::Refused;
        }
        Err(Unanswered::Silent | Unanswered::TooLong) => return Answering::Silent,
    };
    if let Some(remaining) = remaining_of(&body) {
        shared.health.send_if_modified(|health| std::mem::replace(&mut health.remaining, remaining) != remaining);
    }
    if device_asked.is_none_or(|at| at.elapsed() >= DEVICE_PACE)
        && let Ok(body) = ask(shared, "/system_stats", LONGEST).await
        && let Ok(stats) = serde_json::from_slice::<SystemStats>(&body)
    {
        *device_asked = Some(Instant::now());
        let (device, version) = (stats.devices.into_iter().next(), stats.system.comfyui_version);
        shared.health.send_if_modified(|health| {
            let changed = health.device != device || health.version != version;
            (health.device, health.version) = (device, version);
            changed
        });
    }
    Answering::Yes
}

/// One request on a connection of its own. Any answer that is not a server error counts: the guard watches whether ComfyUI
/// serves, not what. `longest`: of the answer's body, in bytes.
pub(crate) async fn ask(shared: &Shared, path: &str, longest: usize) -> Result<Vec<u8>, Unanswered> {
    let exchange = async {
        let stream = TcpStream::connect(shared.upstream).await.map_err(|_| Unanswered::Refused)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Unanswered::Silent)?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, &shared.upstream_host)
            .header(header::CONNECTION, "close")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|_| Unanswered::Silent)?;
        let answer = sender.send_request(request).await.map_err(|_| Unanswered::Silent)?;
        if answer.status().is_server_error() {
            return Err(Unanswered::Silent);
        }
        let body = Limited::new(answer.into_body(), longest).collect().await;
        connection.abort();
        let unread = |error: Box<dyn Error + Send + Sync>| {
            if error.is::<LengthLimitError>() { Unanswered::TooLong } else { Unanswered::Silent }
        };
        Ok(body.map_err(unread)?.to_bytes().to_vec())
    };
    timeout(PATIENCE, exchange).await.unwrap_or(Err(Unanswered::Silent))
}
