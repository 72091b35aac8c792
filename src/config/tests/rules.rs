//! What contradicts itself is refused, and nothing else.

use super::super::Comfyui;
use super::{Desk, LEAST};

#[test]
fn rules_speak_beside_misspelt_values_but_not_about_them() {
    let told = Desk::with("[comfyui]\ndirectory = 3\nuser = \"root\"\n").findings();
    assert!(told.contains("config.toml:3:8: no process of the guard"), "{told}");
    assert!(told.contains("config.toml:2:13: invalid type") && !told.contains("nothing says"), "{told}");
}

/// Each rule: what is written, and where and how it is refused.
#[test]
fn what_contradicts_itself_is_refused() {
    let table = [
        ("", "nothing says which ComfyUI"),
        ("comfyui.directory = \"/a\"\ncomfyui.external = \"127.0.0.1:1\"", "config.toml:2:20: comfyui.directory and"),
        ("comfyui.external = \"127.0.0.1:1\"\ncomfyui.port = 2", "config.toml:2:16: comfyui.port has no meaning"),
        ("comfyui.external = \"127.0.0.1:1\"\ncomfyui.environment.A = \"x\"", "comfyui.environment has no meaning"),
        ("comfyui.external = \"127.0.0.1:443\"", "config.toml:1:20: 127.0.0.1:443 is an address of the guard"),
        ("comfyui.external = \"10.0.0.1:0\"", "has no port"),
        (
            "tls.certificate = \"c\"",
            "config.toml:1:19: tls.certificate and tls.private_key belong together; write tls.private_key",
        ),
        ("tls.private_key = \"c\"", "write tls.certificate too"),
        (
            "auth.enabled = false",
            "config.toml:1:16: auth.enabled = false would open ComfyUI to the network on [::]:443",
        ),
        ("auth.enabled = false\nlisten.https = [\"127.0.0.1:1\", \"192.0.2.1:1\"]", "on 192.0.2.1:1"),
        ("listen.https = []", "config.toml:1:16: listen.https is empty"),
        ("listen.https = [\"[::]:1\", \"[::]:1\"]", "config.toml:1:27: [::]:1 stands here twice"),
        ("listen.http_redirect = [\"[::]:443\"]", "config.toml:1:25: [::]:443 cannot both"),
        ("comfyui.port = 443", "config.toml:1:16: port 443 is already taken by [::]:443"),
        ("metrics.listen = [\"127.0.0.1:8188\"]", "config.toml:1:18: port 8188 is already taken"),
        ("metrics.listen = [\"127.0.0.1:443\"]", "config.toml:1:19: 127.0.0.1:443 is a listener for guests already"),
        (
            "metrics.listen = [\"unix:/run/a\", \"unix:/run/a\"]",
            "config.toml:1:34: this stands in metrics.listen twice",
        ),
        ("listen.http_redirect = [\"127.0.0.1:8188\"]", "config.toml:1:24: port 8188 is already taken"),
        ("comfyui.port = 0", "0 is not a port"),
        ("comfyui.arguments = [\"--cpu\", \"--listen\"]", "config.toml:1:31: --listen is the guard's"),
        ("comfyui.arguments = [\"--por=1\"]", "use comfyui.port"),
        ("comfyui.arguments = [\"--tls-keyfile\"]", "use tls.private_key"),
        ("comfyui.arguments = [\"--tls-certfile\"]", "use tls.certificate"),
        ("comfyui.arguments = [\"--enable-cors-header\"]", "turn ComfyUI's own guard off: use auth.allowed_origins"),
        ("comfyui.arguments = [\"--max-upload-size\"]", "use proxy.max_upload"),
        ("comfyui.environment.COMFYUI_API_KEY = \"x\"", "COMFYUI_API_KEY is the guard's"),
        ("comfyui.environment.NOTIFY_SOCKET = \"x\"", "NOTIFY_SOCKET is the guard's"),
        ("comfyui.environment.LISTEN_FDS = \"x\"", "LISTEN_FDS is the guard's"),
        ("comfyui.environment.WATCHDOG_USEC = \"x\"", "WATCHDOG_USEC is the guard's"),
        ("comfyui.environment.\"A-B\" = \"x\"", "config.toml:1:21: \"A-B\" is not the name"),
        ("comfyui.user = \"root\"", "config.toml:1:16: no process of the guard"),
        ("service.user = \"root\"", "config.toml:1:16: no process of the guard"),
        ("service.network_user = \"root\"", "config.toml:1:24: no process of the guard"),
        ("service.network_user = \"comfy-guard\"", "config.toml:1:24: service.user and service.network_user are both"),
        ("comfyui.user = \"comfy-guard\"", "service.user and comfyui.user are both"),
        ("service.network_user = \"comfyui\"", "service.network_user and comfyui.user are both"),
        ("auth.exempt.trees = [\"/a/\", \"/api/x/\"]", "config.toml:1:29: \"/api/x/\" lies in the API path \"/api\""),
        ("auth.exempt.never = []\nauth.exempt.trees = [\"/history/\"]", "lies in the API path \"/history\""),
        ("auth.exempt.trees = [\"/\"]", "config.toml:1:22: \"/\" would open every path"),
        ("proxy.trusted = [\"0.0.0.0/0\"]", "from everybody"),
        ("proxy.max_upload = \"0B\"", "nothing could be uploaded"),
        ("auth.session_lifetime = \"59s\"", "config.toml:1:25: a session of 59s is no use"),
        ("auth.session_lifetime = \"400d1ms\"", "a session of 400d1ms is no use"),
        ("auth.browser_session_lifetime = \"0s\"", "config.toml:1:33: a session of 0s is no use"),
        ("auth.browser_session_lifetime = \"401d\"", "a session of 401d is no use"),
        ("auth.frame_ancestors = [\"*\"]", "config.toml:1:25: \"*\" would let the pages of any site"),
        ("auth.frame_ancestors = [\"https://a.example; script-src *\"]", "is not a web origin"),
        ("comfyui.stop_timeout = \"10ms\"", "needs time to stop"),
        ("comfyui.sandbox = \"tight\"", "config.toml:1:19: unknown variant `tight`, expected one of `off`, `standard`"),
        ("comfyui.writable = [\"/srv\", \"/\"]", "config.toml:1:29: \"/\" would let ComfyUI write everywhere"),
        ("comfyui.limits.memory = \"8MB\"", "config.toml:1:25: ComfyUI cannot load within 8MB"),
        ("comfyui.limits.memory = \"-1GB\"", "does not begin with a number"),
        ("comfyui.limits.cpus = 0", "config.toml:1:23: 0 of a processor is too little"),
        ("comfyui.limits.cpus = \"2\"", "expected a number of processors"),
        ("comfyui.limits.tasks = 10", "config.toml:1:24: 10 processes and threads are too few"),
        ("comfyui.limits.tasks = 1.5", "expected u32"),
        ("comfyui.external = \"127.0.0.1:1\"\ncomfyui.limits.cpus = 2", "comfyui.limits.cpus has no meaning"),
        ("comfyui.external = \"127.0.0.1:1\"\ncomfyui.sandbox = \"off\"", "comfyui.sandbox has no meaning"),
    ];
    for (text, expected) in table {
        let needs_one = !text.is_empty() && !text.contains("comfyui.external") && !text.contains("comfyui.directory");
        let text = if needs_one { format!("{text}\ncomfyui.directory = \"/a\"\n") } else { text.to_owned() };
        let told = Desk::with(&text).findings();
        assert!(told.contains(expected), "{text}\nexpected: {expected}\ntold: {told}");
        let count = told.lines().filter(|line| !line.starts_with("  ")).count();
        assert_eq!(count, 1, "one finding for {text}: {told}");
    }
}

#[test]
fn what_only_looks_wrong_is_accepted() {
    for text in [
        "auth.enabled = false\nlisten.https = [\"127.0.0.1:1\", \"[::1]:1\", \"[::ffff:127.0.0.1]:2\"]",
        "listen.https = [\"127.0.0.1:0\", \"127.0.0.1:0\"]",
        "listen.https = [\"192.0.2.1:8188\"]",
        "comfyui.arguments = [\"--lowvram\", \"--\", \"-l\", \"--preview-method\", \"auto\", \"listen\"]",
        "comfyui.environment = { LD_PRELOAD = \"/lib/x.so\", LISTENER = \"\" }",
        "auth.exempt.trees = []",
        "auth.session_lifetime = \"1m\"\nauth.browser_session_lifetime = \"400d\"",
        "auth.frame_ancestors = [\"https://desk.example:8443\", \"http://[::1]\"]",
        "auth.exempt.trees = [\"/apis/\"]",
        "comfyui.sandbox = \"strict\"\ncomfyui.readable = [\"/srv\"]\ncomfyui.writable = [\"out\", \"/dev/infiniband\"]",
        "comfyui.limits = { memory = \"256MB\", cpus = 0.1, tasks = 64 }",
    ] {
        Desk::with(format!("comfyui.directory = \"/a\"\n{text}")).config();
    }
    let config = Desk::with("comfyui.external = \"127.0.0.1:9\"\nservice.network_user = \"comfyui\"").config();
    assert_eq!(config.comfyui, Comfyui::External("127.0.0.1:9".parse().unwrap()));
}

#[test]
fn a_flag_is_cited_as_the_command_line() {
    let told = Desk::with(LEAST).flag("auth.enabled", false).findings();
    assert!(told.starts_with("command line (auth.enabled): auth.enabled = false would open"), "{told}");
}
