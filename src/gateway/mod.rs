//! PROCESS 2, the gateway: faces the network and has no privilege.
//!
//! It asks the supervisor whether a key is right and remembers the answer; it never sees the hash. One thread talks to the
//! supervisor and watches ComfyUI, the others serve guests, each with a reactor of its own.

mod accept;
mod admit;
mod answer;
mod asking;
mod auth;
mod connection;
mod endpoint;
mod jobs;
mod judge;
mod link;
mod local;
mod metered;
mod pages;
mod probe;
mod proxy;
mod redirect;
mod seen;
mod serve;
mod sessions;
mod shared;
mod tap;
mod tls;
mod worker;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::os::{descriptors, process};
use crate::sandbox::{self, SandboxError};
use crate::telemetry::forward;
use crate::wire::channel::{Channel, ChannelError};
use crate::wire::message::FromGateway;
use crate::wire::message::{GatewaySetup, ToGateway};
use link::Link;
use shared::Shared;
use worker::Listeners;

/// Why the gateway cannot work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatewayError {
    /// It was not started by the supervisor.
    #[error("the gateway is started by `comfy-guard run`, not by hand: {0}")]
    Channel(io::Error),
    /// The supervisor cannot be understood.
    #[error(transparent)]
    Wire(#[from] ChannelError),
    /// The first message was not the set-up.
    #[error("the supervisor did not say what to serve with")]
    NoSetup,
    /// The certificate cannot be used.
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] tls::TlsError),
    /// Its sandbox cannot be closed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A thread or a socket cannot be had.
    #[error("cannot {step}: {source}")]
    System {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Runs the gateway until the supervisor ends it or is gone.
pub(crate) fn run() -> Result<(), GatewayError> {
    process::name_self(c"guard-gateway").map_err(|source| GatewayError::System { step: "take a name", source })?;
    sandbox::gateway::begin()?;
    let socket = descriptors::inherited(descriptors::CHANNEL).map_err(GatewayError::Channel)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| GatewayError::System { step: "start the reactor", source })?;
    runtime.block_on(async {
        let channel = Channel::new(socket).map_err(GatewayError::Channel)?;
        let (setup, sockets) = first_message(&channel).await?;
        let lines = forward::install(setup.settings.log.level);
        let (questions, asked) = mpsc::channel(1024);
        let workers = setup.workers;
        let listeners = Listeners::of(sockets, setup.https_sockets, setup.metrics_sockets);
        let shared = Arc::new(Shared::new(*setup, questions)?);
        let fence = sandbox::gateway::fence(shared.upstream.port())?;
        let gate = worker::start(&shared, listeners, workers)?;
        gate.wait();
        let confinement = sandbox::gateway::close(fence)?;
        gate.wait();
        channel.send(&FromGateway::Confined(confinement.to_string())).await?;
        channel.send(&FromGateway::Ready).await?;
        Link::new(channel, shared, lines, asked).work().await
    })
}

async fn first_message(channel: &Channel) -> Result<(Box<GatewaySetup>, Vec<OwnedFd>), GatewayError> {
    match channel.receive::<ToGateway>().await? {
        Some((ToGateway::Setup(setup), sockets)) => Ok((setup, sockets)),
        _ => Err(GatewayError::NoSetup),
    }
}
