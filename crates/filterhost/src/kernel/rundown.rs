//! Rundown protection: references to something that may be torn down.
//!
//! The word holds twice the number of references; its lowest bit says that rundown has begun.

use super::dispatcher::locked;
use crate::exports;
use crate::exports::Call;
use crate::memory;
use crate::verifier;

const ACTIVE: usize = 1;
const ONE: usize = 2;

fn acquire(c: &Call<'_>, word: *mut usize, count: u32) -> u8 {
    let more = ONE.saturating_mul(count as usize);
    let taken = locked(c.m, || {
        let now = memory::read(word);
        let free = now & ACTIVE == 0;
        if free {
            memory::write(word, now.saturating_add(more));
        }
        free
    });
    u8::from(taken)
}

fn release(c: &Call<'_>, word: *mut usize, count: u32) {
    let less = ONE.saturating_mul(count as usize);
    let left = locked(c.m, || {
        let now = memory::read(word);
        let left = now.checked_sub(less);
        memory::write(word, left.unwrap_or(now));
        left
    });
    if left.is_none() {
        c.violation(
            &verifier::sync::RUNDOWN,
            "released more often than acquired",
        );
    }
    c.m.sched().notify();
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Makes a rundown reference without holders.
    [APC, 0, "wdm/nf-wdm-exinitializerundownprotection"]
    fn ExInitializeRundownProtection(_c, word: *mut usize) {
        memory::write(word, 0);
    }

    /// Makes it usable again after a finished rundown.
    [APC, 0, "wdm/nf-wdm-exreinitializerundownprotection"]
    fn ExReInitializeRundownProtection(c, word: *mut usize) {
        if memory::read(word) & !ACTIVE != 0 {
            let detail = "made usable again before its rundown finished";
            c.violation(&verifier::sync::RUNDOWN_REUSED, detail);
        }
        memory::write(word, 0);
    }

    /// Takes a reference; 0 once rundown has begun.
    [DISPATCH, 0, "wdm/nf-wdm-exacquirerundownprotection"]
    fn ExAcquireRundownProtection(c, word: *mut usize) -> u8 {
        acquire(c, word, 1)
    }

    /// Takes several references; 0 once rundown has begun.
    [DISPATCH, 0, "wdm/nf-wdm-exacquirerundownprotectionex"]
    fn ExAcquireRundownProtectionEx(c, word: *mut usize, count: u32) -> u8 {
        acquire(c, word, count)
    }

    /// Gives a reference back.
    [DISPATCH, 0, "wdm/nf-wdm-exreleaserundownprotection"]
    fn ExReleaseRundownProtection(c, word: *mut usize) {
        release(c, word, 1);
    }

    /// Gives several references back.
    [DISPATCH, 0, "wdm/nf-wdm-exreleaserundownprotectionex"]
    fn ExReleaseRundownProtectionEx(c, word: *mut usize, count: u32) {
        release(c, word, count);
    }

    /// Refuses new references and waits until there are none.
    [APC, 0, "wdm/nf-wdm-exwaitforrundownprotectionrelease"]
    fn ExWaitForRundownProtectionRelease(c, word: *mut usize) {
        locked(c.m, || memory::write(word, memory::read(word) | ACTIVE));
        let none = || locked(c.m, || (memory::read(word) == ACTIVE).then_some(()));
        let waited = c.m.sched().wait_until(c.info.name, None, none);
        debug_assert!(waited.is_ok(), "a wait without deadline cannot time out");
    }

    /// Says that rundown is done, without waiting.
    [APC, 0, "wdm/nf-wdm-exrundowncompleted"]
    fn ExRundownCompleted(_c, word: *mut usize) {
        memory::write(word, ACTIVE);
    }
}
