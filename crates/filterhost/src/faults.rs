//! Faults on demand: the nth allocation, or the nth call of a function, fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// What is to fail in one machine, and how often things were called.
#[derive(Default)]
pub struct Faults {
    allocations: AtomicU64,
    /// Number of the allocation to fail, counted from 1; 0 is none.
    failing_allocation: AtomicU64,
    calls: Mutex<BTreeMap<&'static str, u64>>,
    failing_calls: Mutex<BTreeMap<String, Vec<u64>>>,
    failing_always: Mutex<BTreeSet<String>>,
}

impl Faults {
    /// Makes the `nth` pool allocation from now on fail (1 is the next one).
    pub fn fail_allocation(&self, nth: u64) {
        let seen = self.allocations.load(Ordering::Relaxed);
        self.failing_allocation
            .store(seen.saturating_add(nth), Ordering::Relaxed);
    }

    /// Makes the `nth` call of the named function from now on fail (1 is the next one), with the
    /// status that its declaration names. Functions that cannot fail ignore it.
    pub fn fail_call(&self, name: &str, nth: u64) {
        let seen = self.calls.lock().get(name).copied().unwrap_or(0);
        let mut failing = self.failing_calls.lock();
        failing
            .entry(name.to_owned())
            .or_default()
            .push(seen.saturating_add(nth));
    }

    /// From now on every call of the named function fails, or none any more for this reason.
    pub fn fail_every_call(&self, name: &str, failing: bool) {
        let mut always = self.failing_always.lock();
        if failing {
            always.insert(name.to_owned());
        } else {
            always.remove(name);
        }
    }

    /// Counts an allocation; true when it is to fail.
    pub fn allocation(&self) -> bool {
        let number = self.allocations.fetch_add(1, Ordering::Relaxed) + 1;
        number == self.failing_allocation.load(Ordering::Relaxed)
    }

    /// Counts a call; true when it is to fail.
    pub fn call(&self, name: &'static str) -> bool {
        let number = {
            let mut calls = self.calls.lock();
            let count = calls.entry(name).or_insert(0);
            *count += 1;
            *count
        };
        let failing = self.failing_calls.lock();
        let numbered = failing
            .get(name)
            .is_some_and(|numbers| numbers.contains(&number));
        numbered || self.failing_always.lock().contains(name)
    }

    /// Number of pool allocations so far.
    #[must_use]
    pub fn allocations(&self) -> u64 {
        self.allocations.load(Ordering::Relaxed)
    }

    /// How often each function that may fail was called.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.calls.lock().clone()
    }
}
