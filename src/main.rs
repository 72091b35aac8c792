//! The one executable: every command and every role starts here.

use std::process::ExitCode;

fn main() -> ExitCode {
    comfy_guard::main()
}
