//! `siloscan top`: what driver and service do, live.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};
use siloscan_quarantine::printable_json;
use siloscan_service::metrics::Status;

use crate::ask::Whom;
use frame::frame;

mod frame;

/// Whom to ask, and how often.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    whom: Whom,

    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,

    /// Looks twice, prints what happened in between as text, and ends
    #[arg(long)]
    once: bool,

    /// Prints the service's status at each look, one JSON object a line; with --once, one look
    #[arg(long)]
    json: bool,
}

/// Shows until "q".
pub fn run(options: &Options) -> ExitCode {
    let interval = Duration::from_secs(options.interval);
    let shown = if options.json {
        lines(&options.whom, interval, options.once)
    } else if options.once {
        once(&options.whom, interval)
    } else if io::stdout().is_terminal() {
        live(&options.whom, interval).map_err(|cause| format!("the terminal fails: {cause}"))
    } else {
        Err("the output is no terminal; --once prints one frame as text, --json lines".to_owned())
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("siloscan: {cause}");
            ExitCode::from(2)
        }
    }
}

/// Until nobody reads any more, or the service does not answer.
fn lines(whom: &Whom, interval: Duration, once: bool) -> Result<(), String> {
    loop {
        let status = whom.ask().map_err(|cause| cause.to_string())?;
        let line = serde_json::to_string(&status).map_err(|cause| cause.to_string())?;
        let line = printable_json(&line) + "\n";
        let mut out = io::stdout();
        let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        if once || written.is_err() {
            return Ok(());
        }
        std::thread::sleep(interval);
    }
}

fn once(whom: &Whom, interval: Duration) -> Result<(), String> {
    let before = whom.ask().map_err(|cause| cause.to_string())?;
    std::thread::sleep(interval);
    let now = whom.ask().map_err(|cause| cause.to_string())?;
    // Whoever reads this may have gone.
    let _ = io::stdout().write_all(frame(&before, &now).as_bytes());
    Ok(())
}

/// The terminal while this is there; as it was before, afterwards.
struct Screen(io::Stdout);

impl Screen {
    fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let mut screen = Self(io::stdout());
        execute!(screen.0, EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Shows as much of the text as there is room for.
    fn show(&mut self, text: &str) -> io::Result<()> {
        let (columns, rows) = terminal::size()?;
        let lines = text.lines().take(usize::from(rows));
        for (row, line) in (0..rows).zip(lines) {
            let part: String = line.chars().take(usize::from(columns)).collect();
            queue!(
                self.0,
                cursor::MoveTo(0, row),
                Print(part),
                Clear(ClearType::UntilNewLine)
            )?;
        }
        let shown = text.lines().count().min(usize::from(rows));
        if let Ok(row) = u16::try_from(shown)
            && row < rows
        {
            queue!(
                self.0,
                cursor::MoveTo(0, row),
                Clear(ClearType::FromCursorDown)
            )?;
        }
        self.0.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure.
        let _ = execute!(self.0, cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

fn live(whom: &Whom, interval: Duration) -> io::Result<()> {
    let mut screen = Screen::open()?;
    let mut before = Status::default();
    loop {
        match whom.ask() {
            Ok(now) => {
                screen.show(&frame(&before, &now))?;
                before = now;
            }
            Err(cause) => screen.show(&format!("{cause}\nasking again; q ends this"))?,
        }
        if wait(interval)? {
            return Ok(());
        }
    }
}

/// Waits for the next look. True when somebody wants to leave.
fn wait(interval: Duration) -> io::Result<bool> {
    let end = Instant::now() + interval;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if !event::poll(left)? {
            return Ok(false);
        }
        match event::read()? {
            Event::Key(key) if leaves(key) => return Ok(true),
            Event::Resize(..) => return Ok(false),
            _ => {}
        }
    }
}

fn leaves(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && match key.code {
            KeyCode::Char('q') | KeyCode::Esc => true,
            KeyCode::Char('c') => control,
            _ => false,
        }
}
