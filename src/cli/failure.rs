//! How a command fails: a message for the person, an exit code for the script.

use std::fmt;
use std::process::ExitCode;

/// Exit codes after sysexits.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The answer is no (`verify-key`, `status`, `doctor`): not an error.
    No = 1,
    /// EX_USAGE: the command line is wrong.
    Usage = 64,
    /// EX_DATAERR: what was given in is not acceptable.
    Data = 65,
    /// EX_NOINPUT: a named file cannot be read.
    NoInput = 66,
    /// EX_NOUSER: a configured user does not exist.
    NoUser = 67,
    /// EX_UNAVAILABLE: something needed is not there.
    Unavailable = 69,
    /// EX_SOFTWARE: a defect of the guard itself.
    Software = 70,
    /// EX_OSERR: the system refused something.
    System = 71,
    /// EX_CANTCREAT: a file cannot be written.
    CannotCreate = 73,
    /// EX_NOPERM: the caller may not do this.
    NoPermission = 77,
    /// EX_CONFIG: the configuration is wrong.
    Config = 78,
}

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For the script.
    pub(crate) exit: Exit,
    /// For the person: what, and the cure.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with this code and this message.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// A failure that has been shown already: the code alone.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self { exit, message: String::new() }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
