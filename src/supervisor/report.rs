//! What `systemctl status` says, and when guests can be served. Pure.

use crate::wire::condition::{Condition, Name};
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
    /// What holds, the gravest first.
    pub(crate) conditions: &'a [Condition],
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
    if let Some(gpu) = facts.conditions.iter().find(|condition| is_the_gpus(condition.name)) {
        return (true, format!("{}: {}; {}", gpu.name.word(), gpu.cause, gpu.name.cure()));
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
        (_, Answering::Yes) => (true, format!("Serving on {}{}", facts.address, remarks(facts.conditions))),
        (ProcessState::External, _) => (true, "The external ComfyUI does not answer".to_owned()),
        (_, Answering::Refused) => (false, "ComfyUI is restarting itself".to_owned()),
        (_, Answering::Silent | Answering::Unknown) => (false, "ComfyUI does not answer".to_owned()),
    }
}

/// What is wrong with the GPU so that nothing is served: it will not mend itself while the service manager waits.
pub(crate) fn is_the_gpus(name: Name) -> bool {
    use Name::{GpuDriverMismatch, GpuFault, GpuLost, GpuUnavailable, NvmlHung};
    matches!(name, GpuDriverMismatch | NvmlHung | GpuLost | GpuFault | GpuUnavailable)
}

/// What holds while guests are served all the same.
fn remarks(conditions: &[Condition]) -> String {
    let held =
        conditions.iter().map(|condition| condition.name).filter(|name| name.serves() && *name != Name::GpuAbsent);
    let held: Vec<&str> = held.map(Name::word).collect();
    if held.is_empty() { String::new() } else { format!(" ({})", held.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn facts(comfyui: &ProcessState, answering: Answering) -> Facts<'_> {
        let address = "https://[::]:443";
        Facts {
            gateway_ready: true,
            auth: true,
            key: KeyState::Set,
            comfyui,
            trouble: None,
            answering,
            address,
            conditions: &[],
        }
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
    fn what_is_wrong_with_the_gpu_is_in_the_line() {
        let condition = |name| [Condition { name, since: SystemTime::UNIX_EPOCH, cause: "GPU 0 it is".to_owned() }];
        let told = |name| {
            let conditions = condition(name);
            describe(Facts { conditions: &conditions, ..facts(&ProcessState::Running, Answering::Yes) })
        };
        let (ready, text) = told(Name::GpuLost);
        assert!(ready && text.starts_with("gpu_lost: GPU 0 it is; see `dmesg`"), "{text}");
        assert_eq!(told(Name::GpuHot).1, "Serving on https://[::]:443 (gpu_hot)");
        assert_eq!(told(Name::GpuAbsent).1, "Serving on https://[::]:443");
    }

    #[test]
    fn nothing_is_ready_without_the_gateway() {
        let down = Facts { gateway_ready: false, ..facts(&ProcessState::Running, Answering::Yes) };
        assert!(!describe(down).0);
    }
}
