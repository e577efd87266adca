//! The program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cip_relay::cli::run(std::env::args_os())
}
