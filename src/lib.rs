//! comfy-guard makes a GPU box's ComfyUI safe to expose: it owns the process, the key, the certificate and the truth
//! about the GPU.
//!
//! # Processes
//!
//! ```text
//! comfy-guard run             SUPERVISOR  user comfy-guard, three capabilities (SETUID, SETGID, KILL);
//! │                           owns key file, private key, sessions, listening sockets, children; parses no network byte
//! ├─ comfy-guard: gateway     user comfy-guard-net, no capability: TLS, HTTP, the decision, login page, proxy, /health
//! ├─ comfy-guard: sensor      user comfy-guard-net, no capability: the only one with the driver's library in it
//! └─ python main.py …         user comfyui, no capability, no_new_privs, in its cage: ComfyUI, on a loopback port
//! ```
//!
//! Each closes a sandbox around itself before it works (`sandbox/`; docs/sandbox.md).
//!
//! As it looks in `ps -eo user:16,pid,ppid,args`, started by root:
//!
//! ```text
//! USER                 PID    PPID COMMAND
//! comfy-guard         9517    9515 comfy-guard run
//! comfy-guard-net     9519    9517 comfy-guard: gateway
//! comfy-guard-net     9520    9517 comfy-guard: sensor
//! comfyui             9521    9517 /opt/comfyui/venv/bin/python main.py --listen 127.0.0.1 --port 8188 …
//! ```
//!
//! Roles are this executable once more (`/proc/self/exe` with a hidden command), never a fork without exec. Each has one
//! socket pair, to the supervisor; nothing passes but the messages of `wire`, and one that its sender may not send in
//! that phase ends that role. The gateway never has the key's hash: it asks whether a key is right, or a session alive,
//! and remembers the answer. If a role dies it is started again while the sockets stay open in the supervisor; ComfyUI
//! does not notice. Started by an ordinary user, everything runs as that user.
//!
//! # Rooms, and the one direction of imports
//!
//! ```text
//! units  secret                            numbers with a unit; bytes that must not be seen
//!    ↑
//! os  config                               the only room with unsafe; text in, validated values out
//!    ↑
//! credential  wire  sandbox                key file, hash, TLS identity, sessions; what is shared; who may call what
//!    ↑
//! condition  telemetry                     from facts to named conditions; the log, the metrics, the document of `status`
//!    ↑
//! supervisor | gateway | sensor            one room per process; they never import each other
//!    ↑
//! cli                                      one file per command that a person types; exit codes
//! ```
//!
//! The gateway does not import `credential`. `tests/architecture.rs` holds the code to this and to more of its kind.
//!
//! # Where to begin
//!
//! - What happens to a request: `gateway/serve.rs`, then the decision in `gateway/auth/decide.rs`.
//! - How a browser signs in: `gateway/endpoint/session.rs`, then `supervisor/sessions.rs`; whose cookie counts when:
//!   `gateway/auth/forgery.rs`.
//! - What the status page shows and does: `gateway/endpoint/guard.rs`; what it is made of: `telemetry/status.rs`.
//! - What passes between the processes: `wire/message.rs`, and who may say it when: `wire/permit.rs`.
//! - What happens when something dies, stops or is read again: `supervisor/mod.rs`.
//! - What is between fork and exec: `os/spawn.rs`; between that and ComfyUI: `sandbox/comfyui/stage.rs`.
//! - What each process may ask the kernel for: `sandbox/gateway.rs` and its neighbours.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests write files, start programs and wait"))]

mod cli;
mod condition;
mod config;
mod credential;
mod gateway;
mod os;
mod sandbox;
mod secret;
mod sensor;
mod supervisor;
mod telemetry;
mod units;
mod wire;

pub use cli::main;
