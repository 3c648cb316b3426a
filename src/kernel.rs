//! Safe wrappers around the kernel, each with its IRQL. Only this folder, `context.rs`, `ecp.rs`,
//! `port.rs`, `registration.rs` and `lib.rs` may hold unsafe code; the story files may not.
//!
//! Every function has an `# IRQL` line and starts with the matching assertion.

pub mod clock;
pub mod disk;
pub mod etw;
pub mod event;
pub mod file;
pub mod image;
pub mod irql;
pub mod late;
pub mod lock;
pub mod object;
pub mod pool;
pub mod process;
pub mod random;
pub mod redirector;
pub mod registry;
pub mod routine;
pub mod section;
pub mod silo;
pub mod thread;

use crate::sys::NTSTATUS;
use crate::sys::constants::STATUS_UNSUCCESSFUL;

/// A failing status. Success is never stored in one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(NTSTATUS);

impl Status {
    /// A failure that the driver itself reports; a success code becomes `STATUS_UNSUCCESSFUL`.
    #[must_use]
    pub const fn failure(code: NTSTATUS) -> Self {
        if code < 0 {
            Self(code)
        } else {
            Self(STATUS_UNSUCCESSFUL)
        }
    }

    /// The code, always negative.
    #[must_use]
    pub const fn code(self) -> NTSTATUS {
        self.0
    }

    /// `Err` for error and warning codes, as `NT_SUCCESS` has it.
    ///
    /// # Errors
    /// The status itself where it is negative.
    pub const fn check(code: NTSTATUS) -> Result<NTSTATUS, Self> {
        if code < 0 { Err(Self(code)) } else { Ok(code) }
    }
}
