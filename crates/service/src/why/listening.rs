//! The loop: takes events, shows what is chosen, counts what came.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use siloscan_core::trace::{ToldError, TraceId};

use super::chosen::Chosen;
use super::source::{Raw, Source, SourceError};
use super::{Options, Told, line};

/// Longest wait for events: so late an end is noticed that was asked for.
const LOOK_UP: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listened {
    /// Opens that the driver told, shown or not.
    pub opens: u64,
    /// How many of them were decided how; what was not decided, by its route.
    pub decisions: BTreeMap<String, u64>,
    /// Events that were shown.
    pub shown: u64,
    /// How many of these were denied or detected.
    pub found: u64,
    /// Events that were lost on the way here.
    pub lost: u64,
    /// Events that could not be read.
    pub unread: u64,
    /// Why the first of them could not.
    pub why_unread: Option<ToldError>,
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Nothing more comes.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What is shown cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl Listened {
    /// For a person, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut text = format!("{} opens seen, {} lines shown", self.opens, self.shown);
        let mut parts: Vec<_> = self.decisions.iter().collect();
        parts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let parts: Vec<_> = parts
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if !parts.is_empty() {
            text = format!("{text}; {}", parts.join(", "));
        }
        text = format!("{text}; {} events lost", self.lost);
        if let Some(cause) = &self.why_unread {
            text = format!("{text}; {} not understood, the first: {cause}", self.unread);
        }
        if self.opens == 0 && self.lost == 0 {
            text.push_str("; if there should have been some, look whether the driver is loaded");
        }
        text
    }

    fn count(&mut self, told: &Told) {
        if told.id != TraceId::Open {
            return;
        }
        self.opens += 1;
        let name = match told.text("Decision") {
            "" => told.text("Route"),
            decision => decision,
        };
        match self.decisions.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                // The driver's names are few; a stranger's are not let in.
                let name = if self.decisions.len() < DECISIONS_MAX {
                    siloscan_quarantine::printable(name)
                } else {
                    "other".to_owned()
                };
                *self.decisions.entry(name).or_default() += 1;
            }
        }
    }
}

/// Names of decisions that are counted apart.
const DECISIONS_MAX: usize = 64;

/// Shows what the source gives until the options' limits are reached, `stopped` says so, or nobody
/// reads any more. `listened` then has what came of it, also after an error.
///
/// # Errors
/// [`ListenError`].
pub(super) fn listen(
    source: &mut dyn Source,
    options: &Options,
    out: (&mut dyn Write, bool),
    stopped: impl Fn() -> bool,
    listened: &mut Listened,
) -> Result<(), ListenError> {
    let (out, colours) = out;
    let chosen = Chosen::new(options);
    let end = options.time().map(|time| Instant::now() + time);
    while !stopped() {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        let batch = source.take(left.unwrap_or(LOOK_UP).min(LOOK_UP))?;
        listened.lost += batch.lost;
        for raw in &batch.events {
            let Some(told) = read(raw, listened) else {
                continue;
            };
            if !chosen.shows(&told) {
                continue;
            }
            let text = match options.json {
                true => line::json(&told, options.explain),
                false => line::plain(&told, colours, options.explain),
            };
            match out.write_all(text.as_bytes()) {
                Ok(()) => {}
                Err(gone) if gone.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(cause) => return Err(ListenError::Output(cause)),
            }
            listened.shown += 1;
            listened.found += u64::from(told.is_finding());
            if options.count.is_some_and(|count| listened.shown >= count) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads and counts an event.
fn read(raw: &Raw, listened: &mut Listened) -> Option<Told> {
    match Told::read(raw) {
        Ok(told) => {
            listened.count(&told);
            Some(told)
        }
        Err(error) => {
            listened.unread += 1;
            listened.why_unread.get_or_insert(error);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::source::Batch;
    use siloscan_core::trace::TRACE_EVENTS;

    /// Gives what was written down, then ends.
    struct Script(Vec<Batch>);

    impl Source for Script {
        fn take(&mut self, _wait: Duration) -> Result<Batch, SourceError> {
            self.0
                .pop()
                .ok_or_else(|| SourceError::Ended("the end".to_owned()))
        }
    }

    /// An open without anything to say, with `left` bytes too many.
    fn open(left: usize) -> Raw {
        let event = TraceId::Open.event().unwrap();
        Raw {
            time: 0,
            level: event.level as u8,
            keyword: event.keyword,
            metadata: event.metadata.to_vec(),
            // Five texts of no length, the time, the container, the process.
            values: vec![0; 5 * 2 + 8 + 16 + 8 + left],
        }
    }

    /// Somebody who goes away.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What came of listening to these events, what was written, and how it ended.
    fn listened(
        events: Vec<Raw>,
        options: &Options,
        stop: bool,
    ) -> (Listened, usize, Result<(), ListenError>) {
        let mut script = Script(vec![Batch { events, lost: 3 }]);
        let (mut out, mut listened) = (Vec::new(), Listened::default());
        let out_to = (&mut out as &mut dyn Write, false);
        let ended = listen(&mut script, options, out_to, || stop, &mut listened);
        let lines = String::from_utf8(out).unwrap().lines().count();
        (listened, lines, ended)
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_told_and_ends_nothing() {
        let mut events = vec![open(1), open(0), open(7)];
        events.extend(TRACE_EVENTS.iter().map(|event| Raw {
            metadata: event.metadata[..5].to_vec(),
            ..open(0)
        }));
        let unread = events.len() as u64 - 1;
        events.extend([open(0), open(0), open(0)]);
        let two = Options {
            count: Some(2),
            ..Options::default()
        };
        let (counts, lines, ended) = listened(events.clone(), &two, false);
        assert!(ended.is_ok());
        assert_eq!((counts.shown, counts.opens, counts.lost), (2, 2, 3));
        assert_eq!((counts.unread, lines), (unread, 2));
        assert_eq!(counts.why_unread, Some(ToldError::Left("Open", 1)));
        let summary = counts.summary();
        for part in [
            "2 opens seen",
            "3 events lost",
            "not understood",
            "1 bytes too many",
        ] {
            assert!(summary.contains(part), "{part} is not in {summary}");
        }
        // What came before the source's end is not forgotten.
        let (counts, lines, ended) = listened(events, &Options::default(), false);
        assert!(matches!(ended, Err(ListenError::Source(_))));
        assert_eq!((counts.opens, lines), (4, 4));
    }

    #[test]
    fn it_ends_when_asked_when_its_time_is_over_and_when_nobody_reads() {
        let (counts, _, ended) = listened(vec![open(0)], &Options::default(), true);
        assert!(ended.is_ok());
        assert_eq!(counts, Listened::default());
        let over = Options {
            seconds: Some(0),
            ..Options::default()
        };
        let (counts, _, ended) = listened(vec![open(0)], &over, false);
        assert!(ended.is_ok());
        assert!(counts.summary().contains("is loaded"));
        let (mut script, mut counts) = (
            Script(vec![Batch {
                events: vec![open(0)],
                lost: 0,
            }]),
            Listened::default(),
        );
        let gone = (&mut Gone as &mut dyn Write, false);
        let options = Options::default();
        assert!(listen(&mut script, &options, gone, || false, &mut counts).is_ok());
        assert_eq!((counts.opens, counts.shown), (1, 0));
    }
}
