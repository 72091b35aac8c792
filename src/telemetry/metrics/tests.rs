//! What the page says, and in which form.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use super::*;
use crate::wire::condition::Name;
use crate::wire::gpu::{
    Clocks, Gpu, GpuEvent, GpuMemory, GpuProcess, GpuReading, MigDevice, PcieLink, Readings, RemappedRows,
    RetiredPages, Throttle,
};
use crate::wire::overview::{ComfyuiFacts, GuardFacts, Overview, Usage};

const MANUAL: &str = include_str!("../../../docs/metrics.md");
const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// Everything that can be known is.
fn page() -> Page {
    let mut page = Page::new();
    let usage = Usage {
        memory: Some(1),
        memory_limit: Some(2),
        cpu: Some(1_500_000),
        read: Some(3),
        written: Some(4),
        tasks: Some(5),
    };
    let overview = Overview {
        conditions: Vec::new(),
        guard: GuardFacts {
            started: Some(NOW),
            certificate_ends: Some(NOW),
            key_set: Some(NOW),
            gateway_restarts: 2,
            ..GuardFacts::default()
        },
        comfyui: ComfyuiFacts {
            process: "running".to_owned(),
            started: Some(NOW),
            serving_since: Some(NOW),
            last_exit: Some((NOW, "exit 1".to_owned())),
            progress: Some(35),
            usage: Some(usage),
            ..ComfyuiFacts::default()
        },
    };
    page.overview(&overview, Some(Name::GpuLost));
    page.gauge("connections_open", "Connections of guests that are open", 1.0);
    page.gauge("questions_in_flight", "Keys and sessions that the supervisor is asked about", 1.0);
    page.queue(3, Some("0.3.64"));
    let readings =
        Readings { at: NOW, driver: Some("570".to_owned()), cuda: Some((12, 8)), gpus: vec![card(0), card(1)] };
    page.gpus(&GpuReading::Read(readings), NOW + Duration::from_secs(2));
    page
}

fn card(index: u32) -> Gpu {
    let memory = Some(GpuMemory { total: 100, used: 25, free: 75 });
    Gpu {
        index,
        lost: false,
        name: Some("NVIDIA H100".to_owned()),
        uuid: Some(format!("GPU-{index}")),
        pci: Some(format!("00000000:0{index}:00.0")),
        memory,
        utilisation: Some(37),
        memory_utilisation: Some(12),
        temperature: Some(41),
        slowdown_temperature: Some(92),
        shutdown_temperature: Some(95),
        power: Some(71_500),
        power_limit: Some(700_000),
        clocks: Clocks { graphics: Some(1755), sm: Some(1740), memory: Some(2619) },
        throttle: Some(vec![Throttle::SwPowerCap]),
        hot: Some(false),
        ecc: Some(true),
        corrected_errors: Some(5),
        uncorrected_errors: Some(2),
        retired_pages: Some(RetiredPages { single_bit: Some(1), double_bit: Some(2), pending: Some(true) }),
        remapped_rows: Some(RemappedRows {
            corrected: Some(1),
            uncorrected: Some(2),
            pending: Some(false),
            failed: Some(true),
        }),
        pcie: PcieLink { generation: Some(1), width: Some(8), max_generation: Some(5), max_width: Some(16) },
        fan: Some(30),
        performance_state: Some(2),
        mig: Some(true),
        mig_devices: vec![MigDevice { index: 3, uuid: Some("MIG-1".to_owned()), name: None, memory }],
        processes: vec![GpuProcess { pid: 7, memory: Some(9), mig_device: None }],
        events: vec![GpuEvent { xid: 31, at: NOW }],
        ..Gpu::default()
    }
}

/// Name, type, labels and help of all that stands on a page.
fn families(text: &str) -> BTreeMap<String, (String, BTreeSet<String>, String)> {
    let mut found: BTreeMap<String, (String, BTreeSet<String>, String)> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            last = name.to_owned();
            let twice = found.insert(last.clone(), (String::new(), BTreeSet::new(), help.to_owned()));
            assert!(twice.is_none(), "{name} is there twice");
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.get_mut(&last).unwrap().0 = kind.to_owned();
        } else if let Some((_, rest)) = line.split_once('{') {
            let labels = rest.split("\",").map(|pair| pair.split('=').next().unwrap().to_owned());
            found.get_mut(&last).unwrap().1.extend(labels.filter(|label| label != "le"));
        }
    }
    found
}

#[test]
fn the_manual_has_each_metric_and_no_other() {
    let metrics = Metrics::new();
    metrics.refused("unauthorized");
    let rows = families(&metrics.render(Format::Text, &page())).into_iter().map(|(name, (kind, labels, help))| {
        let labels: Vec<String> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {kind} | {} | {} |", labels.join(" "), help.trim_end_matches('.'))
    });
    let expected: Vec<String> = rows.collect();
    let written: BTreeSet<&str> = MANUAL.lines().filter(|line| line.starts_with("| `comfy_guard_")).collect();
    let missing: Vec<&String> = expected.iter().filter(|row| !written.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks\n{missing:#?}");
    assert_eq!(written.len(), expected.len(), "docs/metrics.md has rows of metrics that are not there");
}

#[test]
fn units_are_base_units() {
    let text = Metrics::new().render(Format::Text, &page());
    for line in [
        "comfy_guard_gpu_power_watts{gpu=\"0\",uuid=\"GPU-0\"} 71.5",
        "comfy_guard_gpu_utilization_ratio{gpu=\"1\",uuid=\"GPU-1\"} 0.37",
        "comfy_guard_gpu_clock_hertz{gpu=\"0\",uuid=\"GPU-0\",clock=\"sm\"} 1740000000.0",
        "comfy_guard_gpu_throttled{gpu=\"0\",uuid=\"GPU-0\",reason=\"sw_power_cap\"} 1.0",
        "comfy_guard_gpu_throttled{gpu=\"0\",uuid=\"GPU-0\",reason=\"hw_thermal\"} 0.0",
        "comfy_guard_gpu_memory_errors_total{gpu=\"0\",uuid=\"GPU-0\",kind=\"uncorrected\"} 2.0",
        "comfy_guard_gpu_reading_age_seconds 2.0",
        "comfy_guard_comfyui_cpu_seconds_total 1.5",
        "comfy_guard_comfyui_step_progress_ratio 0.35",
        "comfy_guard_queue_jobs{state=\"pending\"} 2.0",
        "comfy_guard_queue_jobs{state=\"running\"} 1.0",
        "comfy_guard_healthy 0.0",
        "comfy_guard_condition{name=\"gpu_lost\",closes=\"true\"} 1.0",
        "comfy_guard_condition{name=\"gpu_hot\",closes=\"false\"} 0.0",
        "comfy_guard_role_restarts_total{role=\"gateway\"} 2.0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
}

#[test]
fn what_is_not_known_has_no_series() {
    let mut page = Page::new();
    page.overview(&Overview::default(), None);
    let bare = Gpu { index: 0, ..Gpu::default() };
    page.gpus(&GpuReading::Read(Readings { gpus: vec![bare], ..Readings::default() }), NOW);
    let text = Metrics::new().render(Format::Text, &page);
    for name in
        ["gpu_temperature", "gpu_memory_", "gpu_throttled", "comfyui_memory", "key_set", "last_exit", "gpu_last_xid"]
    {
        assert!(!text.contains(&format!("comfy_guard_{name}")), "{name}");
    }
    assert!(text.contains("comfy_guard_healthy 1.0"));
}

#[test]
fn a_driver_that_tells_of_a_thousand_gpus_fills_no_page() {
    let gpus = (0..1000).map(card).collect();
    let mut page = Page::new();
    page.gpus(&GpuReading::Read(Readings { gpus, ..Readings::default() }), NOW);
    let text = Metrics::new().render(Format::Text, &page);
    assert_eq!(text.matches("comfy_guard_gpu_power_watts{").count(), 64);
}

#[test]
fn what_was_counted_stands_on_the_page() {
    let metrics = Metrics::new();
    metrics.requests.count(Class::Api, Code::of(200));
    metrics.requests.count(Class::Api, Code::of(200));
    metrics.requests.count(Class::Api, Code::of(777));
    metrics.refused("unauthorized");
    let open = metrics.open_socket(Socket::Anonymous);
    let text = metrics.render(Format::Text, &page());
    for line in [
        "comfy_guard_requests_total{class=\"api\",code=\"200\"} 2",
        "comfy_guard_requests_total{class=\"api\",code=\"other\"} 1",
        "comfy_guard_requests_total{class=\"own\",code=\"200\"} 0",
        "comfy_guard_refusals_total{error=\"unauthorized\"} 1",
        "comfy_guard_websockets_open{kind=\"anonymous\"} 1",
        "comfy_guard_websockets_total{kind=\"anonymous\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} in\n{text}");
    }
    drop(open);
    assert!(metrics.render(Format::Text, &page()).contains("comfy_guard_websockets_open{kind=\"anonymous\"} 0"));
}

#[test]
fn each_form_is_whole() {
    let metrics = Metrics::new();
    let text = metrics.render(Format::Text, &page());
    assert!(text.contains("# TYPE comfy_guard_requests_total counter") && !text.contains("# EOF"));
    let open = metrics.render(Format::OpenMetrics, &page());
    assert!(open.contains("# TYPE comfy_guard_requests counter"));
    assert_eq!(open.matches("# EOF\n").count(), 1);
    assert!(open.ends_with("# EOF\n"));
}

#[test]
fn openmetrics_is_for_those_who_name_it() {
    let prometheus = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::of(prometheus), Format::OpenMetrics);
    for accept in ["", "*/*", "text/plain", "text/html,application/openmetrics-textual"] {
        assert_eq!(Format::of(accept), Format::Text, "{accept}");
    }
}
