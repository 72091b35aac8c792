//! A thread that asks the driver once a second, so that a call that never returns leaves the sensor able to say so.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::nvml::Driver;
use crate::wire::gpu::{DriverFault, GpuReading};

/// Pause between two looks.
const PACE: Duration = Duration::from_secs(1);
/// The driver answers in milliseconds; after a reset of a device it can take two seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the thread is doing.
pub(super) struct Reader {
    readings: watch::Receiver<GpuReading>,
    asked: Arc<Mutex<Option<Instant>>>,
}

impl Reader {
    /// Starts asking the library at `path`, and comes back when it is loaded or takes too long: that too may hang, and so happens in the
    /// thread.
    pub(super) fn start(path: PathBuf) -> io::Result<Self> {
        let (loaded, is_loaded) = mpsc::sync_channel(1);
        let (readings, receiver) = watch::channel(GpuReading::Unknown);
        let asked = Arc::new(Mutex::new(None));
        let asking = Asking(asked.clone());
        std::thread::Builder::new().name("driver".to_owned()).spawn(move || ask(path, &asking, &loaded, &readings))?;
        // Disconnected: it could not be loaded, which the reading says.
        if is_loaded.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the driver's library takes long to load");
        }
        Ok(Self { readings: receiver, asked })
    }

    /// What is known now.
    pub(super) fn reading(&self) -> GpuReading {
        let since = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match since.map(|since| since.elapsed()) {
            Some(waited) if waited > PATIENCE => GpuReading::Failed {
                fault: DriverFault::Hung,
                why: "a call of the driver's library has not come back".to_owned(),
            },
            _ => self.readings.borrow().clone(),
        }
    }
}

/// Since when the driver has owed an answer.
struct Asking(Arc<Mutex<Option<Instant>>>);

impl Asking {
    fn about<T>(&self, question: impl FnOnce() -> T) -> T {
        self.note(Some(Instant::now()));
        let answer = question();
        self.note(None);
        answer
    }

    fn note(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

#[allow(clippy::disallowed_methods, reason = "this thread serves nobody: it waits for its next look")]
fn ask(path: PathBuf, asking: &Asking, loaded: &mpsc::SyncSender<()>, readings: &watch::Sender<GpuReading>) {
    let driver = match asking.about(|| Driver::load(&path)) {
        Ok(driver) => driver,
        Err(reading) => {
            readings.send_replace(reading);
            return;
        }
    };
    // Who waits for it may have stopped waiting.
    loaded.try_send(()).ok();
    while !readings.is_closed() {
        let reading = asking.about(|| driver.read());
        readings.send_replace(reading);
        std::thread::sleep(PACE);
    }
}
