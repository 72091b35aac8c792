//! A thread that asks the driver once a second, so that a call that never returns leaves the sensor able to say so; and one that
//! waits for the driver's events, which delays no reading.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::events::Heard;
use super::nvml::Driver;
use crate::wire::gpu::{DriverFault, Gpu, GpuReading};

/// Pause between two looks.
const PACE: Duration = Duration::from_secs(1);
/// The driver answers in milliseconds; after a reset of a device it can take two seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// One round over all devices that can be heard.
const ROUND: Duration = Duration::from_millis(500);
/// The first reading waits so long for them to be heard, else it would say that no events are told.
const EARS: Duration = Duration::from_secs(1);
/// Pause before devices that can be heard are looked for again, where there is none.
const DEAF: Duration = Duration::from_secs(5);
/// The same while one that could be heard cannot: a device that was lost and is back has to be listened to anew.
const FEWER: Duration = Duration::from_secs(30);

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
        Ok(driver) => Arc::new(driver),
        Err(reading) => {
            readings.send_replace(reading.bounded());
            return;
        }
    };
    // Who waits for it may have stopped waiting.
    loaded.try_send(()).ok();
    let heard = hear_events(&driver);
    while !readings.is_closed() {
        let mut reading = asking.about(|| driver.read());
        heard.tell(&mut reading);
        readings.send_modify(|known| {
            remember_the_lost(known, &mut reading);
            *known = reading.bounded();
        });
        std::thread::sleep(PACE);
    }
}

/// Starts to listen. Without a thread for it there are no events, which the readings say.
fn hear_events(driver: &Arc<Driver>) -> Arc<Heard> {
    let heard = Arc::new(Heard::default());
    let (driver, noted) = (driver.clone(), heard.clone());
    let (listens, is_heard) = mpsc::sync_channel(1);
    let started =
        std::thread::Builder::new().name("events".to_owned()).spawn(move || listen(&driver, &noted, &listens));
    match started {
        // Late or not at all: readings do not wait for it.
        Ok(_) => is_heard.recv_timeout(EARS).unwrap_or_default(),
        Err(error) => tracing::error!(%error, "the driver's events are not heard"),
    }
    heard
}

#[allow(clippy::disallowed_methods, reason = "this thread serves nobody: it waits for the driver's events")]
fn listen(driver: &Driver, heard: &Heard, listens: &mpsc::SyncSender<()>) {
    let mut most = 0;
    loop {
        let listeners = driver.listeners();
        for listener in &listeners {
            heard.listening(listener.index);
        }
        // Nobody waits for it the second time.
        listens.try_send(()).ok();
        let Some(patience) = u32::try_from(listeners.len()).ok().and_then(|count| ROUND.checked_div(count)) else {
            std::thread::sleep(DEAF);
            continue;
        };
        most = most.max(listeners.len());
        let (began, mut fewer) = (Instant::now(), listeners.len() < most);
        while !fewer || began.elapsed() < FEWER {
            for listener in &listeners {
                match listener.hear(patience) {
                    Ok(Some(xid)) => heard.note(listener.index, xid, SystemTime::now()),
                    Ok(None) => {}
                    Err(_) => {
                        fewer = true;
                        // It answers at once, and would keep a processor busy.
                        std::thread::sleep(patience);
                    }
                }
            }
        }
    }
}

/// A device that is lost no longer says who it is; it is still the one that it was.
fn remember_the_lost(before: &GpuReading, now: &mut GpuReading) {
    let (GpuReading::Read(before), GpuReading::Read(now)) = (before, now) else { return };
    for gpu in now.gpus.iter_mut().filter(|gpu| gpu.lost) {
        let Some(known) = before.gpus.iter().find(|known| known.index == gpu.index) else { continue };
        let Gpu { name, uuid, pci, .. } = known.clone();
        gpu.name = gpu.name.take().or(name);
        gpu.uuid = gpu.uuid.take().or(uuid);
        gpu.pci = gpu.pci.take().or(pci);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::wire::gpu::Readings;

    #[test]
    fn a_lost_device_is_still_known_by_its_name() {
        let gpu = |index, name: Option<&str>| Gpu { index, name: name.map(str::to_owned), ..Gpu::default() };
        let reading = |gpus| GpuReading::Read(Readings { gpus, ..Readings::default() });
        let before = reading(vec![gpu(0, Some("NVIDIA T4")), gpu(1, Some("NVIDIA H100"))]);
        let mut now = reading(vec![gpu(0, None), Gpu { lost: true, ..gpu(1, None) }]);
        remember_the_lost(&before, &mut now);
        assert_eq!(now, reading(vec![gpu(0, None), Gpu { lost: true, ..gpu(1, Some("NVIDIA H100")) }]));
        let mut again = reading(vec![Gpu { lost: true, ..gpu(1, None) }]);
        remember_the_lost(&now, &mut again);
        let GpuReading::Read(Readings { gpus, .. }) = again else { panic!("another reading") };
        assert_eq!(gpus.first().unwrap().name.as_deref(), Some("NVIDIA H100"));
    }
}
