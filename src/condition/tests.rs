//! One row for each case of the field.
#![allow(clippy::unwrap_used)]

use std::time::SystemTime;

use super::*;
use crate::config::ForeignProcesses;
use crate::wire::gpu::{GpuMemory, Readings};

const POLICY: Policy = Policy {
    library: None,
    required: None,
    hot: None,
    vram_pressure: 97,
    foreign_processes: ForeignProcesses::Report,
    shared_with: Vec::new(),
};

/// What the facts of one case are, and the words that it comes to.
struct Case {
    process: ProcessState,
    answering: Answering,
    gpu: GpuReading,
    device: Option<Device>,
    wish: GpuWish,
    policy: Policy,
    faults: Vec<Fault>,
    foreign: Vec<Foreign>,
    before: Vec<Condition>,
    key_missing: bool,
    sensor_deaths: u32,
}

/// All is well: a GPU, and ComfyUI serves on it.
fn well() -> Case {
    Case {
        process: ProcessState::Running,
        answering: Answering::Yes,
        gpu: read(card()),
        device: Some(on("cuda", "cuda:0 NVIDIA H100")),
        wish: GpuWish::default(),
        policy: POLICY,
        faults: Vec::new(),
        foreign: Vec::new(),
        before: Vec::new(),
        key_missing: false,
        sensor_deaths: 0,
    }
}

fn words(case: &Case) -> Vec<&'static str> {
    judged(case).into_iter().map(|(name, _)| name.word()).collect()
}

fn judged(case: &Case) -> Vec<(Name, String)> {
    judge(Facts {
        key_missing: case.key_missing,
        process: &case.process,
        trouble: None,
        answering: case.answering,
        gpu: &case.gpu,
        sensor_deaths: case.sensor_deaths,
        device: case.device.as_ref(),
        wish: &case.wish,
        policy: &case.policy,
        faults: &case.faults,
        foreign: &case.foreign,
        before: &case.before,
    })
}

fn card() -> Gpu {
    Gpu {
        name: Some("NVIDIA H100".to_owned()),
        temperature: Some(60),
        slowdown_temperature: Some(90),
        memory: Some(GpuMemory { total: 1000, used: 500, free: 500 }),
        ..Gpu::default()
    }
}

fn read(gpu: Gpu) -> GpuReading {
    GpuReading::Read(Readings { gpus: vec![gpu], ..Readings::default() })
}

fn on(kind: &str, name: &str) -> Device {
    Device { name: name.to_owned(), kind: kind.to_owned(), vram_total: 0, vram_free: 0 }
}

fn failed(fault: DriverFault) -> GpuReading {
    GpuReading::Failed { fault, why: "why".to_owned() }
}

fn held(name: Name) -> Vec<Condition> {
    vec![Condition { name, since: SystemTime::UNIX_EPOCH, cause: String::new() }]
}

#[test]
fn each_case_of_the_driver_has_its_name() {
    let absent = || GpuReading::Absent("why".to_owned());
    let required = |required| Policy { required: Some(required), ..POLICY };
    let cpu = || Some(on("cpu", "cpu"));
    let table: Vec<(&str, Case, &[&str])> = vec![
        ("all is well", well(), &[]),
        ("not read yet", Case { gpu: GpuReading::Unknown, ..well() }, &[]),
        (
            "the sensor does not stay up",
            Case { gpu: GpuReading::Unknown, sensor_deaths: 2, ..well() },
            &["sensor_down"],
        ),
        ("mismatch", Case { gpu: failed(DriverFault::Mismatch), ..well() }, &["gpu_driver_mismatch"]),
        ("hung", Case { gpu: failed(DriverFault::Hung), ..well() }, &["nvml_hung"]),
        ("cannot be asked", Case { gpu: failed(DriverFault::Other), ..well() }, &["sensor_down"]),
        ("absent, on the CPU", Case { gpu: absent(), device: cpu(), ..well() }, &["gpu_absent"]),
        ("absent and required", Case { gpu: absent(), policy: required(true), ..well() }, &["gpu_unavailable"]),
        ("lost", Case { gpu: read(Gpu { lost: true, ..card() }), ..well() }, &["gpu_lost"]),
        ("fell back", Case { device: cpu(), ..well() }, &["gpu_unavailable"]),
        ("on the CPU and meant to", Case { device: cpu(), policy: required(false), ..well() }, &[]),
        (
            "told to use the CPU",
            Case { gpu: failed(DriverFault::Hung), wish: GpuWish { cpu: true, visible: None }, ..well() },
            &[],
        ),
    ];
    for (what, case, expected) in table {
        assert_eq!(words(&case), expected, "{what}");
    }
}

#[test]
fn heat_and_fullness_have_a_limit_and_one_to_come_back_under() {
    let at = |degrees| read(Gpu { temperature: Some(degrees), ..card() });
    let full = |used| read(Gpu { memory: Some(GpuMemory { total: 1000, used, free: 1000 - used }), ..card() });
    let hot = |gpu| Case { gpu, before: held(Name::GpuHot), ..well() };
    let pressed = |gpu| Case { gpu, before: held(Name::VramPressure), ..well() };
    let strict = Policy { hot: Some(60), vram_pressure: 50, ..POLICY };
    let table: Vec<(Case, &[&str])> = vec![
        (Case { gpu: at(89), ..well() }, &[]),
        (Case { gpu: at(90), ..well() }, &["gpu_hot"]),
        (hot(at(88)), &["gpu_hot"]),
        (hot(at(86)), &[]),
        (Case { gpu: read(Gpu { hot: Some(true), ..card() }), ..well() }, &["gpu_hot"]),
        (Case { gpu: read(Gpu { temperature: None, slowdown_temperature: None, ..card() }), ..well() }, &[]),
        (Case { gpu: full(969), ..well() }, &[]),
        (Case { gpu: full(970), ..well() }, &["vram_pressure"]),
        (pressed(full(951)), &["vram_pressure"]),
        (pressed(full(949)), &[]),
        (Case { policy: strict, ..well() }, &["gpu_hot", "vram_pressure"]),
    ];
    for (number, (case, expected)) in table.into_iter().enumerate() {
        assert_eq!(words(&case), expected, "row {number}");
    }
}

#[test]
fn faults_of_the_board_close_and_those_of_a_program_do_not() {
    let fault = |gravity| Fault { gravity, what: "XID 1".to_owned() };
    let case = Case { faults: vec![fault(Gravity::Program), fault(Gravity::Board)], ..well() };
    assert_eq!(words(&case), ["gpu_fault", "gpu_program_error"]);
    assert!(judged(&case).iter().all(|(_, cause)| cause == "GPU 0 (NVIDIA H100): XID 1"));
    assert_eq!(closing_word(&case), Some("gpu_fault"));
    assert_eq!(closing_word(&Case { faults: vec![fault(Gravity::Program)], ..well() }), None);
}

fn closing_word(case: &Case) -> Option<&'static str> {
    judged(case).into_iter().map(|(name, _)| name).find(|name| !name.serves()).map(Name::word)
}

#[test]
fn strangers_are_named_even_where_comfyui_uses_no_gpu() {
    let stranger = |pid| Foreign {
        pid,
        name: Some("xmrig".to_owned()),
        user: None,
        unit: Some("cron.service".to_owned()),
        gpu: 1,
    };
    let case = Case { foreign: vec![stranger(7)], wish: GpuWish { cpu: true, visible: None }, ..well() };
    assert_eq!(judged(&case), [(Name::ForeignGpuProcess, "xmrig (PID 7, in cron.service) on GPU 1".to_owned())]);
    let many = Case { foreign: (0..8).map(stranger).collect(), ..well() };
    assert!(judged(&many).first().unwrap().1.ends_with("and 3 more"));
}

#[test]
fn the_gravest_comes_first() {
    let case = Case {
        key_missing: true,
        process: ProcessState::Restarting,
        gpu: read(Gpu { lost: true, ..card() }),
        ..well()
    };
    assert_eq!(words(&case), ["no_key", "gpu_lost", "restarting"]);
}
