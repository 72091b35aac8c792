//! The screen, from the document. Pure: the same document gives the same screen.

use serde_json::Value;

use super::words::{Look, Tone, age, bar, date, many, size};
use crate::telemetry::status::{Comfyui, Guard, Held, Status};

/// Where the values begin.
const COLUMN: usize = 13;
/// More GPUs than this get a line each, without the bars.
const WITH_BARS: usize = 2;
const REFUSALS: usize = 3;
/// Of ComfyUI's last lines, where it does not serve.
const LINES: usize = 10;

/// A certificate that ends this soon is worth a colour.
const SOON: f64 = 14.0 * 86_400.0;

/// The whole screen, each line with its newline.
pub(super) fn screen(status: &Status, look: Look) -> String {
    let mut page = Page { look, text: String::new() };
    page.head(status);
    for held in &status.conditions {
        page.condition(held, status.at);
    }
    page.comfyui(&status.comfyui, status.at, status.healthy);
    page.gpus(&status.gpu);
    page.guard(&status.guard, status.at);
    page.text
}

struct Page {
    look: Look,
    text: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// `name         value`; a value that does not fit is cut.
    fn row(&mut self, name: &str, value: &str) {
        let value = self.look.fit(COLUMN, value);
        self.line(&format!("{name:COLUMN$}{value}"));
    }

    /// A value that has colours in it, and was made to fit.
    fn painted(&mut self, name: &str, value: &str) {
        self.line(&format!("{name:COLUMN$}{value}"));
    }

    fn head(&mut self, status: &Status) {
        let odd = status.conditions.iter().any(|held| !is_note(held));
        let (tone, word, rest) = match (status.healthy, odd) {
            (true, false) => (Tone::Good, "ok", "guests are served"),
            (true, true) => (Tone::Odd, "ok", "guests are served, and something is odd"),
            (false, _) => (Tone::Bad, status.state.as_str(), "guests are not served"),
        };
        let since = status.conditions.iter().find(|held| held.name == status.state).map(|held| held.since);
        let since = since.or(status.comfyui.serving_since.filter(|_| status.healthy));
        let since = since.map(|since| format!(", for {}", age(status.at - since))).unwrap_or_default();
        let word = self.look.paint(tone, &self.look.fit(0, word));
        self.line(&format!("{word}: {rest}{since}"));
    }

    fn condition(&mut self, held: &Held, at: f64) {
        let tone = if !held.serves {
            Tone::Bad
        } else if is_note(held) {
            Tone::Aside
        } else {
            Tone::Odd
        };
        let name = self.look.paint(tone, &self.look.fit(4, &held.name));
        self.line(&format!("  {name}, for {}", age(at - held.since)));
        for line in self.look.wrap(4, &held.cause) {
            self.line(&format!("    {line}"));
        }
        // The cure of a note is that none is needed.
        if !is_note(held) {
            for (number, line) in self.look.wrap(7, &held.cure).iter().enumerate() {
                self.line(&format!("    {} {line}", if number == 0 { "->" } else { "  " }));
            }
        }
    }

    fn comfyui(&mut self, comfyui: &Comfyui, at: f64, healthy: bool) {
        let mut facts = Vec::new();
        facts.extend(comfyui.version.clone());
        facts.push(match comfyui.process.as_str() {
            "external" => "not the guard's own".to_owned(),
            process => process.to_owned(),
        });
        facts.extend(comfyui.pid.map(|pid| format!("PID {pid}")));
        facts.extend(comfyui.started.map(|since| format!("up {}", age(at - since))));
        facts.extend(comfyui.device.clone());
        self.row("ComfyUI", &facts.join(", "));
        let progress = comfyui.progress.map(|percent| format!(" ({percent} %)")).unwrap_or_default();
        self.row(
            "queue",
            &format!(
                "{} running{progress}, {} waiting; {} done, {} failed",
                comfyui.running,
                comfyui.pending,
                many(comfyui.jobs_done, "job"),
                comfyui.jobs_failed
            ),
        );
        if let Some(usage) = comfyui.usage {
            let memory = usage.memory_bytes.map(|used| match usage.memory_limit_bytes {
                Some(limit) => format!("{} of {} memory", size(used), size(limit)),
                None => format!("{} memory", size(used)),
            });
            let cpu = usage.cpu_seconds.map(|seconds| format!("{} of processors", age(seconds)));
            let tasks = usage.tasks.map(|tasks| many(tasks, "task"));
            let facts: Vec<String> = [memory, cpu, tasks].into_iter().flatten().collect();
            if !facts.is_empty() {
                self.row("uses", &facts.join(", "));
            }
        }
        let last =
            comfyui.last_exit.as_ref().map(|exit| format!("; ended last {} ago: {}", age(at - exit.at), exit.how));
        self.row(
            "restarts",
            &format!("{}, {} of them after a crash{}", comfyui.restarts, comfyui.crashes, last.unwrap_or_default()),
        );
        if !healthy && comfyui.process != "external" {
            let first = comfyui.last_lines.len().saturating_sub(LINES);
            for line in comfyui.last_lines.iter().skip(first) {
                let line = self.look.fit(4, line);
                let line = self.look.paint(Tone::Aside, &line);
                self.line(&format!("  | {line}"));
            }
        }
    }

    fn gpus(&mut self, gpu: &Value) {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let gpus = gpu.get("gpus").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if gpus.is_empty() {
            let state = gpu.get("state").and_then(text).unwrap_or("unknown".to_owned());
            let why = gpu.get("why").and_then(text).map(|why| format!(": {why}")).unwrap_or_default();
            return self.row("GPU", &format!("{state}{why}"));
        }
        for one in gpus {
            self.gpu(&Facts::of(one), gpus.len() <= WITH_BARS);
        }
    }

    fn gpu(&mut self, gpu: &Facts, with_bars: bool) {
        let name = format!("GPU {}", gpu.index);
        if gpu.lost {
            let lost = self.look.paint(Tone::Bad, "lost");
            let name_of = self.look.fit(COLUMN + 6, &gpu.name);
            return self.painted(&name, &format!("{lost}: {name_of}"));
        }
        if !with_bars {
            let memory = gpu.memory.map(|(used, total)| format!("{} of {}", size(used), size(total)));
            let load = gpu.utilisation.map(|load| format!("{:.0} % load", load * 100.0));
            let facts: Vec<String> = [memory, load, gpu.heat()].into_iter().flatten().collect();
            return self.row(&name, &format!("{}; {}", facts.join(", "), gpu.name));
        }
        let heat = gpu.heat().map(|heat| format!("; {heat}")).unwrap_or_default();
        self.row(&name, &format!("{}{heat}", gpu.name));
        if let Some((used, total)) = gpu.memory {
            let bar = bar(self.look, 30, used as f64 / total.max(1) as f64);
            self.painted("  memory", &format!("{bar}  {} of {}", size(used), size(total)));
        }
        if let Some(load) = gpu.utilisation {
            let bar = bar(Look { colour: false, ..self.look }, 30, load);
            self.painted("  load", &bar);
        }
    }

    fn guard(&mut self, guard: &Guard, at: f64) {
        self.row(
            "guard",
            &format!(
                "{}, PID {}, up {}; {}, {}, {}",
                guard.version,
                guard.pid,
                age(at - guard.started),
                many(guard.connections, "connection"),
                many(guard.websockets, "WebSocket"),
                many(guard.sessions.into(), "session")
            ),
        );
        if guard.gateway_restarts + guard.sensor_restarts > 0 {
            let (gateway, sensor) = (guard.gateway_restarts, guard.sensor_restarts);
            self.row("", &format!("its gateway was started again {}, its sensor {}", times(gateway), times(sensor)));
        }
        for line in self.look.wrap(COLUMN, &guard.addresses.join(" ")) {
            self.row("address", &line);
        }
        let left = guard.certificate_ends - at;
        let ends = match left {
            left if left < 0.0 => self.look.paint(Tone::Bad, "has expired"),
            left if left < SOON => self.look.paint(Tone::Odd, &format!("ends in {}", age(left))),
            left => format!("ends in {:.0} days", (left / 86_400.0).floor()),
        };
        self.painted("certificate", &format!("{ends}; SHA-256:"));
        for half in fingerprint(&guard.fingerprint) {
            self.row("", &half);
        }
        match (guard.authentication, guard.key_set) {
            (false, _) => {
                let open = self.look.paint(Tone::Odd, "none is asked for (auth.enabled = false)");
                self.painted("key", &open);
            }
            (true, Some(set)) => self.row("key", &format!("set {}, {} ago", date(set), age(at - set))),
            (true, None) => self.row("key", "from no file that tells when it was set"),
        }
        for (number, confined) in guard.sandbox.iter().enumerate() {
            let name = if number == 0 { "sandbox" } else { "" };
            self.row(name, &format!("{:10} {}", confined.process, without_asides(&confined.by)));
        }
        for (number, refusal) in guard.refusals.iter().take(REFUSALS).enumerate() {
            let name = if number == 0 { "refused" } else { "" };
            let (times, ago) = (times(refusal.count), age(at - refusal.at));
            self.row(name, &format!("{} {} {times}, last {ago} ago", refusal.peer, refusal.error));
        }
    }
}

/// What the driver says of a device.
struct Facts {
    index: u64,
    name: String,
    lost: bool,
    /// Used and all of it.
    memory: Option<(u64, u64)>,
    /// From 0 to 1.
    utilisation: Option<f64>,
    temperature: Option<u64>,
    /// Watts drawn, and allowed.
    power: (Option<u64>, Option<u64>),
}

impl Facts {
    fn of(gpu: &Value) -> Self {
        let number = |name: &str| gpu.get(name).and_then(Value::as_u64);
        let memory = |name: &str| gpu.get("memory").and_then(|memory| memory.get(name)).and_then(Value::as_u64);
        let watts = |name: &str| number(name).map(|milliwatts| milliwatts / 1000);
        Self {
            index: number("index").unwrap_or_default(),
            name: gpu.get("name").and_then(Value::as_str).unwrap_or("without a name").to_owned(),
            lost: gpu.get("lost").and_then(Value::as_bool).unwrap_or_default(),
            memory: memory("used").zip(memory("total")),
            utilisation: number("utilisation_percent").map(|percent| percent as f64 / 100.0),
            temperature: number("temperature_celsius"),
            power: (watts("power_milliwatts"), watts("power_limit_milliwatts")),
        }
    }

    fn heat(&self) -> Option<String> {
        let temperature = self.temperature.map(|degrees| format!("{degrees} C"));
        let power = self.power.0.map(|watts| match self.power.1 {
            Some(limit) => format!("{watts} of {limit} W"),
            None => format!("{watts} W"),
        });
        let facts: Vec<String> = [temperature, power].into_iter().flatten().collect();
        (!facts.is_empty()).then(|| facts.join(", "))
    }
}

/// A machine without a GPU, where none is expected, is as it should be.
fn is_note(held: &Held) -> bool {
    held.name == "gpu_absent"
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{count} times"),
    }
}

/// In two halves, as 95 characters fit no console.
fn fingerprint(text: &str) -> Vec<String> {
    let bytes: Vec<&str> = text.split(':').collect();
    bytes.chunks(16).map(|half| half.join(":")).collect()
}

/// `--json` has all of it; the screen has what fits.
fn without_asides(text: &str) -> String {
    let mut depth = 0_u32;
    let kept = text.chars().filter(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    });
    kept.collect::<String>().replace(" ,", ",")
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
