//! PROCESS 3, the sensor: the only process that will have the NVIDIA library in it, so that a driver that hangs or crashes
//! takes neither the key nor a guest with it.

use std::io;

use crate::os::{descriptors, process};
use crate::sandbox::{self, SandboxError};
use crate::telemetry::forward;
use crate::wire::channel::{Channel, ChannelError};
use crate::wire::message::{FromSensor, GpuReading, ToSensor};

/// Why the sensor cannot work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SensorError {
    /// It was not started by the supervisor, or has no reactor.
    #[error("the sensor is started by `comfy-guard run`, not by hand: {0}")]
    Start(io::Error),
    /// Its sandbox cannot be closed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The supervisor cannot be understood.
    #[error(transparent)]
    Wire(#[from] ChannelError),
    /// The first message was not the set-up.
    #[error("the supervisor did not say how to log")]
    NoSetup,
}

/// Runs the sensor until the supervisor ends it or is gone.
pub(crate) fn run() -> Result<(), SensorError> {
    process::name_self(c"guard-sensor").map_err(SensorError::Start)?;
    sandbox::sensor::begin()?;
    let socket = descriptors::inherited(descriptors::CHANNEL).map_err(SensorError::Start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SensorError::Start)?;
    runtime.block_on(async {
        let channel = Channel::new(socket).map_err(SensorError::Start)?;
        let Some((ToSensor::Setup(log), _)) = channel.receive().await? else { return Err(SensorError::NoSetup) };
        let mut lines = forward::install(log.level);
        let confinement = sandbox::sensor::close()?;
        channel.send(&FromSensor::Confined(confinement.to_string())).await?;
        channel.send(&FromSensor::Ready).await?;
        // No library is loaded yet: what cannot be read is absent, and ComfyUI's own numbers stand in /health.
        channel.send(&FromSensor::Reading(GpuReading::Absent)).await?;
        loop {
            tokio::select! {
                message = channel.receive::<ToSensor>() => match message? {
                    Some((ToSensor::Check(number), _)) => channel.send(&FromSensor::Checked(number)).await?,
                    Some((ToSensor::Setup(_), _)) => return Err(SensorError::NoSetup),
                    None => return Ok(()),
                },
                Some(line) = lines.recv() => channel.send(&FromSensor::Log(line)).await?,
            }
        }
    })
}
