//! Interrupt request levels of simulated threads.
//!
//! A level belongs to the simulated thread, which stands for the processor it would run on.

use crate::machine;

/// A level as the kernel numbers it on x64.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Irql(pub u8);

/// Normal thread execution.
pub const PASSIVE: Irql = Irql(0);
/// Asynchronous procedure calls are held off.
pub const APC: Irql = Irql(1);
/// The thread cannot wait and page faults are fatal.
pub const DISPATCH: Irql = Irql(2);
/// Any level: the function has no limit.
pub const ANY: Irql = Irql(15);

impl std::fmt::Display for Irql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            PASSIVE => f.write_str("PASSIVE_LEVEL"),
            APC => f.write_str("APC_LEVEL"),
            DISPATCH => f.write_str("DISPATCH_LEVEL"),
            Irql(other) => write!(f, "IRQL {other}"),
        }
    }
}

/// The level of the calling simulated thread.
#[must_use]
pub fn current() -> Irql {
    machine::current_thread().irql()
}
