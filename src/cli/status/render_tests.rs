//! The screen of a healthy box, of one that has failed, and of odd ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::json;

use super::*;
use crate::telemetry::status::{Confined, Exit, Refusal, Usage};

const NOW: f64 = 1_769_860_800.0;
const PLAIN: Look = Look { width: 80, colour: false };

fn healthy() -> Status {
    let print: Vec<String> = (0..32).map(|byte| format!("{byte:02X}")).collect();
    let by = "seccomp 42 calls, Landlock ABI 7 (files, truncation, TCP, devices), memory locked";
    let confined = |process: &str| Confined { process: process.to_owned(), by: by.to_owned() };
    Status {
        at: NOW,
        healthy: true,
        state: "ok".to_owned(),
        conditions: Vec::new(),
        guard: Guard {
            version: "0.1.0".to_owned(),
            started: NOW - 266_400.0,
            pid: 1230,
            addresses: vec!["https://[::]:443".to_owned()],
            fingerprint: print.join(":"),
            certificate_ends: NOW + 364.5 * 86_400.0,
            authentication: true,
            key_set: Some(NOW - 3600.0),
            sessions: 2,
            sandbox: ["supervisor", "gateway", "sensor", "comfyui"].map(confined).into(),
            connections: 1,
            refusals: vec![Refusal {
                at: NOW - 180.0,
                peer: "203.0.113.9".to_owned(),
                error: "unauthorized".to_owned(),
                count: 12,
            }],
            ..Guard::default()
        },
        comfyui: Comfyui {
            process: "running".to_owned(),
            pid: Some(1234),
            started: Some(NOW - 8040.0),
            serving_since: Some(NOW - 8000.0),
            version: Some("0.3.76".to_owned()),
            device: Some("cuda:0 NVIDIA H100".to_owned()),
            pending: 4,
            running: 1,
            progress: Some(35),
            jobs_done: 120,
            jobs_failed: 2,
            restarts: 1,
            last_exit: Some(Exit { at: NOW - 8050.0, how: "exit 0".to_owned() }),
            last_lines: vec!["Prompt executed in 1.2 seconds".to_owned()],
            usage: Some(Usage {
                memory_bytes: Some(13 << 30),
                memory_limit_bytes: Some(64 << 30),
                cpu_seconds: Some(3720.0),
                tasks: Some(34),
                ..Usage::default()
            }),
            ..Comfyui::default()
        },
        gpu: json!({"state": "read", "driver": "580.95.05", "gpus": [gpu(0)]}),
    }
}

fn gpu(index: u32) -> Value {
    json!({
        "index": index, "lost": false, "name": "NVIDIA H100 80GB HBM3", "memory": {"total": 85_899_345_920_u64, "used": 35_433_480_192_u64, "free": 1},
        "utilisation_percent": 35, "temperature_celsius": 61, "power_milliwatts": 310_500, "power_limit_milliwatts": 700_000,
    })
}

#[test]
fn a_healthy_box_fits_a_console() {
    let expected = "\
ok: guests are served, for 2 h 13 min
ComfyUI      0.3.76, running, PID 1234, up 2 h 14 min, cuda:0 NVIDIA H100
queue        1 running (35 %), 4 waiting; 120 jobs done, 2 failed
uses         13.0 GiB of 64.0 GiB memory, 1 h 2 min of processors, 34 tasks
restarts     1, 0 of them after a crash; ended last 2 h 14 min ago: exit 0
GPU 0        NVIDIA H100 80GB HBM3; 61 C, 310 of 700 W
  memory     [############------------------]  41 %  33.0 GiB of 80.0 GiB
  load       [###########-------------------]  35 %
guard        0.1.0, PID 1230, up 3 d 2 h; 1 connection, 0 WebSockets, 2 sessions
address      https://[::]:443
certificate  ends in 364 days; SHA-256:
             00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F
             10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F
key          set 2026-01-31 11:00 UTC, 1 h 0 min ago
sandbox      supervisor seccomp 42 calls, Landlock ABI 7, memory locked
             gateway    seccomp 42 calls, Landlock ABI 7, memory locked
             sensor     seccomp 42 calls, Landlock ABI 7, memory locked
             comfyui    seccomp 42 calls, Landlock ABI 7, memory locked
refused      203.0.113.9 unauthorized 12 times, last 3 min ago
";
    let screen = screen(&healthy(), PLAIN);
    assert_eq!(screen, expected);
    assert!(screen.lines().count() <= 24);
}

#[test]
fn what_has_failed_says_why_and_what_to_do() {
    let mut status = healthy();
    status.healthy = false;
    status.state = "failed".to_owned();
    status.conditions = vec![Held {
        name: "failed".to_owned(),
        serves: false,
        since: NOW - 61.0,
        cause: format!("ComfyUI ended (exit 1); its last line: {}", "ModuleNotFoundError ".repeat(5)),
        cure: "mend what its last lines say, then `comfy-guard restart`".to_owned(),
    }];
    status.comfyui.process = "failed".to_owned();
    status.comfyui.last_lines = (0..30).map(|number| format!("line {number} \u{1b}[2J")).collect();
    let screen = screen(&status, PLAIN);
    let lines: Vec<&str> = screen.lines().collect();
    assert_eq!(lines[0], "failed: guests are not served, for 1 min");
    assert_eq!(lines[1], "  failed, for 1 min");
    assert_eq!(lines[2], "    ComfyUI ended (exit 1); its last line: ModuleNotFoundError");
    assert!(screen.contains("    -> mend what its last lines say, then `comfy-guard restart`\n"), "{screen}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("  | line")).count(), 10);
    assert!(screen.contains("  | line 29") && !screen.contains('\u{1b}'), "{screen}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{screen}");
}

#[test]
fn what_is_odd_and_serves_is_ok_with_a_word() {
    let mut status = healthy();
    let held = |name: &str| Held {
        name: name.to_owned(),
        serves: true,
        since: NOW,
        cure: "cool it".to_owned(),
        ..Held::default()
    };
    status.conditions = vec![held("gpu_hot")];
    assert!(
        screen(&status, PLAIN)
            .starts_with("ok: guests are served, and something is odd, for 2 h 13 min\n  gpu_hot, for 0 s\n")
    );
    status.conditions = vec![held("gpu_absent")];
    let screen = screen(&status, PLAIN);
    assert!(screen.starts_with("ok: guests are served, for 2 h 13 min\n") && !screen.contains("cool it"), "{screen}");
}

#[test]
fn gpus_that_are_many_lost_or_absent() {
    let mut status = healthy();
    status.gpu = json!({"gpus": (0..8).map(gpu).collect::<Vec<_>>()});
    let many = screen(&status, PLAIN);
    assert!(
        many.contains("GPU 7        33.0 GiB of 80.0 GiB, 35 % load, 61 C, 310 of 700 W; NVIDIA H100...\n"),
        "{many}"
    );
    assert!(!many.contains("[#"), "{many}");
    status.gpu = json!({"gpus": [{"index": 3, "lost": true, "name": "NVIDIA L4"}]});
    assert!(screen(&status, PLAIN).contains("GPU 3        lost: NVIDIA L4\n"));
    status.gpu = json!({"state": "absent", "why": "no library"});
    assert!(screen(&status, PLAIN).contains("GPU          absent: no library\n"));
    status.gpu = json!({"gpus": [{"index": 0, "name": "GPU that tells nothing", "utilisation_percent": null}]});
    assert!(screen(&status, PLAIN).contains("GPU 0        GPU that tells nothing\n"));
}

#[test]
fn keys_certificates_and_restarts_that_need_a_word() {
    let mut status = healthy();
    status.guard.certificate_ends = NOW + 3.0 * 86_400.0;
    status.guard.key_set = None;
    status.guard.gateway_restarts = 1;
    let odd = screen(&status, PLAIN);
    assert!(odd.contains("certificate  ends in 3 d 0 h; SHA-256:"), "{odd}");
    assert!(odd.contains("key          from no file that tells"), "{odd}");
    assert!(odd.contains("its gateway was started again once, its sensor 0 times"), "{odd}");
    status.guard.certificate_ends = NOW - 1.0;
    status.guard.authentication = false;
    let bad = screen(&status, PLAIN);
    assert!(bad.contains("certificate  has expired;") && bad.contains("key          none is asked for"), "{bad}");
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let mut painted = screen(&healthy(), Look { width: 80, colour: true });
    assert!(painted.starts_with("\x1b[32mok\x1b[0m: "), "{painted}");
    for code in ["\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[2m", "\x1b[0m"] {
        painted = painted.replace(code, "");
    }
    assert_eq!(painted, screen(&healthy(), PLAIN));
}

#[test]
fn an_empty_document_makes_a_screen_too() {
    let screen = screen(&Status::default(), Look { width: 10, colour: false });
    assert!(screen.lines().count() > 5, "{screen}");
}
