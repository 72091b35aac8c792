//! PROCESS 3, the sensor: the only process that has the NVIDIA library in it, so that a driver that hangs or crashes
//! takes neither the key nor a guest with it.

mod events;
mod late;
mod library;
mod nvml;
mod reader;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::os::{descriptors, process};
use crate::sandbox::{self, Confinement, SandboxError};
use crate::telemetry::forward;
use crate::wire::channel::{Channel, ChannelError};
use crate::wire::gpu::GpuReading;
use crate::wire::message::{FromSensor, ToSensor};
use late::Outlook;
use library::LibraryError;
use reader::Reader;

/// How often a new reading is looked for: the driver is asked once a second.
const LOOK: Duration = Duration::from_millis(250);

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

/// The driver's library that a sensor with this `gpu.library` would load, links followed to its end; why there is none.
pub(crate) fn driver_library(configured: Option<&Path>) -> Result<PathBuf, String> {
    library::find(configured).map_err(|error| error.to_string())
}

/// Runs the sensor until the supervisor ends it or is gone, or another one may see more than this: then it ends well, to be started anew.
pub(crate) fn run() -> Result<(), SensorError> {
    process::name_self(c"guard-sensor").map_err(SensorError::Start)?;
    sandbox::sensor::begin()?;
    let socket = descriptors::inherited(descriptors::CHANNEL).map_err(SensorError::Start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SensorError::Start)?;
    runtime.block_on(async {
        let channel = Channel::new(socket).map_err(SensorError::Start)?;
        let Some((ToSensor::Setup(setup), _)) = channel.receive().await? else { return Err(SensorError::NoSetup) };
        let mut lines = forward::install(setup.log.level);
        let mut outlook = Outlook::new(library::candidates(setup.library.as_deref()));
        let (source, confinement) = open_confined(setup.library.as_deref())?;
        channel.send(&FromSensor::Confined(confinement.to_string())).await?;
        channel.send(&FromSensor::Ready).await?;
        let mut told = GpuReading::Unknown;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = channel.receive::<ToSensor>() => match message? {
                    Some((ToSensor::Check(number), _)) => channel.send(&FromSensor::Checked(number)).await?,
                    Some((ToSensor::Setup(_), _)) => return Err(SensorError::NoSetup),
                    None => return Ok(()),
                },
                Some(line) = lines.recv() => channel.send(&FromSensor::Log(line)).await?,
                _ = look.tick() => {
                    let reading = source.reading();
                    if outlook.is_over(&reading) {
                        tracing::debug!("another sensor may see more");
                        return Ok(());
                    }
                    if reading != told {
                        channel.send(&FromSensor::Reading(reading.clone())).await?;
                        told = reading;
                    }
                }
            }
        }
    })
}

/// Loads the library, where there is one, and closes the sandbox around it: the fence before there is a thread, the filter when nothing
/// is to be made executable any more.
fn open_confined(configured: Option<&Path>) -> Result<(Source, Confinement), SensorError> {
    let found = library::find(configured);
    let fence = sandbox::sensor::fence(found.as_deref().ok())?;
    let source = match found {
        Ok(path) => {
            tracing::debug!(library = %path.display(), "the driver's library");
            Source::Driver(Reader::start(path).map_err(SensorError::Start)?)
        }
        Err(error) => {
            // A machine without a GPU is nothing to complain about; a library that was named or is refused is.
            match error {
                LibraryError::Missing => tracing::info!("{error}"),
                _ => tracing::error!("{error}"),
            }
            Source::Nothing(GpuReading::Absent(error.to_string()))
        }
    };
    Ok((source, sandbox::sensor::close(fence)?))
}

/// Where readings come from.
enum Source {
    /// A library that is asked.
    Driver(Reader),
    /// There is none, or none that may be loaded: ComfyUI's own numbers stand in `/health`.
    Nothing(GpuReading),
}

impl Source {
    fn reading(&self) -> GpuReading {
        match self {
            Self::Driver(reader) => reader.reading(),
            Self::Nothing(reading) => reading.clone(),
        }
    }
}
