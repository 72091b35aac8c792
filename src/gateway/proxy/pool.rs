//! Connections to ComfyUI: a stack per worker, the last used on top, because that one is surest to be alive.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::GuestBody;
use super::failure::Failure;
use crate::gateway::shared::Shared;
use crate::telemetry::metrics::Dialled;

/// Half of aiohttp's keep-alive of 75 s: what is older may be closed while a request is on its way.
const OLDEST: Duration = Duration::from_secs(35);
const MOST_IDLE: usize = 256;
/// On loopback a connection that is not made by now will not be: the listener's queue is full.
const CONNECT: Duration = Duration::from_secs(5);

/// A worker's idle connections.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    idle: Rc<RefCell<Vec<Idle>>>,
}

struct Idle {
    sender: SendRequest<GuestBody>,
    since: Instant,
}

/// A connection in use; given back when request and answer are through.
pub(crate) struct Lease {
    sender: SendRequest<GuestBody>,
    idle: Rc<RefCell<Vec<Idle>>>,
    sent: Rc<Cell<bool>>,
}

impl Lease {
    /// Makes the connection free for the next request, if this one left it clean.
    pub(crate) fn give_back(self) {
        let mut idle = self.idle.borrow_mut();
        if self.sent.get() && !self.sender.is_closed() && idle.len() < MOST_IDLE {
            idle.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}

impl Pool {
    /// Empty.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, idle: Rc::default() }
    }

    /// Sends a request; the head of the answer, with its connection. `sent` is the request body's flag.
    ///
    /// A request that a dead connection gave back unwritten goes on the next one: that is safe whatever its method. One
    /// that may have been read is never sent twice.
    pub(crate) async fn send(
        &self,
        mut request: Request<GuestBody>,
        sent: Rc<Cell<bool>>,
    ) -> Result<(Response<Incoming>, Lease), Failure> {
        loop {
            let (mut sender, fresh) = match self.take() {
                Some(sender) => (sender, false),
                None => (self.connect().await?, true),
            };
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, Lease { sender, idle: self.idle.clone(), sent })),
                Err(mut error) => match error.take_message() {
                    Some(unwritten) if !fresh => request = unwritten,
                    _ => return Err(Failure::of_exchange(error.error())),
                },
            }
        }
    }

    /// The last used connection that is ready. One whose driver has not run since its answer ended is left where it is.
    fn take(&self) -> Option<SendRequest<GuestBody>> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < OLDEST);
        let ready = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        Some(idle.swap_remove(ready).sender)
    }

    async fn connect(&self) -> Result<SendRequest<GuestBody>, Failure> {
        let stream = connect(&self.shared).await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::of_exchange(&error))?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to ComfyUI ended");
            }
        });
        Ok(sender)
    }
}

/// A TCP connection to ComfyUI, counted by how it was made.
pub(crate) async fn connect(shared: &Shared) -> Result<TcpStream, Failure> {
    let connected = dial(shared.upstream).await;
    shared.metrics.dialled.count(match &connected {
        Ok(_) => Dialled::Opened,
        Err(Failure::Refused) => Dialled::Refused,
        Err(_) => Dialled::Failed,
    });
    connected
}

async fn dial(upstream: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = match timeout(CONNECT, TcpStream::connect(upstream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Failure::Refused),
        Ok(Err(error)) => {
            tracing::warn!(%error, %upstream, "no connection to ComfyUI");
            return Err(Failure::NoConnection);
        }
        Err(_) => return Err(Failure::NoConnection),
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    Ok(stream)
}
