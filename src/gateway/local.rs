//! `/metrics` for this machine: plain HTTP on loopback addresses and UNIX sockets, without a key, and nothing else there.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{sleep, timeout};

use super::endpoint::metrics;
use super::shared::Shared;

/// Nobody needs longer for one small request and its answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// As in `accept`: out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket that only this machine reaches.
pub(crate) enum Listener {
    /// A loopback address.
    Tcp(TcpListener),
    /// A name in the file system.
    Unix(UnixListener),
}

impl Listener {
    /// Gives a socket to this thread's reactor. What it is says the socket itself: the service manager may have made it.
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let unix = StdUnixListener::from(socket);
        if unix.local_addr().is_ok() {
            unix.set_nonblocking(true)?;
            return UnixListener::from_std(unix).map(Self::Unix);
        }
        let tcp = StdTcpListener::from(OwnedFd::from(unix));
        tcp.set_nonblocking(true)?;
        TcpListener::from_std(tcp).map(Self::Tcp)
    }

    /// Serves until the gateway ends.
    pub(crate) async fn serve(self, shared: Arc<Shared>) {
        loop {
            let accepted = match &self {
                Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| spawn(stream, &shared)),
                Self::Unix(listener) => listener.accept().await.map(|(stream, _)| spawn(stream, &shared)),
            };
            if let Err(error) = accepted {
                tracing::debug!(%error, "no connection for metrics can be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

fn spawn<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S, shared: &Arc<Shared>) {
    let shared = shared.clone();
    tokio::task::spawn_local(async move {
        let shared = &*shared;
        let service =
            service_fn(move |request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request, shared)) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        match timeout(PATIENCE, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection for metrics"),
            Err(_) => tracing::debug!("a connection for metrics took too long"),
        }
    });
}

fn answer<B>(request: &Request<B>, shared: &Shared) -> Response<Full<Bytes>> {
    let status = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => return metrics::page(request.headers(), shared),
        (_, "/metrics") => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
