//! The configuration as a whole: files, layers, findings, the template and the manual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;

use proptest::prelude::*;
use serde::de::DeserializeOwned;

use super::file::{KEYS, Spec};
use super::*;

const TEMPLATE: &str = include_str!("../../packaging/config.toml");
const MANUAL: &str = include_str!("../../docs/configuration.md");
const LEAST: &str = "[comfyui]\ndirectory = \"/opt/comfyui\"\n";

/// A directory with a configuration in it, and what the environment and the flags say besides.
struct Desk {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Desk {
    fn with(text: impl AsRef<[u8]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        fs::write(&file, text).unwrap();
        Self { directory, sources: Sources { file: Some(file), ..Sources::default() } }
    }

    fn drop_in(self, name: &str, text: &str) -> Self {
        let folder = self.directory.path().join("conf.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.sources.overrides.push((key.to_owned(), value.into()));
        self
    }

    fn config(&self) -> Config {
        load(&self.sources).unwrap_or_else(|findings| panic!("{findings}")).config
    }

    /// The findings, with the directory's name taken out.
    fn findings(&self) -> String {
        let told = load(&self.sources).expect_err("something is wrong with it").to_string();
        told.replace(&format!("{}/", self.directory.path().display()), "")
    }
}

fn owned(config: Config) -> OwnedComfyui {
    match config.comfyui {
        Comfyui::Owned(owned) => owned,
        Comfyui::External(address) => panic!("external at {address}"),
    }
}

#[test]
fn one_key_is_enough() {
    let config = Desk::with(LEAST).config();
    assert_eq!(config.listen.https, ["[::]:443".parse().unwrap()]);
    assert_eq!(config.tls.identity, None);
    assert!(config.auth.enabled);
    assert_eq!(config.auth.key_file, Path::new("/etc/comfy-guard/key"));
    assert_eq!(config.proxy.websocket_idle, None);
    let comfyui = owned(config);
    assert_eq!(comfyui.python, Path::new("/opt/comfyui/venv/bin/python"));
    assert_eq!((comfyui.port, comfyui.stop_timeout), (8188, Span::from_secs(15)));
}

#[test]
fn later_layers_win_and_tables_are_merged() {
    let text = "[comfyui]\ndirectory = \"/a\"\nport = 1\nenvironment = { A = \"file\", B = \"file\", C = \"file\" }\n[listen]\nhttps = [\"127.0.0.1:1001\", \"127.0.0.1:1002\"]\n";
    let desk = Desk::with(text)
        .drop_in("20.toml", "comfyui.port = 3\nlisten.https = [\"127.0.0.1:1003\"]")
        .drop_in("10.toml", "comfyui.port = 2\ncomfyui.environment.B = \"drop-in\"\ncomfyui.user = \"ten\"")
        .drop_in(".hidden.toml", "x = 1")
        .drop_in("30.toml.bak", "x = 1")
        .variable("COMFY_GUARD_COMFYUI__PORT", "4")
        .variable("COMFY_GUARD_COMFYUI__ENVIRONMENT__C", "variable")
        .variable("COMFY_GUARD_AUTH__ANONYMOUS_WEBSOCKET", "deny")
        .variable("COMFY_GUARD_AUTH__EXEMPT__SUFFIXES", ".a, .b")
        .variable("PATH", "/bin")
        .flag("comfyui.port", 5);
    let config = desk.config();
    assert_eq!(config.listen.https, ["127.0.0.1:1003".parse().unwrap()]);
    assert_eq!(config.auth.anonymous_websocket, AnonymousWebsocket::Deny);
    assert_eq!(config.auth.exempt.suffixes, [".a", ".b"]);
    let comfyui = owned(config);
    assert_eq!((comfyui.port, comfyui.user.as_str()), (5, "ten"));
    let environment: Vec<_> = comfyui.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(environment, [("A", "file"), ("B", "drop-in"), ("C", "variable")]);
    let files = load(&desk.sources).unwrap().files;
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["config.toml", "10.toml", "20.toml"]);
}

#[test]
fn a_variable_names_the_file_and_a_flag_names_it_with_more_right() {
    let mut desk = Desk::with(LEAST);
    let file = desk.sources.file.take().unwrap();
    desk = desk.variable("COMFY_GUARD_CONFIG", file.to_str().unwrap());
    assert_eq!(owned(desk.config()).directory, Path::new("/opt/comfyui"));
    let other = Desk::with("[comfyui]\ndirectory = \"/other\"");
    desk.sources.file = other.sources.file.clone();
    assert_eq!(owned(desk.config()).directory, Path::new("/other"));
}

#[test]
fn relative_paths_start_where_they_are_written() {
    let desk = Desk::with(
        "[comfyui]\ndirectory = \"ui\"\npython = \"bin/py\"\n[tls]\ncertificate = \"c.pem\"\nprivate_key = \"k.pem\"\n",
    )
    .drop_in("a.toml", "[state]\ndirectory = \"state\"")
    .variable("COMFY_GUARD_AUTH__KEY_FILE", "key");
    let at = |path: &str| desk.directory.path().join(path);
    let config = desk.config();
    let identity = config.tls.identity.clone().unwrap();
    assert_eq!((identity.certificate, identity.private_key), (at("c.pem"), at("k.pem")));
    assert_eq!(config.state.directory, at("conf.d/state"));
    assert_eq!(config.auth.key_file, std::env::current_dir().unwrap().join("key"));
    let comfyui = owned(config);
    assert_eq!((comfyui.directory, comfyui.python), (at("ui"), at("ui/bin/py")));
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_where() {
    let text = "[listen]\nhttps = [\"8443\", \"127.0.0.1:8188\", \"x\"]\nhtps = []\n[auth]\nenabled = \"yes\"\n[proxy]\nmax_upload = \"12\"\n[comfyui]\ndirectory = \"/a\"\narguments = [\"--cpu\", \"--listen=0.0.0.0\"]\nuser = \"root\"\n[nothing]\n";
    let told = Desk::with(text)
        .drop_in("a.toml", "[log]\nlevel = \"loud\"\n")
        .drop_in("b.toml", "[log\n")
        .variable("COMFY_GUARD_COMFYUI__PORT", "many")
        .flag("state.directory", "")
        .findings();
    for line in [
        "config.toml:2:10: \"8443\" is not an address",
        "config.toml:2:36: \"x\" is not an address",
        "config.toml:3:1: unknown key `htps`",
        "config.toml:5:11: invalid type: string \"yes\", expected a boolean\n  enabled = \"yes\"\n            ^^^^^",
        "config.toml:7:14: \"\" is not a unit of size",
        "config.toml:12:2: unknown key `nothing`",
        "conf.d/a.toml:2:9: unknown variant `loud`",
        "conf.d/b.toml:1:",
        "environment variable COMFY_GUARD_COMFYUI__PORT: invalid type: string \"many\"",
        "command line (state.directory): an empty path",
    ] {
        assert!(told.contains(line), "{line}\nin\n{told}");
    }
}

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
        ("comfyui.stop_timeout = \"10ms\"", "needs time to stop"),
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
        "auth.exempt.trees = [\"/apis/\"]",
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

#[test]
fn a_variable_that_names_no_key_is_refused() {
    for (name, value, expected) in [
        ("COMFY_GUARD_AUTH_ENABLED", "false", "did you mean COMFY_GUARD_AUTH__ENABLED?"),
        ("COMFY_GUARD_auth__enabled", "false", "did you mean COMFY_GUARD_AUTH__ENABLED?"),
        ("COMFY_GUARD_NOTHING", "", "names no key; write"),
        ("COMFY_GUARD_COMFYUI__ENVIRONMENT", "A=B", "one variable for each entry"),
        ("COMFY_GUARD_COMFYUI__ENVIRONMENT__1A", "x", "\"1A\" is not the name"),
        ("COMFY_GUARD_LOG__ACCESS", "maybe", "expected a boolean"),
        ("COMFY_GUARD_TLS__NAMES", "a\u{fffd}", "not UTF-8"),
    ] {
        let told = Desk::with(LEAST).variable(name, value).findings();
        assert!(told.starts_with(&format!("environment variable {name}: ")) && told.contains(expected), "{told}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let desk = Desk::with(LEAST);
    let nowhere = desk.directory.path().join("none/config.toml");
    let explicit = Sources { file: Some(nowhere.clone()), ..Sources::default() };
    let told = load(&explicit).expect_err("it is missing").to_string();
    assert!(told.starts_with(&format!("{}: cannot be read: No such file", nowhere.display())), "{told}");
    let told = load_with(&Sources::default(), &nowhere).expect_err("nothing says what").to_string();
    assert!(told.starts_with(&format!("there is no {}", nowhere.display())), "{told}");
    let environment = vec![("COMFY_GUARD_COMFYUI__DIRECTORY".to_owned(), "/opt/comfyui".to_owned())];
    let loaded = load_with(&Sources { environment, ..Sources::default() }, &nowhere).unwrap();
    assert!(loaded.files.is_empty());
}

#[test]
fn what_is_no_configuration_file_is_refused() {
    let told = Desk::with(vec![b'#'; (1 << 20) + 1]).findings();
    assert_eq!(told, "config.toml: is larger than 1 MiB, which no configuration is");
    Desk::with([LEAST.as_bytes(), &vec![b'#'; (1 << 20) - LEAST.len()]].concat()).config();
    let told = Desk::with(b"a = \"\xff\"").findings();
    assert!(told.starts_with("config.toml:1:6: this byte is not UTF-8"), "{told}");
    let mut desk = Desk::with("");
    desk.sources.file = Some(desk.directory.path().to_owned());
    assert!(desk.findings().ends_with("is not a regular file"));
}

#[test]
fn a_token_is_in_no_finding() {
    let text = "[comfyui]\ndirectory = \"/a\"\n[comfyui.environment]\nLISTEN_FDS = \"s3cret\"\n\"1\" = \"s3cret\"\n";
    let told = Desk::with(text).variable("COMFY_GUARD_COMFYUI__ENVIRONMENT__1A", "s3cret").findings();
    assert!(told.contains("config.toml:4:") && told.contains("config.toml:5:1:") && !told.contains("s3cret"), "{told}");
}

/// The template with the `#` before each key taken away, but for these keys.
fn uncommented(except: &[&str]) -> String {
    let is_key =
        |line: &str| line.strip_prefix('#').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
    let name = |line: &str| line[1..].split(' ').next().unwrap().to_owned();
    TEMPLATE
        .lines()
        .map(|line| if is_key(line) && !except.contains(&name(line).as_str()) { &line[1..] } else { line })
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn the_template_says_the_defaults() {
    let defaults = Desk::with(LEAST).config();
    assert_eq!(Desk::with(uncommented(&["certificate", "private_key", "external"])).config(), defaults);
    assert!(Desk::with(uncommented(&["external"])).config().tls.identity.is_some());
    let told = Desk::with(TEMPLATE).findings();
    assert!(told.starts_with("nothing says which ComfyUI to guard"), "{told}");
}

#[test]
fn every_key_stands_in_the_template_and_in_the_manual() {
    let template: toml::Table = uncommented(&[]).parse().unwrap();
    for (key, _) in KEYS {
        let mut value = Some(&template);
        let (sections, name) = key.rsplit_once('.').unwrap();
        for section in sections.split('.') {
            value = value.and_then(|table| table.get(section)?.as_table());
        }
        assert!(value.is_some_and(|table| table.contains_key(name)), "{key} in the template");
        assert!(MANUAL.contains(&format!("| `{key}` |")), "{key} in the manual");
    }
}

#[test]
fn the_table_of_keys_is_what_a_file_may_have() {
    let mut sections: Vec<&str> = KEYS.iter().map(|(key, _)| key.rsplit_once('.').unwrap().0).collect();
    sections.dedup();
    for section in sections {
        let error = toml::from_str::<Spec>(&format!("[{section}]\nzzz = 1")).unwrap_err();
        let mut known: Vec<String> =
            error.message().split('`').skip(3).step_by(2).map(|name| format!("{section}.{name}")).collect();
        known.retain(|key| key != "auth.exempt");
        let listed: Vec<&str> =
            KEYS.iter().map(|(key, _)| *key).filter(|key| key.rsplit_once('.').unwrap().0 == section).collect();
        assert_eq!(known, listed);
    }
}

#[test]
fn the_manual_shows_a_real_error() {
    let example = MANUAL.split("```toml example\n").nth(1).unwrap().split("```").next().unwrap();
    let shown = MANUAL.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(
        Desk::with(example).findings().trim_end(),
        shown.replace("/etc/comfy-guard/config", "config").trim_end()
    );
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let bytes = postcard::to_stdvec(value).unwrap();
    assert_eq!(&postcard::from_bytes::<T>(&bytes).unwrap(), value);
}

#[test]
fn what_the_gateway_gets_survives_the_wire() {
    let text = "comfyui.external = \"127.0.0.1:9\"\n[auth]\nallowed_origins = [\"https://A.example\"]\nanonymous_websocket = \"passthrough\"\n[proxy]\ntrusted = [\"10.0.0.0/8\", \"fd00::1\"]\nmax_upload = \"3GB\"\nwebsocket_idle = \"1h\"\n[log]\nlevel = \"trace\"\naccess = true\n";
    for config in [Desk::with(text).config(), Desk::with(LEAST).config()] {
        round_trip(&config.auth);
        round_trip(&config.proxy);
        round_trip(&config.log);
    }
}

/// Pieces of configurations, so that the parser gets further than the first byte.
fn pieces() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>());
    let value = prop_oneof![
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("1e9".to_owned()),
        Just("2024-01-01".to_owned()),
        "\"[ -~]{0,12}\"",
        "\\[(\"[a-z:/.0-9]{0,9}\", ?){0,3}\\]",
        "\\{ [a-zA-Z._-]{1,9} = [0-9\"]{1,3} \\}",
        ".{0,9}",
    ];
    let line = (keys, value).prop_map(|(key, value)| format!("{key} = {value}\n"));
    prop::collection::vec(prop_oneof![4 => line, 1 => "\\[[a-z.]{0,12}\\]\n", 1 => ".{0,20}\n"], 0..12)
        .prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_has_findings(text in prop_oneof![pieces(), any::<String>()]) {
        let told = load(&Desk::with(&text).sources);
        prop_assert!(told.is_ok() || told.is_err_and(|findings| !findings.to_string().is_empty()));
    }

    #[test]
    fn any_bytes_are_a_configuration_or_have_findings(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let told = load(&Desk::with(bytes).sources);
        prop_assert!(told.is_ok() || told.is_err_and(|findings| !findings.to_string().is_empty()));
    }

    #[test]
    fn any_variable_is_a_value_or_a_finding(index in 0..KEYS.len(), value in ".{0,30}") {
        let (key, _) = KEYS[index];
        let name = format!("COMFY_GUARD_{}", key.replace('.', "__").to_uppercase());
        let told = load(&Desk::with(LEAST).variable(&name, &value).sources);
        prop_assert!(told.is_ok() || told.is_err_and(|findings| !findings.to_string().is_empty()));
    }
}

#[test]
fn a_hostile_file_costs_little() {
    for text in ["a.".repeat(500_000) + "a = 1", "a = ".to_owned() + &"[".repeat(1_000_000), "[a]\n".repeat(200_000)] {
        Desk::with(text).findings();
    }
    let many: String = (0..60_000).map(|index| format!("k{index} = 1\n")).collect();
    assert_eq!(Desk::with(many).findings().matches("unknown key").count(), 30);
}
