//! Where a configuration comes from, and which of its layers wins: defaults, the file, `conf.d`, environment, flags.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Map, Source, Value};

use super::file::{KEYS, Shape, Spec};
use super::report::{Document, Finding, Place, Places};
use super::vouch::{Vouched, vouch};

/// Where the configuration is when nobody says otherwise.
pub(super) const DEFAULT_FILE: &str = "/etc/comfy-guard/config.toml";
const PREFIX: &str = "COMFY_GUARD_";
const FILE_VARIABLE: &str = "COMFY_GUARD_CONFIG";
const TABLE_PREFIX: &str = "COMFY_GUARD_COMFYUI__ENVIRONMENT__";
/// No configuration is larger; what is was named by mistake and would only fill the memory.
const LARGEST_FILE: u64 = 1 << 20;

/// Where to read from.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sources {
    /// `--config FILE`
    pub(crate) file: Option<PathBuf>,
    /// The environment; only names that begin with `COMFY_GUARD_` are looked at.
    pub(crate) environment: Vec<(String, String)>,
    /// What flags say: a dotted key (`auth.enabled`) and its value.
    pub(crate) overrides: Vec<(String, toml::Value)>,
}

impl Sources {
    /// This process's environment, and what its command line says.
    pub(crate) fn of_process(file: Option<PathBuf>, overrides: Vec<(String, toml::Value)>) -> Self {
        // A name or value that is not UTF-8 keeps its replacement characters, which no key and no value admits.
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        Self { file, environment, overrides }
    }
}

/// All layers, merged.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// What is written, defaults filled in.
    pub(super) spec: Spec,
    /// Where it is written.
    pub(super) places: Places,
    /// What is wrong with single values.
    pub(super) findings: Vec<Finding>,
    /// Keys whose value is not known because of that; "" stands for all.
    pub(super) unsettled: Vec<String>,
    /// The files that were read.
    pub(super) files: Vec<PathBuf>,
    /// The default file, when it is not there.
    pub(super) missing: Option<PathBuf>,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}

/// Reads and merges every layer, the lowest first.
pub(super) fn merge(sources: &Sources, default_file: &Path) -> Merged {
    let mut merged = Merged::default();
    let variable = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE);
    let named = sources.file.clone().or_else(|| variable.map(|(_, path)| PathBuf::from(path)));
    let file = absolute(named.as_deref().unwrap_or(default_file));
    merged.add_file(&file, named.is_none());
    match drop_ins(&file) {
        Ok(paths) => paths.iter().for_each(|path| merged.add_file(path, false)),
        Err((path, error)) => merged.refuse_file(path, format!("cannot be read: {error}")),
    }
    let mut environment: Vec<_> = sources.environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    environment.sort();
    for (name, value) in environment {
        merged.add_variable(name, value);
    }
    for (key, value) in &sources.overrides {
        let place = Place::CommandLine(key.clone());
        merged.add_value(&segments(key), value.clone(), place);
    }
    merged.settle();
    merged
}

impl Merged {
    fn add(&mut self, layer: Vouched) {
        self.layers.push(Layer(layer.values));
        // A list replaces the list below it: places of elements beyond its end stay behind, and nobody asks for them.
        self.places.extend(layer.places);
        self.findings.extend(layer.findings);
        self.unsettled.extend(layer.unsettled);
    }

    fn add_file(&mut self, path: &Path, may_be_missing: bool) {
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound && may_be_missing => {
                self.missing = Some(path.to_owned());
                return;
            }
            Err(error) => return self.refuse_file(path.to_owned(), error.to_string()),
        };
        self.files.push(path.to_owned());
        let document = Arc::new(Document { path: path.to_owned(), text: String::from_utf8_lossy(&text).into_owned() });
        if let Err(error) = std::str::from_utf8(&text) {
            let at = error.valid_up_to();
            let place = Place::File(Arc::clone(&document), at..at + 1);
            self.findings.push(Finding { place, message: "this byte is not UTF-8, as TOML has to be".to_owned() });
            self.unsettled.push(String::new());
            return;
        }
        self.add(vouch(&document.text, |span| Place::File(Arc::clone(&document), span)));
    }

    fn refuse_file(&mut self, path: PathBuf, message: String) {
        self.findings.push(Finding { place: Place::Path(path), message });
        self.unsettled.push(String::new());
    }

    fn add_variable(&mut self, name: &str, value: &str) {
        if name == FILE_VARIABLE {
            return;
        }
        let place = Place::Variable(name.to_owned());
        if value.contains('\u{fffd}') {
            self.findings.push(Finding { place, message: "the value is not UTF-8".to_owned() });
            return;
        }
        if let Some(entry) = name.strip_prefix(TABLE_PREFIX) {
            return self.add_value(&["comfyui", "environment", entry], value.into(), place);
        }
        let known = KEYS.iter().find(|(key, shape)| *shape != Shape::Table && variable_of(key) == name);
        match known {
            Some((key, shape)) => self.add_value(&segments(key), shaped(value, *shape), place),
            None => self.findings.extend(names_no_key(name).map(|message| Finding { place, message })),
        }
    }

    /// One value becomes a document of one line, so that it is judged exactly as a file is.
    fn add_value(&mut self, key: &[&str], value: toml::Value, place: Place) {
        let nested = key
            .iter()
            .rev()
            .fold(value, |inner, segment| toml::Value::Table(toml::Table::from_iter([((*segment).to_owned(), inner)])));
        match toml::to_string(&nested) {
            Ok(text) => self.add(vouch(&text, |_| place.clone())),
            Err(error) => self.findings.push(Finding { place, message: error.to_string() }),
        }
    }

    /// Lets `config` merge what the layers say.
    fn settle(&mut self) {
        let mut builder = config::Config::builder();
        for layer in self.layers.drain(..) {
            builder = builder.add_source(layer);
        }
        match builder.build().and_then(config::Config::try_deserialize) {
            Ok(spec) => self.spec = spec,
            // Each layer is vouched for by itself, so this is a disagreement between the two readers.
            Err(error) => {
                self.findings.push(Finding { place: Place::Nowhere, message: format!("cannot be merged: {error}") });
                self.unsettled.push(String::new());
            }
        }
    }
}

/// The variable that stands for this key: double underscore between section and key.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// What is wrong with a variable that names no key; nothing where it looks like none and may be a script's own
/// (`COMFY_GUARD_BIN`).
fn names_no_key(name: &str) -> Option<String> {
    let squeezed = |text: &str| text.to_uppercase().replace("__", "_");
    let near = KEYS.iter().map(|(key, _)| variable_of(key)).find(|known| squeezed(known) == squeezed(name));
    match near {
        Some(known) if known == name => {
            Some(format!("is a table; write one variable for each entry, as in {known}__NAME"))
        }
        Some(known) => Some(format!("names no key; did you mean {known}?")),
        None if name.contains("__") => {
            Some("names no key; write COMFY_GUARD_SECTION__KEY, as in COMFY_GUARD_AUTH__KEY_FILE".to_owned())
        }
        None => None,
    }
}

fn segments(key: &str) -> Vec<&str> {
    key.split('.').collect()
}

/// A text in the type that its key has; what does not fit stays a text, which the key's own rule then refuses.
fn shaped(text: &str, shape: Shape) -> toml::Value {
    let parsed = match shape {
        Shape::Flag => text.parse::<bool>().ok().map(toml::Value::from),
        Shape::Number => text.parse::<i64>().ok().map(toml::Value::from),
        Shape::Decimal => {
            text.parse::<i64>().map(toml::Value::from).or_else(|_| text.parse::<f64>().map(toml::Value::from)).ok()
        }
        Shape::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(toml::Value::Array(items.map(toml::Value::from).collect()))
        }
        Shape::Text | Shape::Table => None,
    };
    parsed.unwrap_or_else(|| text.into())
}

/// `conf.d/*.toml` beside the file, in the order of their names.
fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let directory = file.parent().unwrap_or(Path::new("/")).join("conf.d");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((directory, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| (directory.clone(), error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not a regular file")]
    Kind,
    #[error("is larger than 1 MiB, which no configuration is")]
    Size,
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ReadError> {
    // Asked before opening: opening a FIFO would wait for ever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReadError::Kind);
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(ReadError::Size);
    }
    Ok(bytes)
}

/// The path from the root, so that it means the same after a change of directory.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| Path::new("/").join(path))
}
