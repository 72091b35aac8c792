//! Lingering (nginx's `lingering_close`): a request body that nobody wants is read and dropped for a while, so that the
//! answer which was given without it reaches the guest.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// In all.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two pieces.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes bodies until the worker ends.
pub(crate) async fn read_to_the_end(mut bodies: mpsc::UnboundedReceiver<Incoming>) {
    while let Some(body) = bodies.recv().await {
        tokio::task::spawn_local(async move {
            if timeout(LONGEST, read(body)).await.is_err() {
                tracing::debug!("a body that nobody wanted had no end");
            }
        });
    }
}

async fn read(mut body: Incoming) {
    while let Ok(Some(Ok(_))) = timeout(PATIENCE, body.frame()).await {}
}
