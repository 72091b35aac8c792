//! Where a command takes a key from: the terminal, standard input, a file, the environment. Never an argument.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::cli::{Exit, Failure};
use crate::credential::key_file;
use crate::os::files;
use crate::secret::Secret;

/// More is no key, in bytes.
const LIMIT: usize = 4096;

/// Sources of a key; without one the key is asked for on the terminal.
#[derive(Debug, Args)]
pub(crate) struct KeyInput {
    /// Read the key from standard input (one line end at its end is cut off)
    #[arg(long, group = "source")]
    stdin: bool,
    /// Read the key from FILE (one line end at its end is cut off)
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) from_file: Option<PathBuf>,
    /// Read the key from the environment variable NAME, for example COMFYUI_API_KEY
    #[arg(long, value_name = "NAME", group = "source")]
    from_env: Option<String>,
}

/// How often a key that nobody sees is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// A mistake is told at once.
    Once,
    /// A mistake would lock everybody out.
    Twice,
}

impl KeyInput {
    /// The key. May be empty: what that means is the command's affair.
    pub(crate) fn read(&self, asking: Asking) -> Result<Secret<Vec<u8>>, Failure> {
        if self.stdin {
            return read_line_of(&mut io::stdin().lock(), "standard input");
        }
        if let Some(path) = &self.from_file {
            return read_file(path);
        }
        if let Some(name) = &self.from_env {
            return read_variable(name);
        }
        ask(asking)
    }
}

/// What is read may be a pipe (`--from-file <(pass show comfyui)`), so only its size is judged.
fn read_file(path: &Path) -> Result<Secret<Vec<u8>>, Failure> {
    let mut file = std::fs::File::open(path)
        .map_err(|error| Failure::new(Exit::NoInput, format!("cannot read {}: {error}", path.display())))?;
    read_line_of(&mut file, &path.display().to_string())
}

fn read_line_of(from: &mut impl io::Read, name: &str) -> Result<Secret<Vec<u8>>, Failure> {
    let content = files::read_at_most(from, LIMIT)
        .map_err(|error| Failure::new(Exit::NoInput, format!("cannot read the key from {name}: {error}")))?
        .ok_or_else(|| Failure::new(Exit::Data, format!("{name} holds more than {LIMIT} bytes, which is no key")))?;
    Ok(Secret::new(key_file::without_line_end(&content).to_vec()))
}

fn read_variable(name: &str) -> Result<Secret<Vec<u8>>, Failure> {
    use std::os::unix::ffi::OsStringExt;
    // `var_os` panics on no name that the kernel can hold, but on these it would find nothing either.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Failure::new(Exit::Usage, format!("\"{name}\" is not the name of an environment variable")));
    }
    match std::env::var_os(name) {
        Some(value) => Ok(Secret::new(value.into_vec())),
        None => Err(Failure::new(
            Exit::NoInput,
            format!("the environment variable {name} is not set (sudo keeps it with `sudo --preserve-env={name}`)"),
        )),
    }
}

fn ask(asking: Asking) -> Result<Secret<Vec<u8>>, Failure> {
    let prompt = |text| {
        let typed = rpassword::prompt_password(text).map_err(|error| {
            Failure::new(
                Exit::NoInput,
                format!("cannot ask for the key on the terminal ({error}); use --stdin, --from-file or --from-env"),
            )
        })?;
        Ok::<_, Failure>(Zeroizing::new(typed))
    };
    let first = prompt("API key (not shown): ")?;
    if asking == Asking::Twice && *prompt("The same again: ")? != *first {
        return Err(Failure::new(Exit::Data, "the two keys are not the same; nothing was changed"));
    }
    Ok(Secret::new(first.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_line_end_is_no_part_of_the_key() {
        for (content, key) in
            [("abc", "abc"), ("abc\n", "abc"), ("abc\r\n", "abc"), ("abc\n\n", "abc\n"), (" abc ", " abc "), ("", "")]
        {
            assert_eq!(read_line_of(&mut content.as_bytes(), "test").unwrap().expose().as_slice(), key.as_bytes());
        }
    }

    #[test]
    fn what_is_no_key_for_its_size_is_not_read_on() {
        let failure = read_line_of(&mut io::repeat(b'x'), "test").unwrap_err();
        assert_eq!(failure.exit, Exit::Data);
    }

    #[test]
    fn a_variable_that_is_not_there_is_named() {
        assert_eq!(read_variable("COMFY_GUARD_NO_SUCH_VARIABLE").unwrap_err().exit, Exit::NoInput);
        for name in ["", "A=B", "A\0"] {
            assert_eq!(read_variable(name).unwrap_err().exit, Exit::Usage);
        }
    }
}
