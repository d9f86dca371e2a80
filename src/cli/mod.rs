//! The command line: arguments become a plan, a command is run, its outcome becomes words and an exit code.
//!
//! Results go to standard output, progress and logs to standard error. Nothing but this module prints.

/// In the place of the standard library's, which panics: see `out`.
macro_rules! println {
    ($($text:tt)+) => { $crate::cli::out::line(format_args!($($text)+)) };
    () => { $crate::cli::out::line(format_args!("")) };
}
/// In the place of the standard library's, which panics: see `out`.
macro_rules! eprintln {
    ($($text:tt)+) => { $crate::cli::out::error_line(format_args!($($text)+)) };
}

mod after;
mod args;
mod commands;
mod control;
mod diagnosis;
mod doctor;
mod out;
mod progress_bar;
mod report;
mod switch;

use crate::error::Kind;
use clap::Parser as _;
use std::process::ExitCode;

/// Runs the program with the arguments it was started with.
#[must_use]
pub fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap prints help and versions to standard output with 0, everything else to standard error with 2.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("STORESHIFT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false).init();
    match commands::run(args) {
        Ok(()) if out::is_lost() => {
            eprintln!("error: standard output could not be written, so not all is told there");
            eprintln!(
                "What the command was to do is done. Make room where it is written to, and run it again to be told."
            );
            ExitCode::from(exit_code(Kind::Retry))
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::error(&error);
            ExitCode::from(exit_code(error.kind()))
        }
    }
}

/// The designed exit codes; 0 is done, or nothing to do.
fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Bug => 1,
        Kind::Usage => 2,
        Kind::Retry => 3,
        Kind::Blocked => 4,
        Kind::Disagrees => 5,
    }
}
