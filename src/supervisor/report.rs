//! What `systemctl status` says, and when guests can be served. Pure.

use crate::wire::gpu::{DriverFault, GpuReading};
use crate::wire::message::{Answering, KeyState, ProcessState};

/// What is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Whether the gateway accepts guests.
    pub(crate) gateway_ready: bool,
    /// `auth.enabled`
    pub(crate) auth: bool,
    /// Whether there is a key.
    pub(crate) key: KeyState,
    /// ComfyUI's process.
    pub(crate) comfyui: &'a ProcessState,
    /// Why it does not serve, where it has ended or could not be started.
    pub(crate) trouble: Option<&'a str>,
    /// How its port answers.
    pub(crate) answering: Answering,
    /// Where guests come in, for people.
    pub(crate) address: &'a str,
}

/// Whether READY may be said, and the status line.
///
/// READY means: whoever may be served now is served. A missing key, or a ComfyUI that crashes or cannot be started, will not mend
/// itself while the service manager waits, so neither holds READY back: the unit is up and says what is wrong.
pub(crate) fn describe(facts: Facts<'_>) -> (bool, String) {
    if !facts.gateway_ready {
        return (false, "The gateway is starting".to_owned());
    }
    if facts.auth && facts.key == KeyState::Missing {
        return (true, "No key: nobody is let in. Run: comfy-guard set-key".to_owned());
    }
    if let Some(trouble) = facts.trouble
        && matches!(facts.comfyui, ProcessState::Starting | ProcessState::Restarting | ProcessState::Running)
        && facts.answering != Answering::Yes
    {
        return (true, format!("ComfyUI is being started again: {trouble}"));
    }
    match (facts.comfyui, facts.answering) {
        (ProcessState::Failed { why }, _) => (true, format!("ComfyUI was given up: {why}")),
        (ProcessState::Stopping, _) => (true, "Stopping".to_owned()),
        (ProcessState::Starting, _) => (false, "ComfyUI is starting".to_owned()),
        (ProcessState::Restarting, _) => (false, "ComfyUI is being started again".to_owned()),
        (ProcessState::External, Answering::Unknown) => (false, "Asking ComfyUI".to_owned()),
        (_, Answering::Yes) => (true, format!("Serving on {}", facts.address)),
        (ProcessState::External, _) => (true, "The external ComfyUI does not answer".to_owned()),
        (_, Answering::Refused) => (false, "ComfyUI is restarting itself".to_owned()),
        (_, Answering::Silent | Answering::Unknown) => (false, "ComfyUI does not answer".to_owned()),
    }
}

/// A line for the log when the GPU's state has changed, not only its figures; none otherwise.
pub(crate) fn gpu_news(before: &GpuReading, now: &GpuReading) -> Option<String> {
    match (gpu_words(before), gpu_words(now)) {
        (was, Some(is)) if was.as_ref() != Some(&is) => Some(is),
        (Some(_), None) if matches!(now, GpuReading::Read(_)) => Some("the GPU answers again".to_owned()),
        _ => None,
    }
}

/// What is wrong, with the cure; none where nothing is, or nothing is known.
fn gpu_words(reading: &GpuReading) -> Option<String> {
    match reading {
        GpuReading::Unknown | GpuReading::Absent(_) => None,
        GpuReading::Failed { fault: DriverFault::Mismatch, why } => {
            Some(format!("the GPU's driver and its library differ ({why}): reboot, or load the new kernel module"))
        }
        GpuReading::Failed { fault: DriverFault::Hung, why } => {
            Some(format!("the GPU's driver hangs ({why}): see `dmesg`; as a rule only a reboot helps"))
        }
        GpuReading::Failed { fault: DriverFault::Other, why } => {
            Some(format!("the GPU's driver cannot be asked: {why}"))
        }
        GpuReading::Read(readings) => {
            let lost: Vec<String> =
                readings.gpus.iter().filter(|gpu| gpu.lost).map(|gpu| gpu.index.to_string()).collect();
            (!lost.is_empty()).then(|| {
                format!("lost GPU {}: see `dmesg` for its XID; it comes back with a reset or a reboot", lost.join(", "))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gpu::{Gpu, GpuMemory, Readings};

    fn facts(comfyui: &ProcessState, answering: Answering) -> Facts<'_> {
        let address = "https://[::]:443";
        Facts { gateway_ready: true, auth: true, key: KeyState::Set, comfyui, trouble: None, answering, address }
    }

    #[test]
    fn ready_is_said_when_guests_are_served_or_somebody_has_to_act() {
        let failed = ProcessState::Failed { why: "exit 1".to_owned() };
        let table = [
            (ProcessState::Starting, Answering::Unknown, false),
            (ProcessState::Running, Answering::Yes, true),
            (ProcessState::Running, Answering::Refused, false),
            (ProcessState::Restarting, Answering::Refused, false),
            (ProcessState::External, Answering::Unknown, false),
            (ProcessState::External, Answering::Yes, true),
            (ProcessState::External, Answering::Silent, true),
            (failed, Answering::Refused, true),
        ];
        for (comfyui, answering, ready) in table {
            assert_eq!(describe(facts(&comfyui, answering)).0, ready, "{comfyui:?} {answering:?}");
        }
    }

    #[test]
    fn a_crash_or_a_start_that_failed_is_told_instead_of_waited_for() {
        let why = "cannot start /opt/comfyui/venv/bin/python: No such file or directory";
        for comfyui in [ProcessState::Starting, ProcessState::Restarting, ProcessState::Running] {
            let failing = Facts { trouble: Some(why), ..facts(&comfyui, Answering::Refused) };
            let (ready, text) = describe(failing);
            assert!(ready && text.contains(why), "{text}");
        }
        let well = Facts { trouble: Some(why), ..facts(&ProcessState::Running, Answering::Yes) };
        assert_eq!(describe(well).1, "Serving on https://[::]:443");
    }

    #[test]
    fn without_a_key_the_unit_is_up_and_says_what_to_do() {
        let missing = Facts { key: KeyState::Missing, ..facts(&ProcessState::Starting, Answering::Unknown) };
        let (ready, text) = describe(missing);
        assert!(ready && text.contains("comfy-guard set-key"));
        let open = Facts { auth: false, ..missing };
        assert!(!describe(open).0, "without authentication no key is needed, and ComfyUI is awaited");
    }

    #[test]
    fn the_gpus_state_is_told_when_it_changes_and_not_with_every_figure() {
        let read = |lost, used| {
            let memory = Some(GpuMemory { total: 10, used, free: 10 - used });
            GpuReading::Read(Readings { gpus: vec![Gpu { lost, memory, ..Gpu::default() }], ..Readings::default() })
        };
        let hung = || GpuReading::Failed { fault: DriverFault::Hung, why: "no answer".to_owned() };
        let told = |before: &GpuReading, now: &GpuReading| gpu_news(before, now).unwrap_or_default();
        assert_eq!(told(&GpuReading::Unknown, &read(false, 1)), "");
        assert_eq!(told(&read(false, 1), &read(false, 2)), "");
        assert!(told(&read(false, 1), &read(true, 1)).contains("lost GPU 0"));
        assert_eq!(told(&read(true, 1), &read(true, 2)), "");
        assert_eq!(told(&read(true, 1), &read(false, 1)), "the GPU answers again");
        assert!(told(&read(false, 1), &hung()).contains("hangs"));
        assert_eq!(told(&hung(), &GpuReading::Unknown), "", "another sensor starts; nothing is known");
        assert_eq!(told(&GpuReading::Unknown, &GpuReading::Absent("no library".to_owned())), "");
    }

    #[test]
    fn nothing_is_ready_without_the_gateway() {
        let down = Facts { gateway_ready: false, ..facts(&ProcessState::Running, Answering::Yes) };
        assert!(!describe(down).0);
    }
}
