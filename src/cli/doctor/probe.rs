//! Does a ComfyUI answer there, without asking for a key? One question that changes nothing, and two seconds for the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(2);
/// ComfyUI's answer has some kilobytes.
const MOST: usize = 64 << 10;

/// Those of these addresses at which a ComfyUI answers anybody.
pub(super) async fn open(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut open = Vec::new();
    for address in addresses {
        if tokio::time::timeout(PATIENCE, is_comfyui(reachable(address))).await.ok().flatten().unwrap_or_default() {
            open.push(address);
        }
    }
    open
}

/// A listener on all addresses is asked on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Whatever else answers, or answers otherwise, is none.
async fn is_comfyui(address: SocketAddr) -> Option<bool> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let question =
        Request::get("/system_stats").header(header::HOST, address.to_string()).body(Empty::<Bytes>::new()).ok()?;
    let answer = sender.send_request(question).await.ok()?;
    let is_open = answer.status() == StatusCode::OK;
    let body = Limited::new(answer.into_body(), MOST).collect().await.ok()?.to_bytes();
    connection.abort();
    let stats: serde_json::Value = serde_json::from_slice(&body).ok()?;
    Some(is_open && stats.get("system").is_some() && stats.get("devices").is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers each connection with these bytes.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                assert!(stream.read(&mut [0; 4096]).is_ok());
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        address
    }

    #[tokio::test]
    async fn only_a_comfyui_that_lets_everybody_in_counts() {
        let comfyui = answering("HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{\"system\": {}, \"devices\": []}");
        let table = [
            answering("HTTP/1.1 401 Unauthorized\r\nContent-Length: 29\r\n\r\n{\"system\": {}, \"devices\": []}"),
            answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
            answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            answering("SSH-2.0-OpenSSH_9.2\r\n"),
            answering(""),
        ];
        let mut all = table.to_vec();
        all.push(comfyui);
        assert_eq!(open(all).await, [comfyui]);
    }

    #[test]
    fn all_addresses_are_asked_at_this_machines_own() {
        for (listens, asked) in
            [("0.0.0.0:8188", "127.0.0.1:8188"), ("[::]:8188", "[::1]:8188"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
