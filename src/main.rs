//! The program: hands its arguments to the library and ends with what comes back.

use std::process::ExitCode;

fn main() -> ExitCode {
    tollhouse::cli::run(std::env::args_os())
}
