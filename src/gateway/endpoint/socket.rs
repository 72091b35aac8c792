//! The anonymous WebSocket: ComfyUI's first message and its queue's length, served by the gateway itself. It hears nothing
//! of anybody's job, and nothing that it says goes anywhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use http::request::Parts;
use serde_json::{Value, json};

use crate::gateway::shared::Shared;
use crate::telemetry::metrics::Socket;

/// Anonymous sockets at once: what costs nothing to ask for must not cost much to give.
pub(crate) const MOST: usize = 256;
/// A guest without a key has nothing long to say.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// Answers the upgrade; the socket lives on by itself.
pub(crate) async fn accept(shared: Arc<Shared>, mut parts: Parts) -> axum::response::Response {
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    upgrade
        .max_message_size(LONGEST_MESSAGE)
        .max_frame_size(LONGEST_MESSAGE)
        .on_upgrade(move |socket| serve(shared, socket))
}

async fn serve(shared: Arc<Shared>, socket: WebSocket) {
    shared.anonymous_sockets.fetch_add(1, Ordering::Relaxed);
    let _open = shared.metrics.open_socket(Socket::Anonymous);
    // An end of the connection is the ordinary end of a socket.
    if let Err(error) = tell(&shared, socket).await {
        tracing::debug!(%error, "an anonymous socket ended");
    }
    shared.anonymous_sockets.fetch_sub(1, Ordering::Relaxed);
}

async fn tell(shared: &Shared, mut socket: WebSocket) -> Result<(), axum::Error> {
    let mut health = shared.health.subscribe();
    let mut draining = shared.draining.subscribe();
    let mut told = health.borrow_and_update().remaining;
    socket.send(status(told, Some(session_id()))).await?;
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            },
            changed = health.changed() => {
                let remaining = health.borrow_and_update().remaining;
                if changed.is_err() {
                    return Ok(());
                }
                if remaining != told {
                    told = remaining;
                    socket.send(status(told, None)).await?;
                }
            }
            // The guard that wait_for gives must not live over an await: this task may move.
            () = async { drop(draining.wait_for(|draining| *draining).await) } => return Ok(()),
        }
    }
}

/// As ComfyUI says it, so that its clients understand.
fn status(remaining: u64, sid: Option<String>) -> Message {
    let mut data = json!({ "status": { "exec_info": { "queue_remaining": remaining } } });
    if let (Some(sid), Some(fields)) = (sid, data.as_object_mut()) {
        fields.insert("sid".to_owned(), Value::String(sid));
    }
    Message::text(json!({ "type": "status", "data": data }).to_string())
}

/// 128 random bits in hex; the socket has no other use for them than that clients expect some.
fn session_id() -> String {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => String::new(),
    }
}
