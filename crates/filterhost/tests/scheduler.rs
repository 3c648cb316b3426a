//! The schedulers keep their promises: one seed is one history, and a deadlock is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use filterhost::{Machine, Mode, Report};
use parking_lot::Mutex;

/// Three threads add their letter to a list, yielding in between.
fn letters(mode: Mode) -> Result<(String, u64), Report> {
    let run = Machine::builder().scheduler(mode).run(|m| {
        let text = Arc::new(Mutex::new(String::new()));
        let threads: Vec<_> = ['a', 'b', 'c']
            .into_iter()
            .map(|letter| {
                let (own, m2) = (text.clone(), m.clone());
                m.sched().spawn(m.system_process(), "writer", move || {
                    for _ in 0..20 {
                        m2.sched().yield_point("write");
                        own.lock().push(letter);
                    }
                })
            })
            .collect();
        for thread in &threads {
            m.sched().join(thread);
        }
        text.lock().clone()
    })?;
    Ok((run.value, run.trace_hash))
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..20 {
        let first = letters(Mode::Seeded(seed)).expect("a good run");
        let second = letters(Mode::Seeded(seed)).expect("a good run");
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn seeds_give_different_histories() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        seen.insert(letters(Mode::Seeded(seed)).expect("a good run").0);
    }
    assert!(
        seen.len() > 10,
        "only {} interleavings in 20 seeds",
        seen.len()
    );
}

#[test]
fn free_threads_all_run() {
    let (text, hash) = letters(Mode::Free).expect("a good run");
    assert_eq!(text.len(), 60);
    assert_eq!(hash, 0);
}

#[test]
fn a_deadlock_is_told_with_what_each_thread_waits_for() {
    let report = Machine::builder()
        .scheduler(Mode::Seeded(1))
        .run(|m| {
            let never = || None::<()>;
            let _ = m.sched().wait_until("the moon", None, never);
        })
        .expect_err("nobody wakes it");
    assert_eq!(report.rule(), "deadlock");
    assert!(report.to_string().contains("the moon"), "{report}");
    assert_eq!(report.seed(), Some(1));
}

#[test]
fn virtual_time_costs_no_real_time() {
    // Ten years: if they were real ones nobody would see the end of this test.
    const YEARS: u64 = 10 * 365 * 24 * 3600;
    let run = Machine::builder()
        .scheduler(Mode::Seeded(3))
        .run(|m| {
            let before = m.sched().now();
            m.sched().sleep(Duration::from_secs(YEARS));
            m.sched().now().0 - before.0
        })
        .expect("a good run");
    assert_eq!(run.value, YEARS * 10_000_000);
}

#[test]
fn notify_wakes_a_waiting_thread() {
    for mode in [Mode::Free, Mode::Seeded(0), Mode::Seeded(7)] {
        let run = Machine::builder().scheduler(mode).run(|m| {
            let flag = Arc::new(AtomicU32::new(0));
            let (own, m2) = (flag.clone(), m.clone());
            m.sched().spawn(m.system_process(), "setter", move || {
                own.store(1, Ordering::Release);
                m2.sched().notify();
            });
            let set = || (flag.load(Ordering::Acquire) == 1).then_some(5);
            m.sched().wait_until("flag", None, set)
        });
        assert_eq!(run.expect("a good run").value, Ok(5));
    }
}

#[test]
#[should_panic(expected = "a claim of the test")]
fn a_panic_of_the_closure_reaches_the_test() {
    let _ = Machine::builder().run(|_| panic!("a claim of the test"));
}
