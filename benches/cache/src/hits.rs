//! How many opens of a history hit, against the best that any policy could do.

use std::collections::{BTreeSet, HashMap};

use crate::ours::Plain;
use crate::peers::{Foyer, Moka, Quick, SccCache, Subject};
use crate::report::Report;
use crate::trace::{self, Trace, key};

/// Percent of the opens after the warm-up.
fn percent(trace: &Trace, mut access: impl FnMut(u64) -> bool) -> f64 {
    let mut hits = 0_usize;
    for (at, file) in trace.opens.iter().enumerate() {
        hits += usize::from(access(*file) && at >= trace.warm_up);
    }
    100.0 * hits as f64 / (trace.opens.len() - trace.warm_up) as f64
}

fn of_subject<S: Subject>(trace: &Trace) -> f64 {
    let subject = S::with_capacity(trace.capacity);
    percent(trace, |file| {
        let key = key(file);
        let hit = subject.get(&key) != 0;
        if !hit {
            subject.put(&key, 1);
        }
        hit
    })
}

fn ours(trace: &Trace) -> f64 {
    let subject = Plain::of(trace.capacity);
    percent(trace, |file| {
        let key = key(file);
        let hit = subject.get(&key) != 0;
        if !hit {
            subject.store(&key);
        }
        hit
    })
}

fn lru(trace: &Trace) -> f64 {
    let (mut at, mut last, mut queue) = (0_u64, HashMap::new(), BTreeSet::new());
    percent(trace, |file| {
        at += 1;
        let before = last.insert(file, at);
        if let Some(before) = before {
            queue.remove(&(before, file));
        }
        queue.insert((at, file));
        if queue.len() > trace.capacity
            && let Some((_, oldest)) = queue.pop_first()
        {
            last.remove(&oldest);
        }
        before.is_some()
    })
}

/// The ceiling: what is wanted again last goes (Belady), which needs to know the future.
fn best(trace: &Trace) -> f64 {
    let mut next = vec![u64::MAX; trace.opens.len()];
    let mut seen = HashMap::new();
    for (at, file) in trace.opens.iter().enumerate().rev() {
        if let Some(later) = seen.insert(*file, at as u64) {
            next[at] = later;
        }
    }
    let (mut at, mut held, mut queue) = (0, HashMap::new(), BTreeSet::new());
    percent(trace, |file| {
        let wanted = next[at];
        at += 1;
        let before = held.insert(file, wanted);
        if let Some(before) = before {
            queue.remove(&(before, file));
        }
        queue.insert((wanted, file));
        if queue.len() > trace.capacity
            && let Some((_, last)) = queue.pop_last()
        {
            held.remove(&last);
        }
        before.is_some()
    })
}

pub fn run(report: &mut Report, peers: bool) {
    let rooms = [9_300, 7_500, 5_000].map(trace::containers);
    for trace in rooms.into_iter().chain([trace::zipf()]) {
        let ceiling = best(&trace);
        let own = ours(&trace);
        let opens = trace.opens.len();
        println!(
            "\nhit ratio, {}: {opens} opens, room for {}",
            trace.name, trace.capacity
        );
        println!("  the best possible    {ceiling:.2} %");
        println!(
            "  siloscan             {own:.2} % ({:.4} of the best)",
            own / ceiling
        );
        println!("  LRU                  {:.2} %", lru(&trace));
        if peers {
            println!("  {:<20} {:.2} %", Quick::NAME, of_subject::<Quick>(&trace));
            println!("  {:<20} {:.2} %", Foyer::NAME, of_subject::<Foyer>(&trace));
            println!("  {:<20} {:.2} %", Moka::NAME, of_subject::<Moka>(&trace));
            let room = Trace {
                capacity: trace.capacity * 4 / 5,
                opens: trace.opens.clone(),
                ..trace
            };
            println!(
                "  {:<20} {:.2} %",
                SccCache::NAME,
                of_subject::<SccCache>(&room)
            );
        }
        if trace.name.starts_with("Zipf") {
            report.gate("hit ratio, Zipf 0.9", "at least", own, 67.6, own >= 67.6);
        } else if trace.capacity == 9_300 {
            let part = own / ceiling;
            report.gate(
                "hit ratio, containers",
                "at least",
                part,
                0.99,
                part >= 0.99,
            );
        }
    }
}
