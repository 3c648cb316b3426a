//! What the service tells the outside: one structured record for each thing that an operator would
//! ask about.
//!
//! A thread that answers scans must not open or write anything that the driver guards, so a sink
//! never writes on the thread that reports: [`EventQueue`] hands records to a thread of its own,
//! and drops and counts what that thread cannot keep up with.

mod log;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::policy::Action;

/// Records that wait for the writing thread at most.
const QUEUE_RECORDS_MAX: usize = 4096;

/// A scan that ended in something to report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScanRecord {
    /// The driver's number of the request.
    pub request: u64,
    /// Name of the file as it was opened; not UTF-16 is shown with replacement characters.
    pub path: String,
    /// True when the driver cut the name to what a request can carry.
    pub path_is_cut: bool,
    /// The container that opened it, or nothing for the host.
    pub container: Option<String>,
    /// The process that opened it.
    pub process: u64,
    /// Volume of the file that holds the bytes, or nothing where it has no key.
    pub volume: Option<String>,
    /// 128-bit id of that file, or nothing where it has no key.
    pub file_id: Option<String>,
    /// True when the bytes were looked at because a writer closed the file.
    pub on_close: bool,
    /// Bytes of the file.
    pub bytes: u64,
    /// Time from the request to the reply, in microseconds.
    pub microseconds: u64,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A rule matched.
    Detection {
        /// The rule.
        rule: String,
        /// The rule's file.
        origin: String,
        /// Where the verdict was kept, `local` or `fleet`, if the file was not scanned.
        #[serde(skip_serializing_if = "Option::is_none")]
        known: Option<&'static str>,
        /// The digest of the rule set.
        rules: String,
        /// What the driver was answered. What is moved to the quarantine afterwards is told by
        /// [`Event::Quarantined`].
        action: Action,
        /// What was scanned.
        #[serde(flatten)]
        scan: ScanRecord,
    },
    /// A rule matched in a content that the operator allows. Beside its [`Event::Detection`].
    Allowed {
        /// SHA-256 of the content, in hex.
        sha256: String,
        /// The rule.
        rule: String,
        /// What was scanned.
        #[serde(flatten)]
        scan: ScanRecord,
    },
    /// A container's own file is in the quarantine, and no more where it was.
    Quarantined {
        /// The item.
        item: String,
        /// The rule.
        rule: String,
        /// What was scanned.
        #[serde(flatten)]
        scan: ScanRecord,
    },
    /// A container's own file was to go to the quarantine, and is still where it was. The driver
    /// denies it as before.
    NotQuarantined {
        /// Why, and what to do.
        cause: String,
        /// The item, where the quarantine has the content already.
        #[serde(skip_serializing_if = "Option::is_none")]
        item: Option<String>,
        /// The rule.
        rule: String,
        /// What was scanned.
        #[serde(flatten)]
        scan: ScanRecord,
    },
    /// A rule matched in a file of a layer, which is never touched. Once for each file and rule
    /// set. What is not known is absent.
    LayerDetection {
        /// What is known of the layer.
        #[serde(flatten)]
        found: crate::remedy::FoundInLayer,
        /// The rule.
        rule: String,
        /// The digest of the rule set.
        rules: String,
        /// What was scanned.
        #[serde(flatten)]
        scan: ScanRecord,
    },
    /// No verdict could be earned.
    Unscannable {
        /// Why.
        cause: String,
        /// What was to be scanned.
        #[serde(flatten)]
        scan: ScanRecord,
    },
    /// A file's content ended so many workers that it is not scanned until the next rule set.
    Killer {
        /// SHA-256 of the content, in hex.
        sha256: String,
        /// The scan that ended the last one.
        #[serde(flatten)]
        scan: ScanRecord,
    },
    /// A rule set is in use from now on.
    Rules {
        /// Its digest.
        digest: String,
        /// How many rules it has.
        rules: usize,
    },
    /// A rule file or folder was left out.
    BrokenRules {
        /// File, line and cause in one sentence.
        cause: String,
    },
    /// Something is wrong with the verdicts that are kept; files are scanned instead.
    BrokenVerdicts {
        /// What and where, and the next step.
        cause: String,
    },
    /// An entry of the exclusions was left out.
    BrokenExclusions {
        /// File, line and cause in one sentence.
        cause: String,
    },
    /// What is excluded from now on.
    Exclusions {
        /// How many containers.
        containers: usize,
        /// How many images.
        images: usize,
        /// How many layers.
        layers: usize,
        /// How many contents are allowed.
        files: usize,
    },
    /// The file of configuration has changed, and was taken up.
    Configuration {
        /// Keys that have their new settings.
        now: Vec<String>,
        /// Keys that keep their old ones until the next start.
        at_the_next_start: Vec<String>,
    },
    /// The file of configuration has changed, and nothing of it was taken up.
    BrokenConfiguration {
        /// All that is wrong, each with its line.
        cause: String,
    },
    /// The runtime told which image a container was started from. Only while images are excluded.
    ContainerImage {
        /// The container's id, as the driver knows it.
        container: Option<String>,
        /// Its id in the runtime.
        id: String,
        /// The image.
        image: String,
        /// The folders of its layers, topmost first.
        layers: Vec<String>,
    },
    /// How many opens an exclusion let through, once for each at the end.
    ExclusionHits {
        /// `container`, `image` or `layer`.
        kind: &'static str,
        /// Which one, as the file of exclusions names it.
        name: String,
        /// Opens.
        hits: u64,
    },
    /// The driver accepted the connection.
    Connected,
    /// The connection ended.
    Disconnected {
        /// Why.
        cause: String,
    },
    /// A message made no sense.
    BadMessage {
        /// What is wrong with it.
        cause: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// An open met a verdict of signatures before those in use: a proactive scan of what
    /// containers start from is wanted. Once per epoch of the driver.
    WarmWanted {
        /// The driver's epoch.
        epoch: u64,
    },
    /// A proactive scan of a volume's layers begins.
    ProactiveBegun {
        /// The volume; nothing for folders whose volume cannot be told.
        volume: Option<String>,
        /// The driver's epoch.
        epoch: u64,
        /// How many layers it has.
        layers: usize,
    },
    /// The files of a layer were opened.
    ProactiveLayer {
        /// Where they lie.
        folder: String,
        /// Opens that succeeded.
        opened: u64,
        /// Sizes of those files.
        bytes: u64,
        /// Files and folders that went away first, or that somebody wanted.
        gone: u64,
        /// Files that were refused because something was found in them.
        infected: u64,
        /// Files and folders that could not be opened.
        failed: u64,
        /// The first of the infected ones.
        infected_files: Vec<String>,
        /// The first of those that failed, each with its cause.
        failed_files: Vec<String>,
    },
    /// A proactive scan opens nothing for now; once a scan.
    ProactivePaused {
        /// As above.
        volume: Option<String>,
        /// Why.
        cause: String,
    },
    /// A proactive scan has ended.
    ProactiveDone {
        /// As above.
        volume: Option<String>,
        /// The driver's epoch.
        epoch: u64,
        /// The driver has taken the report that all is scanned and clean.
        covered: bool,
        /// Why there was no such report.
        causes: Vec<String>,
        /// Files that were opened.
        files: u64,
        /// How long it took.
        milliseconds: u64,
    },
    /// Something of a runtime's store could not be read, so that layers may be missing.
    BrokenLayers {
        /// Path and cause in one sentence.
        cause: String,
    },
    /// The counts of this run, once, at its end.
    Summary(crate::stats::Figures),
    /// What the verdicts that are kept were good for, once, at the end.
    Verdicts(siloscan_verdicts::Figures),
    /// What the driver had counted when it told its counters last, once, at the end.
    DriverCounts {
        /// The counts that are not zero, each as `kind/reason`.
        counts: std::collections::BTreeMap<String, u64>,
    },
    /// What the driver had counted of one container, once for each, at the end. Opens that the
    /// cache answered with "clean" are not in it.
    Container {
        /// The container's id.
        container: Option<String>,
        /// Opens that were looked at, other than those.
        opens: u64,
        /// Of these, the refused ones.
        denied: u64,
        /// Of these, the ones of files that could not be scanned.
        failed: u64,
        /// Opens out of silos within it that the host compute service did not make.
        foreign: u64,
        /// What its opens waited for verdicts, in microseconds.
        waited_us: u64,
        /// Of its opens, those in the first minute since its first open.
        start_opens: u64,
        /// What those waited: its start tax, in microseconds.
        start_waited_us: u64,
    },
}

impl Event {
    /// How many opens an exclusion let through.
    #[must_use]
    pub fn excluded(hits: &crate::exclusions::Hits) -> Self {
        Self::ExclusionHits {
            kind: hits.exclusion.kind(),
            name: hits.exclusion.name(),
            hits: hits.hits,
        }
    }

    /// What the driver counted of one container.
    #[must_use]
    pub fn of_container(tally: &siloscan_core::tally::Tally) -> Self {
        Self::Container {
            container: crate::job::guid_text(&tally.container),
            opens: tally.opens,
            denied: tally.denied,
            failed: tally.failed,
            foreign: tally.foreign,
            waited_us: tally.waited / 10,
            start_opens: tally.start_opens,
            start_waited_us: tally.start_waited / 10,
        }
    }
}

/// Takes records. Called by threads that answer scans, so it neither waits nor opens anything.
pub trait EventSink: Send + Sync {
    /// Takes one record.
    fn report(&self, event: Event);
}

/// Keeps nothing.
pub struct NoEvents;

impl EventSink for NoEvents {
    fn report(&self, _event: Event) {}
}

/// Is told each record, too, on the thread that writes.
pub trait Mirror: Send {
    /// Takes one record, and the JSON object that stands for it in the file.
    fn tell(&mut self, event: &Event, json: &str);
}

/// Writes records as JSON lines, and as log lines, on a thread of its own.
#[derive(Clone)]
pub struct EventQueue {
    sender: SyncSender<Option<Event>>,
    dropped: Arc<AtomicU64>,
}

/// The thread that writes.
pub struct EventWriter {
    sender: SyncSender<Option<Event>>,
    thread: JoinHandle<io::Result<()>>,
    dropped: Arc<AtomicU64>,
}

impl EventQueue {
    /// Starts the writing thread. `file` gets one JSON object a line; `-` is the standard output.
    /// Each of `mirrors` gets the same.
    ///
    /// # Errors
    /// When the file cannot be opened for appending or the thread cannot be started.
    pub fn start(
        file: Option<&Path>,
        mirrors: Vec<Box<dyn Mirror>>,
    ) -> io::Result<(Self, EventWriter)> {
        let target: Box<dyn Write + Send> = match file {
            None => Box::new(io::sink()),
            Some(path) if path == Path::new("-") => Box::new(io::stdout()),
            Some(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, receiver) = sync_channel(QUEUE_RECORDS_MAX);
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || write_all(&receiver, target, mirrors))?;
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = EventWriter {
            sender: sender.clone(),
            thread,
            dropped: Arc::clone(&dropped),
        };
        Ok((Self { sender, dropped }, writer))
    }
}

impl EventSink for EventQueue {
    fn report(&self, event: Event) {
        if self.sender.try_send(Some(event)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl EventWriter {
    /// Waits until everything reported before is written; what is reported later is dropped.
    /// Returns the number of records that were dropped.
    ///
    /// # Errors
    /// What the system said when a record could not be written.
    pub fn finish(self) -> io::Result<u64> {
        // Without a receiver the thread has ended already, and its result says why.
        let _ = self.sender.send(None);
        self.thread
            .join()
            .map_err(|_| io::Error::other("the writing thread panicked"))??;
        Ok(self.dropped.load(Ordering::Relaxed))
    }
}

#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    time_ms: u64,
    #[serde(flatten)]
    event: &'a Event,
}

/// The file of events. One that cannot be written any more costs the file alone.
struct File {
    target: BufWriter<Box<dyn Write + Send>>,
    failed: Option<io::Error>,
}

impl File {
    fn put(&mut self, line: &str) {
        if self.failed.is_none() {
            let written = self.target.write_all(line.as_bytes());
            let written = written.and_then(|()| self.target.write_all(b"\n"));
            self.see(written);
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            let flushed = self.target.flush();
            self.see(flushed);
        }
    }

    fn see(&mut self, outcome: io::Result<()>) {
        if let Err(cause) = outcome {
            // Not of this module: its lines are records, which the Event Log has by themselves.
            tracing::error!(
                target: "siloscan_service::program",
                "cannot write events any more: {cause}; until the next start they are in no file"
            );
            self.failed = Some(cause);
        }
    }

    fn end(mut self) -> io::Result<()> {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }
}

fn write_all(
    receiver: &Receiver<Option<Event>>,
    target: Box<dyn Write + Send>,
    mut mirrors: Vec<Box<dyn Mirror>>,
) -> io::Result<()> {
    let mut file = File {
        target: BufWriter::new(target),
        failed: None,
    };
    while let Ok(Some(first)) = receiver.recv() {
        let mut next = Some(first);
        while let Some(event) = next {
            log::line(&event);
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let time_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            let line = serde_json::to_string(&Line {
                time_ms,
                event: &event,
            })?;
            for mirror in &mut mirrors {
                mirror.tell(&event, &line);
            }
            file.put(&line);
            next = match receiver.try_recv() {
                Ok(Some(event)) => Some(event),
                Ok(None) => return file.end(),
                Err(_) => None,
            };
        }
        file.flush();
    }
    file.end()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    struct Seen(Arc<AtomicU64>);

    impl Mirror for Seen {
        fn tell(&mut self, _event: &Event, _json: &str) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_keeps_nothing_from_the_mirrors() {
        let seen = Arc::new(AtomicU64::new(0));
        let mirror = Box::new(Seen(Arc::clone(&seen)));
        let full = Path::new("/dev/full");
        let (queue, writer) = EventQueue::start(Some(full), vec![mirror]).expect("it opens");
        queue.report(Event::Connected);
        while seen.load(Ordering::SeqCst) < 1 {
            std::thread::yield_now();
        }
        // The first one was flushed, in vain, before or after these come.
        for _ in 0..100 {
            queue.report(Event::Connected);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(writer.finish().is_err(), "it is told at the end");
        assert_eq!(seen.load(Ordering::SeqCst), 101);
    }
}
