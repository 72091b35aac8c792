//! The configuration as a whole: files, layers and what is said about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod documents;
mod hostile;
mod rules;
mod wire;

use std::fs;

use super::*;

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
        Comfyui::Owned(owned) => *owned,
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
    assert_eq!(config.auth.frame_ancestors, []);
    assert_eq!(config.auth.session_lifetime.to_string(), "30d");
    assert_eq!(config.auth.browser_session_lifetime.to_string(), "12h");
    assert_eq!(config.proxy.websocket_idle, None);
    let comfyui = owned(config);
    assert_eq!(comfyui.python, Path::new("/opt/comfyui/venv/bin/python"));
    assert_eq!((comfyui.port, comfyui.stop_timeout), (8188, Span::from_secs(15)));
    assert_eq!(comfyui.cage, Cage::Standard);
    assert_eq!(comfyui.limits, Limits { memory: None, cpus: None, tasks: 4096 });
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
        .variable("COMFY_GUARD_COMFYUI__LIMITS__CPUS", "1.5")
        .variable("COMFY_GUARD_COMFYUI__LIMITS__TASKS", "500")
        .variable("PATH", "/bin")
        .flag("comfyui.port", 5);
    let config = desk.config();
    assert_eq!(config.listen.https, ["127.0.0.1:1003".parse().unwrap()]);
    assert_eq!(config.auth.anonymous_websocket, AnonymousWebsocket::Deny);
    assert_eq!(config.auth.exempt.suffixes, [".a", ".b"]);
    let comfyui = owned(config);
    assert_eq!((comfyui.port, comfyui.user.as_str()), (5, "ten"));
    assert_eq!(comfyui.limits, Limits { memory: None, cpus: Some(Processors(1500)), tasks: 500 });
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
        "[comfyui]\ndirectory = \"ui\"\npython = \"bin/py\"\nwritable = [\"/srv\", \"w\"]\n[tls]\ncertificate = \"c.pem\"\nprivate_key = \"k.pem\"\n",
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
    assert_eq!(comfyui.writable, [PathBuf::from("/srv"), at("w")]);
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
fn a_variable_that_names_no_key_is_refused() {
    for (name, value, expected) in [
        ("COMFY_GUARD_AUTH_ENABLED", "false", "did you mean COMFY_GUARD_AUTH__ENABLED?"),
        ("COMFY_GUARD_auth__enabled", "false", "did you mean COMFY_GUARD_AUTH__ENABLED?"),
        ("COMFY_GUARD_AUTH__NOTHING", "", "names no key; write"),
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
fn a_variable_that_looks_like_no_key_is_somebody_elses() {
    assert!(Desk::with(LEAST).variable("COMFY_GUARD_BIN", "/usr/bin/comfy-guard").config().auth.enabled);
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
