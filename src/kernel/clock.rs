//! Time in 100 ns units since boot, and the relative time-outs that waits and messages take.
#![expect(unsafe_code, reason = "calls the kernel's clock")]

/// 100 ns units of one millisecond.
pub const MILLISECOND: u64 = 10_000;

/// A point in time, in 100 ns since boot; sleep does not count.
pub type Time = u64;

/// Now.
///
/// # IRQL
/// Any.
#[must_use]
pub fn now() -> Time {
    // SAFETY: the routine takes nothing and may be called at any level.
    unsafe { wdk_sys::ntddk::KeQueryUnbiasedInterruptTime() }
}

/// Now, more exactly than [`now`] and more slowly: to measure with.
///
/// # IRQL
/// Any.
#[must_use]
pub fn precise() -> Time {
    let mut counter = 0;
    // SAFETY: the routine may be called at any level; the output outlives the call.
    unsafe { crate::sys::KeQueryInterruptTimePrecise(&raw mut counter) }
}

/// `milliseconds` after `start`.
#[must_use]
pub const fn after(start: Time, milliseconds: u64) -> Time {
    start.saturating_add(milliseconds.saturating_mul(MILLISECOND))
}

/// What is left until `deadline`, as the kernel's relative (negative) time-out. Never zero, which
/// the Filter Manager takes for "wait for ever": a deadline in the past is the shortest wait.
#[must_use]
pub fn until(deadline: Time) -> i64 {
    let left = deadline.saturating_sub(now()).max(1);
    i64::try_from(left).unwrap_or(i64::MAX).wrapping_neg()
}

/// Whole milliseconds left until `deadline`.
#[must_use]
pub fn milliseconds_left(deadline: Time) -> u32 {
    let left = deadline.saturating_sub(now()) / MILLISECOND;
    u32::try_from(left).unwrap_or(u32::MAX)
}
