//! The program `storeshift`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    storeshift::cli::main()
}
