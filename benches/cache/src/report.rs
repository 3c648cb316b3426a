//! The tables on standard output, and the gate.

use std::process::ExitCode;

use crate::speed::{Measured, Mode, Spread, spread};

/// What the probe reached against the floor, by entries and mode: the gate.
const GATE: [(usize, &str, f64); 9] = [
    (4 << 10, "look-ups, 2 threads", 16.8 / 9.6),
    (64 << 10, "look-ups, 2 threads", 25.0 / 17.5),
    (1 << 20, "look-ups, 2 threads", 72.6 / 45.6),
    (4 << 10, "chained, 1 thread", 22.8 / 18.8),
    (64 << 10, "chained, 1 thread", 37.6 / 46.0),
    (1 << 20, "chained, 1 thread", 165.0 / 160.0),
    (4 << 10, "95/4/1, 2 threads", 30.0 / 16.0),
    (64 << 10, "95/4/1, 2 threads", 39.0 / 21.0),
    (1 << 20, "95/4/1, 2 threads", 90.0 / 53.0),
];

pub struct Report {
    check: bool,
    missed: Vec<String>,
}

impl Report {
    pub const fn new(check: bool) -> Self {
        Self {
            check,
            missed: Vec::new(),
        }
    }

    /// What else the machine does is part of every figure.
    pub fn machine(&self) {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        println!("{processors} processors, load {}", load.trim());
    }

    pub fn filled(&self, size: usize, held: usize) {
        println!("\n== {size} entries ({held} held; 32-byte keys, 8-byte values)");
    }

    pub fn speed(
        &mut self,
        size: usize,
        mode: Mode,
        subjects: &[Box<dyn Measured>],
        took: &[Vec<f64>],
    ) {
        println!(
            "\n{:<22} {:>9}   {:<22} {:<22}",
            mode.name, "ns", "x floor", "x siloscan"
        );
        for (subject, own) in subjects.iter().zip(took) {
            let against = |other: &[f64]| {
                spread(
                    own.iter()
                        .zip(other)
                        .map(|(own, other)| own / other)
                        .collect(),
                )
            };
            println!(
                "  {:<20} {:>9.1}   {:<22} {:<22}",
                subject.name(),
                spread(own.clone()).middle,
                text(against(&took[0])),
                text(against(&took[1])),
            );
        }
        let ratio = spread(
            took[1]
                .iter()
                .zip(&took[0])
                .map(|(own, floor)| own / floor)
                .collect(),
        );
        for (_, _, limit) in GATE
            .iter()
            .filter(|gate| gate.0 == size && gate.1 == mode.name)
        {
            let name = format!("{size} entries, {}", mode.name);
            self.gate(&name, "at most", ratio.high, *limit, ratio.high <= *limit);
        }
    }

    /// One line of the gate.
    pub fn gate(&mut self, name: &str, what: &str, is: f64, limit: f64, holds: bool) {
        let word = if holds { "holds" } else { "MISSED" };
        println!("  gate: {name}: {is:.3}, {what} {limit:.3}: {word}");
        if !holds {
            self.missed.push(name.to_owned());
        }
    }

    pub fn end(&self) -> ExitCode {
        self.machine();
        if self.missed.is_empty() {
            println!("every gate that was measured holds");
            return ExitCode::SUCCESS;
        }
        println!("missed: {}", self.missed.join("; "));
        if self.check {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

fn text(spread: Spread) -> String {
    let Spread { low, middle, high } = spread;
    format!("{middle:.2} ({low:.2}-{high:.2})")
}
