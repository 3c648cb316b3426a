//! Nanoseconds of an operation, as a thread sees them. All subjects of a table are measured in
//! turns in each round, so that what else the machine does falls on all of them alike; ratios are
//! made within a round.

use std::hint::black_box;
use std::sync::Barrier;

use siloscan_core::key::Key;

use crate::peers::Subject;
use crate::trace::Dice;

/// How the subjects are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    pub name: &'static str,
    pub threads: usize,
    /// Each look-up waits for the one before, as opens do.
    pub chain: bool,
    /// 95 % look-ups, 4 % insertions, 1 % removals.
    pub mixed: bool,
}

const fn mode(name: &'static str, threads: usize, chain: bool, mixed: bool) -> Mode {
    Mode {
        name,
        threads,
        chain,
        mixed,
    }
}

/// All that is measured.
pub const MODES: [Mode; 6] = [
    mode("look-ups, 1 thread", 1, false, false),
    mode("look-ups, 2 threads", 2, false, false),
    mode("chained, 1 thread", 1, true, false),
    mode("chained, 2 threads", 2, true, false),
    mode("95/4/1, 1 thread", 1, false, true),
    mode("95/4/1, 2 threads", 2, false, true),
];

/// A subject as it is timed: by keys in the form in which its caller keeps them.
pub trait Timed: Sync + Sized {
    const NAME: &'static str;
    /// 32 bytes that name a file.
    type Asked: Copy + Sync;
    fn with_capacity(entries: usize) -> Self;
    fn asked(&self, key: &Key) -> Self::Asked;
    /// Zero where there is nothing.
    fn get(&self, asked: &Self::Asked) -> u64;
    fn put(&self, asked: &Self::Asked, value: u64);
    fn remove(&self, asked: &Self::Asked);
}

impl<S: Subject> Timed for S {
    const NAME: &'static str = S::NAME;
    type Asked = Key;

    fn with_capacity(entries: usize) -> Self {
        S::with_capacity(entries)
    }

    #[inline(always)]
    fn asked(&self, key: &Key) -> Key {
        *key
    }

    #[inline(always)]
    fn get(&self, asked: &Key) -> u64 {
        S::get(self, asked)
    }

    #[inline(always)]
    fn put(&self, asked: &Key, value: u64) {
        S::put(self, asked, value);
    }

    #[inline(always)]
    fn remove(&self, asked: &Key) {
        S::remove(self, asked);
    }
}

/// A subject with its keys in.
pub struct Filled<S: Timed> {
    subject: S,
    keys: Vec<S::Asked>,
}

impl<S: Timed> Filled<S> {
    pub fn new(keys: &[Key]) -> Self {
        Self::of(S::with_capacity(keys.len()), keys)
    }

    pub fn of(subject: S, keys: &[Key]) -> Self {
        let keys: Vec<_> = keys.iter().map(|key| subject.asked(key)).collect();
        for key in &keys {
            subject.put(key, 1);
        }
        Self { subject, keys }
    }
}

/// The order in which the keys of a table are asked for.
pub struct Plan {
    /// Per thread: a position among the keys, with what to do above [`ACTION_SHIFT`].
    order: [Vec<u32>; 2],
}

const ACTION_SHIFT: u32 = 28;
const POSITION: u32 = (1 << ACTION_SHIFT) - 1;
/// Long enough that no order repeats in a measurement of the smallest table.
const ORDER: usize = 1 << 20;

impl Plan {
    pub fn new(keys: usize) -> Self {
        let order = [3, 4].map(|seed| {
            let mut dice = Dice(seed);
            let mut one = || {
                let action = match dice.below(100) {
                    0 => 2,
                    1..=4 => 1,
                    _ => 0,
                };
                dice.below(keys) as u32 | (action << ACTION_SHIFT)
            };
            (0..ORDER).map(|_| one()).collect()
        });
        Self { order }
    }
}

/// What is measured.
pub trait Measured: Sync {
    fn name(&self) -> &'static str;
    /// Nanoseconds of one operation.
    fn measure(&self, plan: &Plan, mode: Mode, operations: usize, offset: usize) -> f64;
}

impl<S: Timed> Measured for Filled<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn measure(&self, plan: &Plan, mode: Mode, operations: usize, offset: usize) -> f64 {
        let barrier = Barrier::new(mode.threads);
        let took: Vec<f64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..mode.threads)
                .map(|thread| {
                    let (barrier, order) = (&barrier, &plan.order[thread]);
                    scope.spawn(move || {
                        barrier.wait();
                        let begun = own_time();
                        match (mode.mixed, mode.chain) {
                            (true, _) => {
                                mixed(&self.subject, &self.keys, order, operations, offset)
                            }
                            (_, true) => {
                                chained(&self.subject, &self.keys, order, operations, offset)
                            }
                            _ => independent(&self.subject, &self.keys, order, operations, offset),
                        }
                        (own_time() - begun) / operations as f64
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a measurement does not fail"))
                .collect()
        });
        took.iter().sum::<f64>() / took.len() as f64
    }
}

fn turns(order: &[u32], operations: usize, offset: usize) -> impl Iterator<Item = u32> {
    let start = offset % order.len();
    let cycle = order[start..].iter().chain(&order[..start]).cycle();
    cycle.take(operations).copied()
}

#[inline(never)]
fn independent<S: Timed>(
    s: &S,
    keys: &[S::Asked],
    order: &[u32],
    operations: usize,
    offset: usize,
) {
    let mut sum = 0_u64;
    for chunk in blocks(order, operations, offset) {
        for turn in chunk {
            sum = sum.wrapping_add(s.get(&keys[(turn & POSITION) as usize]));
        }
    }
    black_box(sum);
}

#[inline(never)]
fn chained<S: Timed>(s: &S, keys: &[S::Asked], order: &[u32], operations: usize, offset: usize) {
    // Always zero, and not known to the compiler: values are never that large.
    let none = black_box(1_u64 << 40);
    let mut last = 0_u64;
    for chunk in blocks(order, operations, offset) {
        for turn in chunk {
            let position = u64::from(turn & POSITION) + (last & none);
            last = s.get(&keys[position as usize]) & (none | 1);
        }
    }
    black_box(last);
}

#[inline(never)]
fn mixed<S: Timed>(s: &S, keys: &[S::Asked], order: &[u32], operations: usize, offset: usize) {
    let mut sum = 0_u64;
    for turn in turns(order, operations, offset) {
        let key = &keys[(turn & POSITION) as usize];
        match turn >> ACTION_SHIFT {
            0 => sum = sum.wrapping_add(s.get(key)),
            1 => s.put(key, 1),
            _ => s.remove(key),
        }
    }
    black_box(sum);
}

/// The order in whole slices, so that walking it costs next to nothing.
fn blocks(order: &[u32], operations: usize, offset: usize) -> impl Iterator<Item = &[u32]> {
    let start = offset % order.len();
    let mut left = operations;
    [&order[start..], &order[..start]]
        .into_iter()
        .cycle()
        .map_while(move |block| {
            let take = block.len().min(left);
            left -= take;
            (take != 0 || left != 0).then_some(&block[..take])
        })
}

/// Nanoseconds that the processor gave to this thread: what other programs take is not in it.
/// A peer that sleeps for a lock is flattered by that.
fn own_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// What the rounds say of one figure: its median, and an interval that holds the true median in
/// 95 of 100 cases whatever the distribution (order statistics).
#[derive(Clone, Copy)]
pub struct Spread {
    pub low: f64,
    pub middle: f64,
    pub high: f64,
}

pub fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let rank = interval_rank(count);
    Spread {
        low: values[rank],
        middle: values[count / 2],
        high: values[count - 1 - rank],
    }
}

/// How many values may be left out at each end: the binomial tail stays below 2.5 %.
fn interval_rank(count: usize) -> usize {
    let mut term = 0.5_f64.powi(count as i32);
    let (mut tail, mut rank) = (term, 0);
    while tail < 0.025 && rank < count / 2 {
        rank += 1;
        term *= (count - rank + 1) as f64 / rank as f64;
        tail += term;
    }
    rank.saturating_sub(1)
}

/// Nanoseconds by subject and round.
pub fn rounds(
    subjects: &[Box<dyn Measured>],
    plan: &Plan,
    mode: Mode,
    rounds: usize,
    operations: usize,
) -> Vec<Vec<f64>> {
    let mut took = vec![Vec::new(); subjects.len()];
    for round in 0..=rounds {
        for turn in 0..subjects.len() {
            let which = (turn + round) % subjects.len();
            let offset = round * 77_777;
            let one = subjects[which].measure(plan, mode, operations, offset);
            // The first round only warms up.
            if round != 0 {
                took[which].push(one);
            }
        }
    }
    took
}
