//! Handing a request on to ComfyUI: head rewritten, body streamed, answer streamed back; or a tunnel after an upgrade.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::uri::InvalidUri;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::body::{GuestBody, UpstreamBody};
use super::failure::Failure;
use super::headers::{self, RequestFacts, ResponseFacts, believed_host, believed_scheme, client_address, text_of};
use super::inject::{self, Asked};
use super::query::without_credentials;
use super::{pool, tunnel};
use crate::gateway::answer::{Body, Look, Own};
use crate::gateway::auth::cookie::strip_session;
use crate::gateway::auth::decide::Head;
use crate::gateway::auth::refusal::Refusal;
use crate::gateway::connection::Guest;
use crate::gateway::serve;
use crate::telemetry::metrics::Socket;
use crate::wire::message::{GatewaySettings, ProcessState};

/// Where a POST queues a prompt.
const QUEUEING: [&str; 2] = ["/prompt", "/api/prompt"];

/// Why a request is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nobody needs a key for it.
    Everybody,
    /// A right key came with it: the answer is private, and ends with the key.
    Key,
    /// A session's cookie came with it: the answer is private, and ends with the session.
    Session([u8; 32]),
}

/// Hands a request on and brings the answer back.
pub(crate) async fn hand_on(
    guest: &Rc<Guest>,
    settings: &GatewaySettings,
    mut request: Request<Incoming>,
    admission: Admission,
) -> Response<Body> {
    let look = Look::of(&request);
    // Whatever listens on the port while no ComfyUI of ours serves is a stranger, who must see nobody's request.
    let ours = matches!(guest.worker.shared.health.borrow().process, ProcessState::Running | ProcessState::External);
    if !ours {
        return serve::own(guest, settings, &refused(guest, settings, Failure::Refused), request);
    }
    let upgrade = Head::of(&request).is_websocket_upgrade();
    let queues = *request.method() == Method::POST && QUEUEING.contains(&request.uri().path());
    if let Err(error) = rewrite(guest, settings, &mut request, upgrade) {
        tracing::debug!(%error, "the target without its key is none");
        return Own::from(Refusal::BadPath).respond_as(look, settings);
    }
    let handed_on = if upgrade {
        socket(guest, settings, request, admission).await
    } else if settings.auth.enabled
        && let Some(asked) = inject::prepare(&mut request)
    {
        page(guest, request, asked).await
    } else {
        exchange(guest, request).await.map(|answer| answer.map(Body::Upstream))
    };
    match handed_on {
        Ok(mut response) => {
            // hyper writes each answer in the version of its own connection only if it is not told another.
            *response.version_mut() = Version::HTTP_11;
            if queues && response.status() == StatusCode::OK {
                guest.worker.shared.metrics.queued.inc();
            }
            let websocket = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let facts = ResponseFacts { needed_key: admission != Admission::Everybody, websocket };
            headers::strip_response(response.headers_mut(), facts);
            if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return too_large(settings).respond_as(look, settings);
            }
            response
        }
        Err(failure) => refused(guest, settings, failure).respond_as(look, settings),
    }
}

fn refused(guest: &Guest, settings: &GatewaySettings, failure: Failure) -> Own {
    let shared = &guest.worker.shared;
    let key = shared.key.borrow().state;
    failure.answer(shared.health.borrow().closed_by(key, !settings.auth.enabled))
}

/// The head as ComfyUI is to see it.
fn rewrite(
    guest: &Guest,
    settings: &GatewaySettings,
    request: &mut Request<Incoming>,
    websocket: bool,
) -> Result<(), InvalidUri> {
    let target = match request.uri().path_and_query() {
        Some(target) => without_credentials(target)?.or_else(|| request.uri().authority().map(|_| target.clone())),
        None => None,
    };
    let (peer, trusted) = (guest.peer.ip(), &settings.proxy.trusted);
    let client = (!trusted.is_empty()).then(|| text_of(client_address(peer, request.headers(), trusted)));
    let host = believed_host(peer, request.headers(), trusted).or(request.headers().get(header::HOST)).cloned();
    let host = host.or_else(|| HeaderValue::try_from(request.uri().authority()?.as_str()).ok());
    let facts = RequestFacts {
        upstream_host: &guest.worker.shared.upstream_host,
        client: client.as_ref().unwrap_or(&guest.address),
        host: host.as_ref(),
        scheme: believed_scheme(peer, request.headers(), trusted),
        websocket,
    };
    headers::strip_request(request.headers_mut(), &facts);
    strip_session(request.headers_mut());
    if let Some(target) = target {
        *request.uri_mut() = Uri::from(target);
    }
    *request.version_mut() = Version::HTTP_11;
    Ok(())
}

/// ComfyUI's page, with our script in it.
async fn page(guest: &Guest, request: Request<Incoming>, asked: Asked) -> Result<Response<Body>, Failure> {
    let answer = exchange(guest, request).await?;
    let answer = inject::inject(answer, asked).await.map_err(|error| Failure::of_exchange(&error))?;
    Ok(answer.map(|body| Body::Page(Box::new(body))))
}

async fn exchange(guest: &Guest, request: Request<Incoming>) -> Result<Response<UpstreamBody>, Failure> {
    let sent = Rc::new(Cell::new(false));
    let unread = guest.worker.unread.clone();
    let request = request.map(|body| GuestBody::new(body, sent.clone(), unread));
    let (answer, lease) = guest.worker.pool.send(request, sent).await?;
    Ok(answer.map(|body| UpstreamBody::new(body, lease)))
}

/// An upgrade goes on a connection of its own. ComfyUI may refuse it: then its answer is the answer.
async fn socket(
    guest: &Rc<Guest>,
    settings: &GatewaySettings,
    mut request: Request<Incoming>,
    admission: Admission,
) -> Result<Response<Body>, Failure> {
    let guests_side = hyper::upgrade::on(&mut request);
    let shared = guest.worker.shared.clone();
    let stream = pool::connect(&shared).await?;
    let failed = |error: hyper::Error| Failure::of_exchange(&error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "WebSocket connection to ComfyUI ended");
        }
    });
    let request = request.map(|_| Empty::<Bytes>::new());
    let mut answer = sender.send_request(request).await.map_err(failed)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer.map(|body| Body::Upstream(UpstreamBody::alone(body))));
    }
    let comfyuis_side = hyper::upgrade::on(&mut answer);
    let idle = settings.proxy.websocket_idle;
    tokio::task::spawn_local(async move {
        let (guest, comfyui) = match tokio::try_join!(guests_side, comfyuis_side) {
            Ok(sides) => sides,
            Err(error) => return tracing::debug!(%error, "a WebSocket's upgrade failed"),
        };
        let _open = shared.metrics.open_socket(Socket::Comfyui);
        tunnel::carry(TokioIo::new(guest), TokioIo::new(comfyui), &shared, admission, idle).await;
    });
    Ok(answer.map(|_| Body::Own(http_body_util::Full::default())))
}

/// ComfyUI says it in plain text and without the number.
fn too_large(settings: &GatewaySettings) -> Own {
    let limit = settings.proxy.max_upload;
    Own {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        error: "too_large",
        message: format!("The upload is over the limit of {limit} (proxy.max_upload in the guard's configuration)."),
        retry_after: None,
    }
}
