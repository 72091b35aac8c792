//! Plain HTTP: one answer, 308 to the same place over HTTPS (RFC 9110, 15.4.9), and nothing else.
//!
//! A key that somebody sent in the clear is not repeated in the answer.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::proxy::query::without_credentials;

/// Nobody needs longer for one small request.
const PATIENCE: Duration = Duration::from_secs(15);

/// Answers one connection.
pub(crate) async fn serve(stream: TcpStream, https_port: u16) {
    let service =
        service_fn(move |request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request, https_port)) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(PATIENCE, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "redirect"),
        Err(_) => tracing::debug!("a plain connection took too long"),
    }
}

fn answer<B>(request: &Request<B>, https_port: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    match location(request, https_port) {
        Some(location) => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(header::LOCATION, location);
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// The same host, path and query over HTTPS; none where the request names no host that could be repeated.
fn location<B>(request: &Request<B>, https_port: u16) -> Option<HeaderValue> {
    let host = request.headers().get(header::HOST)?.to_str().ok()?;
    let authority: http::uri::Authority = host.parse().ok().filter(|_| !host.contains('@'))?;
    let target = request.uri().path_and_query()?;
    let stripped = without_credentials(target).ok()?;
    let target = stripped.as_ref().unwrap_or(target);
    let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
    let path = if target.as_str().starts_with('/') { target.as_str() } else { "/" };
    HeaderValue::try_from(format!("https://{}{port}{path}", authority.host())).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn redirected(target: &str, host: Option<&str>, port: u16) -> Option<String> {
        let mut request = Request::get(target);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        location(&request.body(()).unwrap(), port).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_place_is_kept_and_the_key_is_not() {
        let at = |target, host, port| redirected(target, Some(host), port);
        assert_eq!(at("/a%2Fb?x=1&api_key=s&y=2", "box", 443).as_deref(), Some("https://box/a%2Fb?x=1&y=2"));
        assert_eq!(at("/", "box:80", 8443).as_deref(), Some("https://box:8443/"));
        assert_eq!(at("/", "[::1]:80", 443).as_deref(), Some("https://[::1]/"));
    }

    #[test]
    fn without_a_host_there_is_nowhere_to_go() {
        assert_eq!(redirected("/", None, 443), None);
        assert_eq!(redirected("/", Some("user@evil"), 443), None);
        assert_eq!(redirected("/", Some("a b"), 443), None);
    }
}
