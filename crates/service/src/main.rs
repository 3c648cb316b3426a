//! siloscand: the scan service as a program, with YARA-X.
//!
//! Exit codes: 0 nothing was detected, 1 something was, 2 the service could not do its work.

use std::process::ExitCode;
use std::sync::Arc;

use siloscan_service::engine::Yara;
use siloscan_service::program;

fn main() -> ExitCode {
    program::main(Arc::new(Yara))
}
