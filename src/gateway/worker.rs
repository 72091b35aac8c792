//! Worker threads: each with a reactor, a pool of connections to ComfyUI and its own guests, so that a request never
//! crosses from one thread to another.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Barrier};

use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::GatewayError;
use super::accept;
use super::local;
use super::proxy::linger;
use super::proxy::pool::Pool;
use super::shared::Shared;

/// What the guests of one thread share.
pub(crate) struct Worker {
    /// What all threads share.
    pub(crate) shared: Arc<Shared>,
    /// Idle connections to ComfyUI.
    pub(crate) pool: Pool,
    /// Takes request bodies that nobody wants to the end (see [`linger`]).
    pub(crate) unread: mpsc::UnboundedSender<Incoming>,
}

/// The listening sockets, by what is served there.
pub(crate) struct Listeners {
    https: Vec<TcpListener>,
    redirect: Vec<TcpListener>,
    metrics: Vec<OwnedFd>,
}

impl Listeners {
    /// The first `https` of the sockets speak TLS, the last `metrics` have `/metrics`, what is in between redirects.
    pub(crate) fn of(mut sockets: Vec<OwnedFd>, https: usize, metrics: usize) -> Self {
        let metrics = sockets.split_off(sockets.len().saturating_sub(metrics));
        let redirect = sockets.split_off(https.min(sockets.len()));
        let listeners = |sockets: Vec<OwnedFd>| sockets.into_iter().map(TcpListener::from).collect();
        Self { https: listeners(sockets), redirect: listeners(redirect), metrics }
    }

    /// As many as there are of those that all threads have; the rest, for which one thread is enough, go to who asks first.
    fn share(&mut self) -> io::Result<Self> {
        Ok(Self {
            https: self.https.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            redirect: std::mem::take(&mut self.redirect),
            metrics: std::mem::take(&mut self.metrics),
        })
    }
}

/// Starts the threads.
///
/// They pass the gate twice, with the caller: when all have what they need, and when the sandbox is closed around them. No guest is
/// accepted before that.
pub(crate) fn start(
    shared: &Arc<Shared>,
    mut listeners: Listeners,
    workers: usize,
) -> Result<Arc<Barrier>, GatewayError> {
    let workers = workers.max(1);
    let gate = Arc::new(Barrier::new(workers + 1));
    let failed = |step| move |source| GatewayError::System { step, source };
    for number in 0..workers {
        let own = listeners.share().map_err(failed("share a listening socket"))?;
        let (shared, gate) = (shared.clone(), gate.clone());
        std::thread::Builder::new()
            .name(format!("guests-{number}"))
            .spawn(move || serve(shared, own, &gate))
            .map_err(failed("start a thread"))?;
    }
    Ok(gate)
}

#[allow(clippy::disallowed_methods, reason = "the gateway has nothing to clean up, and its threads must end together")]
fn serve(shared: Arc<Shared>, listeners: Listeners, gate: &Barrier) {
    if let Err(error) = try_serve(shared, listeners, gate) {
        // The supervisor starts another gateway: one that serves with fewer threads than it was told would hide the fault.
        tracing::error!(%error, "a worker cannot serve");
        std::process::abort();
    }
}

fn try_serve(shared: Arc<Shared>, listeners: Listeners, gate: &Barrier) -> io::Result<()> {
    let Listeners { https, redirect, metrics } = listeners;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let (unread, bodies) = mpsc::unbounded_channel();
        tokio::task::spawn_local(linger::read_to_the_end(bodies));
        let worker = Rc::new(Worker { pool: Pool::new(shared.clone()), shared, unread });
        let port = https.first().map(TcpListener::local_addr).transpose()?.map_or(443, |address| address.port());
        let adopt =
            |listeners: Vec<TcpListener>| listeners.into_iter().map(accept::adopt).collect::<io::Result<Vec<_>>>();
        let (https, redirect) = (adopt(https)?, adopt(redirect)?);
        let metrics = metrics.into_iter().map(local::Listener::adopt).collect::<io::Result<Vec<_>>>()?;
        gate.wait();
        gate.wait();
        for listener in redirect {
            tokio::task::spawn_local(accept::redirect(listener, port));
        }
        for listener in metrics {
            tokio::task::spawn_local(listener.serve(worker.shared.clone()));
        }
        for listener in https {
            tokio::task::spawn_local(accept::https(listener, worker.clone()));
        }
        std::future::pending::<()>().await;
        Ok(())
    })
}
