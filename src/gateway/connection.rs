//! One connection: the handshake, then HTTP/1.1 or HTTP/2 as ALPN says, until the guest goes, the key that it rests on
//! changes, or the gateway ends.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::asking::Digest;
use super::metered::Metered;
use super::proxy::headers::text_of;
use super::serve;
use super::sessions::one_of;
use super::shared::{KeyEpoch, Shared};
use super::tap::{MOST_FIELDS, Tap, Tapped};
use super::tls;
use super::worker::Worker;
use crate::telemetry::metrics::Handshake;

const HANDSHAKE: Duration = Duration::from_secs(10);
/// A request's head, and the pause between two requests.
const HEAD: Duration = Duration::from_secs(75);
/// What a running answer gets after the key changed; the contract is one second.
const GRACE: Duration = Duration::from_millis(500);
const LARGEST_HEAD: usize = 64 * 1024;

/// A guest's connection, as the requests on it see it.
pub(crate) struct Guest {
    /// The thread that it lives on.
    pub(crate) worker: Rc<Worker>,
    /// Its address.
    pub(crate) peer: SocketAddr,
    /// The same as a field value, made once.
    pub(crate) address: HeaderValue,
    /// Whether anything on it was let in by a key.
    pub(crate) rests_on_key: Cell<bool>,
    /// The sessions that something on it was let in by: one, as a rule.
    sessions: RefCell<Vec<Digest>>,
}

impl Guest {
    /// Something was let in by this session, and goes with it.
    pub(crate) fn rest_on(&self, session: Digest) {
        let mut sessions = self.sessions.borrow_mut();
        if !sessions.contains(&session) {
            sessions.push(session);
        }
    }

    /// Reads the body of a request that is answered without it, for a while: see [`super::proxy::linger`].
    pub(crate) fn discard(&self, request: Request<Incoming>) {
        let body = request.into_body();
        if !body.is_end_stream() && self.worker.unread.send(body).is_err() {
            tracing::debug!("the worker is ending");
        }
    }

    fn rests_on(&self, session: &Digest) -> bool {
        self.sessions.borrow().contains(session)
    }
}

/// Serves one connection from its first byte to its last.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, worker: Rc<Worker>) {
    let shared = worker.shared.clone();
    let _counted = Counted::new(&shared.connections);
    let Some(stream) = handshake(stream, peer, &shared).await else { return };
    let guest = Rc::new(Guest {
        worker,
        peer,
        address: text_of(peer.ip()),
        rests_on_key: Cell::new(false),
        sessions: RefCell::default(),
    });
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, guest, &shared).await;
    } else {
        http1(stream, guest, &shared).await;
    }
}

/// The handshake; none when it came to nothing, which is counted and told.
async fn handshake(stream: TcpStream, peer: SocketAddr, shared: &Shared) -> Option<TlsStream<TcpStream>> {
    let began = Instant::now();
    shared.metrics.accepted.inc();
    let acceptor = TlsAcceptor::from(shared.tls.load_full());
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            shared.metrics.handshakes.count(tls::why_it_failed(&error));
            tracing::debug!(%peer, %error, "handshake failed");
            return None;
        }
        Err(_) => {
            shared.metrics.handshakes.count(Handshake::Timeout);
            tracing::debug!(%peer, "handshake took too long");
            return None;
        }
    };
    let (version, resumed) = tls::agreed(stream.get_ref().1);
    shared.metrics.tls.count(version, resumed);
    shared.metrics.handshake_seconds.observe(began.elapsed().as_secs_f64());
    shared.metrics.handshakes.count(Handshake::Ok);
    Some(stream)
}

async fn http1(stream: TlsStream<TcpStream>, guest: Rc<Guest>, shared: &Shared) {
    let tap = Tap::new();
    let service = service_fn({
        let (guest, tap) = (guest.clone(), tap.clone());
        move |request: Request<Incoming>| {
            let (guest, seen) = (guest.clone(), tap.inspect());
            async move { Ok::<_, Infallible>(serve::answer_seen(guest, request, seen).await) }
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_header_size(LARGEST_HEAD).max_headers(MOST_FIELDS);
    let stream = Tapped::new(Metered::new(stream, &shared.metrics), tap);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = pin!(connection);
    let ended = until_it_must_end(&guest, shared, connection.as_mut(), |connection| connection.graceful_shutdown());
    note_end(guest.peer, ended.await);
}

async fn http2(stream: TlsStream<TcpStream>, guest: Rc<Guest>, shared: &Shared) {
    let service = service_fn({
        let guest = guest.clone();
        move |request: Request<Incoming>| {
            let guest = guest.clone();
            async move { Ok::<_, Infallible>(serve::answer(guest, request).await) }
        }
    });
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_frame_size(64 * 1024)
        .max_concurrent_streams(128)
        .max_header_list_size(LARGEST_HEAD as u32)
        .max_send_buf_size(256 * 1024);
    let connection = builder.serve_connection(TokioIo::new(Metered::new(stream, &shared.metrics)), service);
    let mut connection = pin!(connection);
    let ended = until_it_must_end(&guest, shared, connection.as_mut(), |connection| connection.graceful_shutdown());
    note_end(guest.peer, ended.await);
}

/// Drives a connection. When the key changes under a guest that was let in by it, or the gateway ends, it is asked to
/// finish; in the first case it has [`GRACE`] for that.
async fn until_it_must_end<C>(
    guest: &Guest,
    shared: &Shared,
    mut connection: std::pin::Pin<&mut C>,
    finish: impl Fn(std::pin::Pin<&mut C>),
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let (mut key, mut draining, mut ends) =
        (shared.key.subscribe(), shared.draining.subscribe(), shared.sessions.ends());
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = another_key(&mut key) => {
                if guest.rests_on_key.get() {
                    finish(connection.as_mut());
                    return timeout(GRACE, connection).await.unwrap_or(Ok(()));
                }
            }
            () = one_of(&mut ends, |session| guest.rests_on(session)) => {
                if !guest.sessions.borrow().is_empty() {
                    finish(connection.as_mut());
                    return timeout(GRACE, connection).await.unwrap_or(Ok(()));
                }
            }
            _ = draining.wait_for(|draining| *draining) => {
                finish(connection.as_mut());
                return connection.await;
            }
        }
    }
}

/// Waits for a change of the key.
async fn another_key(key: &mut watch::Receiver<KeyEpoch>) {
    if key.changed().await.is_err() {
        // The sender lives as long as the process.
        sleep(Duration::MAX).await;
    }
}

fn note_end(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Counts a connection for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// HTTP/2 streams as tasks of this thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
