//! Accepting connections: the sockets are the supervisor's and shared by all threads; a connection goes to whoever wakes
//! first.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::connection;
use super::redirect;
use super::worker::Worker;

/// Out of descriptors: the connection stays in the queue, so trying again at once would only burn the core.
const PAUSE: Duration = Duration::from_millis(100);

/// Gives a listening socket to this thread's reactor.
pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves guests over TLS until the gateway ends.
pub(crate) async fn https(listener: TcpListener, worker: Rc<Worker>) {
    let mut draining = worker.shared.draining.subscribe();
    loop {
        tokio::select! {
            accepted = next(&listener) => {
                let (stream, peer) = accepted;
                tokio::task::spawn_local(connection::serve(stream, peer, worker.clone()));
            }
            _ = draining.wait_for(|draining| *draining) => return,
        }
    }
}

/// Answers plain HTTP with a redirect to `https_port`.
pub(crate) async fn redirect(listener: TcpListener, https_port: u16) {
    loop {
        let (stream, _) = next(&listener).await;
        tokio::task::spawn_local(redirect::serve(stream, https_port));
    }
}

/// The next connection, whatever it takes. IPv4 guests of an IPv6 socket have their IPv4 address.
async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
                return (stream, SocketAddr::new(plain(peer.ip()), peer.port()));
            }
            // The guest was gone before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !told {
                    tracing::error!(%error, "no connection can be accepted");
                    told = true;
                }
                sleep(PAUSE).await;
            }
        }
    }
}

fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}
