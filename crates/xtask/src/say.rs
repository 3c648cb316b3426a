//! What the person at the terminal sees: one line per step, a moving line while something runs.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Prints steps to standard error, so that standard output stays for results.
pub struct Say {
    terminal: bool,
    quiet: bool,
    last: Instant,
    moving: bool,
}

impl Say {
    /// Steps are shown; on a terminal the moving line is redrawn in place.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            terminal,
            quiet,
            last: Instant::now(),
            moving: false,
        }
    }

    /// A finished step.
    pub fn step(&mut self, name: &str, text: &str) {
        self.clear();
        if !self.quiet {
            eprintln!("{} {text}", self.bold(&format!("{name:>12}")));
        }
    }

    /// Where a long step is. Off a terminal it prints at most every 15 seconds.
    pub fn moving(&mut self, name: &str, text: &str) {
        let pause = if self.terminal {
            Duration::from_millis(80)
        } else {
            Duration::from_secs(15)
        };
        if self.quiet || (self.moving && self.last.elapsed() < pause) {
            return;
        }
        self.last = Instant::now();
        if self.terminal {
            eprint!("\r\x1b[2K{} {text:.64}", self.bold(&format!("{name:>12}")));
            std::io::stderr().flush().ok();
        } else if self.moving {
            eprintln!("{name:>12} {text}");
        }
        self.moving = true;
    }

    /// Takes the moving line away, before something else prints.
    pub fn clear(&mut self) {
        if self.moving && self.terminal {
            eprint!("\r\x1b[2K");
        }
        self.moving = false;
    }

    fn bold(&self, text: &str) -> String {
        if self.terminal {
            format!("\x1b[1;36m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A duration as a person reads it: `0.4 s`, `12 s`, `3 min 05 s`.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// A size as a person reads it.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
