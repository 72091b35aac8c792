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

/// Starts the threads. The first `https_sockets` of the sockets speak TLS, the rest redirect to the first.
///
/// They pass the gate twice, with the caller: when all have what they need, and when the sandbox is closed around them. No guest is
/// accepted before that.
pub(crate) fn start(
    shared: &Arc<Shared>,
    sockets: Vec<OwnedFd>,
    https_sockets: usize,
    workers: usize,
) -> Result<Arc<Barrier>, GatewayError> {
    let workers = workers.max(1);
    let gate = Arc::new(Barrier::new(workers + 1));
    let failed = |step| move |source| GatewayError::System { step, source };
    let listeners: Vec<TcpListener> = sockets.into_iter().map(TcpListener::from).collect();
    for number in 0..workers {
        let mut https = listeners
            .iter()
            .map(TcpListener::try_clone)
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed("share a listening socket"))?;
        // One thread is enough for redirects.
        let mut redirect = https.split_off(https_sockets.min(https.len()));
        redirect.truncate(if number == 0 { redirect.len() } else { 0 });
        let (shared, gate) = (shared.clone(), gate.clone());
        std::thread::Builder::new()
            .name(format!("guests-{number}"))
            .spawn(move || serve(shared, https, redirect, &gate))
            .map_err(failed("start a thread"))?;
    }
    Ok(gate)
}

#[allow(clippy::disallowed_methods, reason = "the gateway has nothing to clean up, and its threads must end together")]
fn serve(shared: Arc<Shared>, https: Vec<TcpListener>, redirect: Vec<TcpListener>, gate: &Barrier) {
    if let Err(error) = try_serve(shared, https, redirect, gate) {
        // The supervisor starts another gateway: one that serves with fewer threads than it was told would hide the fault.
        tracing::error!(%error, "a worker cannot serve");
        std::process::abort();
    }
}

fn try_serve(
    shared: Arc<Shared>,
    https: Vec<TcpListener>,
    redirect: Vec<TcpListener>,
    gate: &Barrier,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let (unread, bodies) = mpsc::unbounded_channel();
        tokio::task::spawn_local(linger::read_to_the_end(bodies));
        let worker = Rc::new(Worker { pool: Pool::new(shared.upstream), shared, unread });
        let port = https.first().map(TcpListener::local_addr).transpose()?.map_or(443, |address| address.port());
        let adopt =
            |listeners: Vec<TcpListener>| listeners.into_iter().map(accept::adopt).collect::<io::Result<Vec<_>>>();
        let (https, redirect) = (adopt(https)?, adopt(redirect)?);
        gate.wait();
        gate.wait();
        for listener in redirect {
            tokio::task::spawn_local(accept::redirect(listener, port));
        }
        for listener in https {
            tokio::task::spawn_local(accept::https(listener, worker.clone()));
        }
        std::future::pending::<()>().await;
        Ok(())
    })
}
