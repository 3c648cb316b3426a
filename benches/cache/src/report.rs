//! The tables on standard output, and the gate.

use std::process::ExitCode;

use crate::peers::Subject;
use crate::speed::{Measured, Mode, Spread, Timed, spread};
use crate::{ours, probe};

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
            "\n{:<29} {:>9}   {:<22} {:<22}",
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
                "  {:<27} {:>9.1}   {:<22} {:<22}",
                subject.name(),
                spread(own.clone()).middle,
                text(against(&took[0])),
                text(against(&took[1])),
            );
        }
        self.gates(size, mode, subjects, took);
    }

    /// The lines of the gate for one table. It is what the probe reached, on another machine: a
    /// line also holds where siloscan is no worse than the probe is here, in the same rounds.
    fn gates(
        &mut self,
        size: usize,
        mode: Mode,
        subjects: &[Box<dyn Measured>],
        took: &[Vec<f64>],
    ) {
        let of = |name| {
            let at = subjects.iter().position(|subject| subject.name() == name);
            at.and_then(|at| took.get(at))
        };
        let (Some(own), Some(probe)) = (of(ours::Told::NAME), of(<probe::Told as Subject>::NAME))
        else {
            return;
        };
        let against = |other: &[f64]| {
            let ratios = own.iter().zip(other).map(|(own, other)| own / other);
            spread(ratios.collect()).high
        };
        let (floor, probe) = (against(&took[0]), against(probe));
        for (_, _, limit) in GATE
            .iter()
            .filter(|gate| gate.0 == size && gate.1 == mode.name)
        {
            let name = format!("{size} entries, {}, volume known", mode.name);
            if floor > *limit && probe <= 1.0 {
                println!("  gate: {name}: {floor:.3}, at most {limit:.3}: more, but");
                println!("        {probe:.3} x the probe in the same rounds: holds");
            } else {
                self.gate(&name, "at most", floor, *limit, floor <= *limit);
            }
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
