//! From facts to named conditions. Pure: the supervisor, which has the facts, calls it; the gateway asks it only how ComfyUI serves.

pub(crate) mod fault;
pub(crate) mod gpu;
#[cfg(test)]
mod tests;

use crate::config::Gpu as Policy;
use crate::wire::condition::{Condition, Name};
use crate::wire::gpu::{DriverFault, Gpu, GpuReading};
use crate::wire::message::{Answering, GpuWish, ProcessState};
use crate::wire::overview::Device;
use fault::{Fault, Gravity};

/// Below its limit by this much, a condition that has held is over: else it would come and go with every reading.
const DEGREES_BELOW: u32 = 3;
const PERCENT_BELOW: u64 = 2;
/// Processes that are named in one cause.
const NAMED: usize = 5;

/// A process that computes on a GPU and is not ComfyUI's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Its id.
    pub(crate) pid: u32,
    /// What it calls itself, where that can be read; it may lie.
    pub(crate) name: Option<String>,
    /// Whose it is, where that can be read.
    pub(crate) user: Option<String>,
    /// The systemd unit, slice or container that it runs in, where it is in one.
    pub(crate) unit: Option<String>,
    /// The number of the GPU.
    pub(crate) gpu: u32,
}

/// All that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// A key is asked for, and there is none.
    pub(crate) key_missing: bool,
    /// ComfyUI's process.
    pub(crate) process: &'a ProcessState,
    /// Why it does not serve, where it has ended or could not be started.
    pub(crate) trouble: Option<&'a str>,
    /// How its port answers.
    pub(crate) answering: Answering,
    /// What the sensor said last.
    pub(crate) gpu: &'a GpuReading,
    /// Sensors that have ended since one was of use.
    pub(crate) sensor_deaths: u32,
    /// What ComfyUI says that it computes on.
    pub(crate) device: Option<&'a Device>,
    /// Which GPU it was given.
    pub(crate) wish: &'a GpuWish,
    /// `[gpu]`
    pub(crate) policy: &'a Policy,
    /// What happened on its GPU since it was started.
    pub(crate) faults: &'a [Fault],
    /// Who else computes there.
    pub(crate) foreign: &'a [Foreign],
    /// What held until now.
    pub(crate) before: &'a [Condition],
}

/// What holds, with its cause, the gravest first.
pub(crate) fn judge(facts: Facts<'_>) -> Vec<(Name, String)> {
    let mut found = Vec::new();
    if facts.key_missing {
        found.push((Name::NoKey, "no key is set, or its file was refused: nobody is let in".to_owned()));
    }
    if let Some(name) = service(facts.process, facts.answering) {
        found.push((name, cause_of(name, facts)));
    }
    if !facts.wish.cpu {
        found.extend(driver(facts));
    }
    if !facts.foreign.is_empty() {
        found.push((Name::ForeignGpuProcess, strangers(facts.foreign)));
    }
    found.sort_by_key(|(name, _)| *name);
    found.dedup_by_key(|(name, _)| *name);
    found
}

/// What keeps ComfyUI from serving, as far as its process and its port tell; none: it serves.
pub(crate) fn service(process: &ProcessState, answering: Answering) -> Option<Name> {
    match (process, answering) {
        (ProcessState::Stopping, _) => Some(Name::Stopping),
        (ProcessState::Failed { .. }, _) => Some(Name::Failed),
        (ProcessState::Restarting, _) => Some(Name::Restarting),
        (ProcessState::Running | ProcessState::External, Answering::Yes) => None,
        (ProcessState::Starting, _) | (ProcessState::External, Answering::Unknown) => Some(Name::Starting),
        (ProcessState::External, Answering::Refused) => Some(Name::Unreachable),
        (ProcessState::Running, Answering::Refused | Answering::Unknown) => Some(Name::Restarting),
        (_, Answering::Silent) => Some(Name::Unresponsive),
    }
}

fn cause_of(name: Name, facts: Facts<'_>) -> String {
    let words = match (name, facts.process, facts.trouble) {
        (_, ProcessState::Failed { why }, _) => why,
        (Name::Starting | Name::Restarting, _, Some(trouble)) => trouble,
        (Name::Starting, _, None) => "ComfyUI was started and does not answer yet",
        (Name::Restarting, _, None) => "ComfyUI's port is closed: it restarts itself, or was told to",
        (Name::Unresponsive, ..) => "something listens on ComfyUI's port and does not answer within four seconds",
        (Name::Unreachable, ..) => "nothing listens where comfyui.external points",
        (Name::Stopping, ..) => "the guard was told to end",
        _ => "",
    };
    words.to_owned()
}

/// What the driver's word means for ComfyUI.
fn driver(facts: Facts<'_>) -> Vec<(Name, String)> {
    let required = facts.policy.required == Some(true);
    match facts.gpu {
        GpuReading::Unknown if facts.sensor_deaths > 1 => {
            vec![(Name::SensorDown, format!("the sensor has ended {} times in a row", facts.sensor_deaths))]
        }
        GpuReading::Unknown => Vec::new(),
        GpuReading::Failed { fault: DriverFault::Mismatch, why } => vec![(Name::GpuDriverMismatch, why.clone())],
        GpuReading::Failed { fault: DriverFault::Hung, why } => vec![(Name::NvmlHung, why.clone())],
        GpuReading::Absent(why) | GpuReading::Failed { fault: DriverFault::Other, why } if required => {
            vec![(Name::GpuUnavailable, why.clone())]
        }
        GpuReading::Absent(why) => vec![(Name::GpuAbsent, why.clone())],
        GpuReading::Failed { fault: DriverFault::Other, why } => vec![(Name::SensorDown, why.clone())],
        GpuReading::Read(readings) => {
            let fell_back = facts.device.is_some_and(|device| device.kind == "cpu");
            if fell_back && facts.policy.required != Some(false) {
                return vec![(Name::GpuUnavailable, "there is a GPU, and ComfyUI computes on the CPU".to_owned())];
            }
            gpu::chosen(&readings.gpus, facts.device, facts.wish).map_or_else(Vec::new, |own| device(own, facts))
        }
    }
}

/// What is wrong with ComfyUI's own GPU.
fn device(gpu: &Gpu, facts: Facts<'_>) -> Vec<(Name, String)> {
    let which = gpu::title(gpu);
    if gpu.lost {
        return vec![(Name::GpuLost, format!("{which} fell off the bus"))];
    }
    let held = |name| facts.before.iter().any(|condition| condition.name == name);
    let mut found = Vec::new();
    for (name, gravity) in [(Name::GpuFault, Gravity::Board), (Name::GpuProgramError, Gravity::Program)] {
        let told: Vec<&str> =
            facts.faults.iter().filter(|fault| fault.gravity == gravity).map(|fault| fault.what.as_str()).collect();
        if !told.is_empty() {
            found.push((name, format!("{which}: {}", told.join("; "))));
        }
    }
    if let Some(heat) = heat(gpu, facts.policy, held(Name::GpuHot)) {
        found.push((Name::GpuHot, format!("{which}: {heat}")));
    }
    if let Some(percent) = fullness(gpu, facts, held(Name::VramPressure)) {
        found.push((Name::VramPressure, format!("{percent} % of the memory of {which} is taken")));
    }
    found
}

fn heat(gpu: &Gpu, policy: &Policy, held: bool) -> Option<String> {
    let limit = policy.hot.or(gpu.slowdown_temperature);
    let over = gpu
        .temperature
        .zip(limit)
        .filter(|(now, limit)| *now >= limit.saturating_sub(if held { DEGREES_BELOW } else { 0 }));
    match (over, gpu.hot) {
        (Some((now, limit)), _) => Some(format!("{now} °C, and its limit is {limit} °C")),
        (None, Some(true)) => {
            let now = gpu.temperature.map(|now| format!(" at {now} °C")).unwrap_or_default();
            Some(format!("its clocks are held down because of heat{now}"))
        }
        (None, _) => None,
    }
}

fn fullness(gpu: &Gpu, facts: Facts<'_>, held: bool) -> Option<u64> {
    let memory = gpu::memory(gpu, facts.device, facts.wish).filter(|memory| memory.total > 0)?;
    let percent = u64::try_from(u128::from(memory.used) * 100 / u128::from(memory.total)).unwrap_or(100);
    let limit = u64::from(facts.policy.vram_pressure).saturating_sub(if held { PERCENT_BELOW } else { 0 });
    (percent >= limit).then_some(percent)
}

fn strangers(foreign: &[Foreign]) -> String {
    let named = foreign.iter().take(NAMED).map(|process| {
        let name = process.name.as_deref().unwrap_or("a process");
        let user = process.user.as_ref().map(|user| format!(", user {user}")).unwrap_or_default();
        let unit = process.unit.as_ref().map(|unit| format!(", in {unit}")).unwrap_or_default();
        format!("{name} (PID {}{user}{unit}) on GPU {}", process.pid, process.gpu)
    });
    let named: Vec<String> = named.collect();
    match foreign.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
