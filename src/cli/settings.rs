//! The part of the configuration that the commands about keys and certificates need.

use crate::cli::{Exit, Failure, Global};
use crate::config::{self, Config, Sources};

/// The configuration, though it may not say yet which ComfyUI to guard: a key is set before that, on a new machine.
pub(crate) fn settings(global: &Global) -> Result<Config, Failure> {
    let load = |overrides| config::load(&Sources::of_process(global.config.clone(), overrides));
    load(Vec::new()).map(|loaded| loaded.config).or_else(|findings| {
        // With any directory filled in, everything else that is wrong is wrong still; then all findings are told.
        let filled_in = vec![("comfyui.directory".to_owned(), toml::Value::from("/"))];
        load(filled_in).map(|loaded| loaded.config).map_err(|_| Failure::new(Exit::Config, findings))
    })
}
