//! `cargo xtask bench cache`: the scan cache against the floor of memory and every serious peer.

mod avl;
mod hits;
mod memory;
mod ours;
mod peers;
mod probe;
mod report;
mod speed;
mod trace;

use std::process::ExitCode;

use peers::{Avl, DashMap, Floor, Foyer, Locked, Moka, Papaya, Quick, SccCache, SccMap, Subject};
use siloscan_core::key::Key;
use speed::{Filled, MODES, Measured, Plan, Timed};

/// What was asked for.
struct Wish {
    rounds: usize,
    operations: usize,
    sizes: Vec<usize>,
    peers: bool,
    check: bool,
}

fn wish() -> Result<Wish, String> {
    let mut wish = Wish {
        rounds: 15,
        operations: 1_000_000,
        sizes: vec![4 << 10, 64 << 10, 1 << 20],
        peers: true,
        check: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => {
                wish.rounds = 7;
                wish.operations = 200_000;
            }
            "--check" => (wish.check, wish.peers) = (true, false),
            "--no-peers" => wish.peers = false,
            "--size" => {
                let size = words.next().and_then(|text| text.parse().ok());
                wish.sizes = vec![size.ok_or("--size wants a number of entries")?];
            }
            "--rounds" => {
                let rounds = words.next().and_then(|text| text.parse().ok());
                wish.rounds = rounds.ok_or("--rounds wants a number")?;
            }
            other => {
                return Err(format!(
                    "{other}: it takes --quick, --check, --no-peers, --size N, --rounds N"
                ));
            }
        }
    }
    Ok(wish)
}

fn main() -> ExitCode {
    let wish = match wish() {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    let mut report = report::Report::new(wish.check);
    report.machine();
    for size in &wish.sizes {
        table(*size, &wish, &mut report);
    }
    hits::run(&mut report, wish.peers);
    memory::run(&mut report, &wish.sizes, wish.peers);
    report.end()
}

/// Keys that our table holds and that have a line of their own on the floor, nearly as many as it
/// has lines: all subjects get these.
fn resident(size: usize) -> Vec<Key> {
    let ours = <ours::Plain as Subject>::with_capacity(size);
    let mut keys: Vec<Key> = Vec::with_capacity(size);
    let mut next = 0;
    while keys.len() < size * 98 / 100 && next < 64 * size as u64 {
        let mut taken = peers::Lines::taken_by(&keys, size);
        let offered = (next..next + 2 * size as u64).map(trace::key);
        next += 2 * size as u64;
        for key in offered {
            if taken.take(&key) && ours.store(&key) {
                keys.push(key);
            }
        }
        // Those that were stored and turned out again.
        keys.retain(|key| Subject::get(&ours, key) != 0);
    }
    keys
}

fn filled<S: Timed<Asked: Send> + 'static>(keys: &[Key]) -> Box<dyn Measured> {
    Box::new(Filled::<S>::new(keys))
}

fn table(size: usize, wish: &Wish, report: &mut report::Report) {
    let keys = resident(size);
    report.filled(size, keys.len());
    let mut subjects: Vec<Box<dyn Measured>> = vec![
        Box::new(Filled::<Floor>::of(
            <Floor as Subject>::with_capacity(size),
            &keys,
        )),
        filled::<ours::Plain>(&keys),
    ];
    subjects.push(filled::<ours::Told>(&keys));
    subjects.push(filled::<ours::Whole>(&keys));
    subjects.push(filled::<probe::Probe>(&keys));
    subjects.push(filled::<probe::Told>(&keys));
    if wish.peers {
        subjects.push(filled::<Papaya>(&keys));
        subjects.push(filled::<SccMap>(&keys));
        subjects.push(filled::<DashMap>(&keys));
        subjects.push(filled::<Locked>(&keys));
        subjects.push(filled::<Quick>(&keys));
        subjects.push(filled::<SccCache>(&keys));
        subjects.push(filled::<Moka>(&keys));
        subjects.push(filled::<Foyer>(&keys));
        subjects.push(filled::<Avl>(&keys));
    }
    let plan = Plan::new(keys.len());
    for mode in MODES {
        let took = speed::rounds(&subjects, &plan, mode, wish.rounds, wish.operations);
        report.speed(size, mode, &subjects, &took);
    }
}
