//! `comfy-guard documents DIR`: the manual pages and the shells' completions, made from what the commands say of themselves, so
//! that none of it is written twice. Run when a package is built; hidden from everybody else.

mod settings_page;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Arguments, Exit, Failure};
use crate::os::files;

/// Commands for an administrator: section 8 (man-pages(7)).
const SECTION: &str = "8";
const MANUAL: &str = "comfy-guard";
const SOURCE: &str = concat!("comfy-guard ", env!("CARGO_PKG_VERSION"));
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// What the page of the whole program names beside its commands.
const FILES: [(&str, &str); 4] = [
    ("/etc/comfy-guard/config.toml", "The configuration; each key is explained in comfy-guard.toml(5)."),
    ("/etc/comfy-guard/conf.d/*.toml", "Read after it, in the order of their names."),
    ("/etc/comfy-guard/key", "The hash of the key, written by comfy-guard-set-key(8)."),
    ("/var/lib/comfy-guard", "The guard's own certificates and the sessions of browsers."),
];

/// Write manual pages and shell completions into a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The day that the manual pages name, YYYY-MM-DD: of the release, so that two builds make the same
    #[arg(long, value_name = "DAY")]
    date: String,
    /// The directory, which must exist
    directory: PathBuf,
}

/// Writes `*.8`, `*.5` and one completion for each shell.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let documents = documents(&visible(&Arguments::command()), &args.date)
        .map_err(|error| Failure::new(Exit::Software, format!("the manual cannot be made: {error}")))?;
    for (name, content) in documents {
        let path = args.directory.join(name);
        write(&path, &content)?;
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    files::replace(path, content, 0o644, None)
        .map_err(|error| Failure::new(Exit::CannotCreate, format!("cannot write {}: {error}", path.display())))
}

/// The commands without the hidden ones, which the generators for shells would offer.
fn visible(command: &Command) -> Command {
    Command::new("comfy-guard")
        .version(env!("CARGO_PKG_VERSION"))
        .about(command.get_about().cloned().unwrap_or_default())
        .args(command.get_arguments().cloned())
        .subcommands(command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned())
        .disable_help_subcommand(true)
}

/// Every file with its name.
fn documents(command: &Command, date: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut made = Vec::new();
    let mut built = command.clone();
    built.build();
    add_pages(&built, date, &mut made)?;
    let heading = ["comfy-guard.toml", "5", date, SOURCE, MANUAL];
    made.push(("comfy-guard.toml.5".to_owned(), settings_page::page(heading).render().into_bytes()));
    for shell in SHELLS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), "comfy-guard", &mut script);
        made.push((completion_name(shell).to_owned(), script));
    }
    Ok(made)
}

/// A page for `command` and one for each command below it.
fn add_pages(command: &Command, date: &str, made: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    for sub in command.get_subcommands() {
        add_pages(sub, date, made)?;
    }
    let page = Man::new(command.clone()).section(SECTION).date(date).source(SOURCE).manual(MANUAL);
    let mut content = Vec::new();
    page.render(&mut content)?;
    further(command.get_name() == "comfy-guard").to_writer(&mut content)?;
    made.push((page.get_filename(), content));
    Ok(())
}

/// What clap knows nothing of.
fn further(is_whole: bool) -> Roff {
    let mut roff = Roff::new();
    if !is_whole {
        roff.control("SH", ["SEE ALSO"]).text([
            bold("comfy-guard"),
            roman("(8), "),
            bold("comfy-guard.toml"),
            roman("(5)"),
        ]);
        return roff;
    }
    roff.control("SH", ["FILES"]);
    for (path, what) in FILES {
        roff.control("TP", []).text([bold(path)]).text([roman(what)]);
    }
    roff.control("SH", ["EXIT STATUS"]).text([roman(
        "0 when all is done, 1 where the answer is no, otherwise the codes of sysexits.h: 64 for a wrong command line, \
         77 for what the caller may not do, 78 for a wrong configuration.",
    )]);
    roff.control("SH", ["SEE ALSO"]).text([
        bold("comfy-guard.toml"),
        roman("(5), "),
        bold("systemd.service"),
        roman("(5)"),
    ]);
    roff
}

fn completion_name(shell: Shell) -> &'static str {
    match shell {
        Shell::Zsh => "_comfy-guard",
        Shell::Fish => "comfy-guard.fish",
        _ => "comfy-guard.bash",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all() -> Vec<(String, Vec<u8>)> {
        documents(&visible(&Arguments::command()), "2026-01-31").unwrap()
    }

    #[test]
    fn every_command_that_help_shows_has_a_page_and_every_shell_a_completion() {
        let names: Vec<String> = all().into_iter().map(|(name, _)| name).collect();
        for name in ["comfy-guard.8", "comfy-guard-set-key.8", "comfy-guard-sessions-list.8", "comfy-guard.toml.5"] {
            assert!(names.iter().any(|made| made == name), "{name} in {names:?}");
        }
        for sub in Arguments::command().get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let name = format!("comfy-guard-{}.8", sub.get_name());
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for name in ["comfy-guard.bash", "_comfy-guard", "comfy-guard.fish"] {
            assert!(names.iter().any(|made| made == name), "{name} in {names:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_in_no_document() {
        for (name, content) in all() {
            let text = String::from_utf8(content).unwrap();
            for hidden in ["sensor", "documents"] {
                let offered = text.contains(&format!("comfy\\-guard\\-{hidden}"))
                    || text.contains(&format!("comfy-guard-{hidden}"))
                    || text.contains(&format!("comfy__guard,{hidden}"))
                    || text.contains(&format!("-a \"{hidden}\""));
                assert!(!offered, "{hidden} in {name}");
            }
        }
    }
}
