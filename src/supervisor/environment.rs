//! ComfyUI's environment and command line: what it gets, and that it gets nothing else.

use std::ffi::OsString;
use std::path::Path;

use crate::config::OwnedComfyui;
use crate::units::Bytes;
use crate::wire::message::GpuWish;

/// What of the guard's environment goes on: where programs and libraries are, language, and what GPU users set.
/// Everything else stays here, the key in `COMFYUI_API_KEY` and the service manager's sockets above all.
const PASSED: &[&str] = &[
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];
const PASSED_PREFIXES: &[&str] =
    &["LC_", "CUDA_", "NVIDIA_", "NCCL_", "PYTORCH_", "TORCH_", "HF_", "ROCR_", "HIP_", "HSA_"];

/// Where a program is looked for when nobody says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole environment: passed on, then the account's, then what the configuration says.
pub(crate) fn environment(
    own: impl Iterator<Item = (OsString, OsString)>,
    account: Option<(&str, &Path)>,
    settings: &OwnedComfyui,
) -> Vec<(OsString, OsString)> {
    let mut result: Vec<(OsString, OsString)> =
        own.filter(|(name, _)| is_passed(&name.to_string_lossy(), account.is_none())).collect();
    let mut set = |name: &str, value: OsString| {
        result.retain(|(other, _)| other != name);
        result.push((name.into(), value));
    };
    // Without this a line of Python's would reach the log minutes late.
    set("PYTHONUNBUFFERED", "1".into());
    if let Some((name, home)) = account {
        set("HOME", home.into());
        set("USER", name.into());
        set("LOGNAME", name.into());
    }
    for (name, value) in &settings.environment {
        set(name, value.into());
    }
    if !result.iter().any(|(name, _)| name == "PATH") {
        result.push(("PATH".into(), PATH.into()));
    }
    result
}

fn is_passed(name: &str, same_user: bool) -> bool {
    PASSED.contains(&name)
        || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (same_user && matches!(name, "HOME" | "USER" | "LOGNAME" | "XDG_CACHE_HOME"))
}

/// Which GPU ComfyUI is given, by the very environment and arguments that it gets.
pub(crate) fn gpu_wish(own: impl Iterator<Item = (OsString, OsString)>, settings: &OwnedComfyui) -> GpuWish {
    let passed = environment(own, None, settings);
    let visible = passed.into_iter().find(|(name, _)| name == "CUDA_VISIBLE_DEVICES");
    let visible = visible.map(|(_, value)| value.to_string_lossy().into_owned());
    // An empty list, or one that begins with what is no device, shows CUDA none.
    let hidden = visible.as_ref().is_some_and(|list| list.trim().is_empty() || list.trim_start().starts_with('-'));
    GpuWish { cpu: hidden || settings.arguments.iter().any(|argument| argument == "--cpu"), visible }
}

/// `main.py --listen 127.0.0.1 --port … --max-upload-size …`, then what the configuration adds.
pub(crate) fn arguments(settings: &OwnedComfyui, max_upload: Bytes) -> Vec<OsString> {
    // ComfyUI counts in MiB and takes a fraction.
    let megabytes = max_upload.0 as f64 / f64::from(1u32 << 20);
    let port = settings.port.to_string();
    let fixed = ["main.py", "--listen", "127.0.0.1", "--port", &port, "--max-upload-size", &megabytes.to_string()];
    fixed.iter().map(OsString::from).chain(settings.arguments.iter().map(OsString::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn settings() -> OwnedComfyui {
        OwnedComfyui {
            directory: PathBuf::from("/opt/comfyui"),
            python: PathBuf::from("/opt/comfyui/venv/bin/python"),
            arguments: vec!["--cpu".into()],
            environment: BTreeMap::from([("LANG".into(), "C.UTF-8".into()), ("MINE".into(), "yes".into())]),
            port: 8188,
            user: "comfyui".into(),
            groups: vec![],
            stop_timeout: crate::units::Span::from_secs(15),
            cage: crate::config::Cage::Standard,
            writable: vec![],
            readable: vec![],
            limits: crate::config::Limits { memory: None, cpus: None, tasks: 4096 },
        }
    }

    fn environ(pairs: &[(&str, &str)], account: Option<(&str, &Path)>) -> BTreeMap<String, String> {
        let own = pairs.iter().map(|(n, v)| (OsString::from(n), OsString::from(v)));
        environment(own, account, &settings())
            .into_iter()
            .map(|(n, v)| (n.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
            .collect()
    }

    #[test]
    fn the_key_and_the_service_manager_stay_here() {
        let secret = [
            ("COMFYUI_API_KEY", "k"),
            ("NOTIFY_SOCKET", "/run/n"),
            ("LISTEN_FDS", "1"),
            ("CREDENTIALS_DIRECTORY", "/c"),
        ];
        let result = environ(&secret, None);
        assert_eq!(result.keys().collect::<Vec<_>>(), ["LANG", "MINE", "PATH", "PYTHONUNBUFFERED"]);
    }

    #[test]
    fn the_configuration_has_the_last_word() {
        let result = environ(&[("LANG", "de_DE"), ("PATH", "/bin"), ("CUDA_VISIBLE_DEVICES", "1")], None);
        assert_eq!(result.get("LANG").map(String::as_str), Some("C.UTF-8"));
        assert_eq!(result.get("PATH").map(String::as_str), Some("/bin"));
        assert_eq!(result.get("CUDA_VISIBLE_DEVICES").map(String::as_str), Some("1"));
    }

    #[test]
    fn another_user_gets_its_own_home() {
        let result = environ(&[("HOME", "/root"), ("USER", "root")], Some(("comfyui", Path::new("/var/lib/comfyui"))));
        assert_eq!(result.get("HOME").map(String::as_str), Some("/var/lib/comfyui"));
        assert_eq!(result.get("USER").map(String::as_str), Some("comfyui"));
    }

    #[test]
    fn the_upload_limit_is_given_in_comfyuis_unit() {
        let text =
            |limit| arguments(&settings(), limit).iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>();
        assert_eq!(
            text(Bytes(100 << 20)),
            ["main.py", "--listen", "127.0.0.1", "--port", "8188", "--max-upload-size", "100", "--cpu"]
        );
        assert_eq!(text(Bytes(3 << 19)).get(6).map(String::as_str), Some("1.5"));
    }
}
