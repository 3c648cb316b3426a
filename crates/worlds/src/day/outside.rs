//! The scan service as a process of its own, behind the machine's bridge.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use filterhost::Machine;
use filterhost::layout::GUID;
use serde_json::Value;

/// A running `siloscand`.
pub(super) struct Outside {
    child: Child,
    events: PathBuf,
}

/// What it told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Requests to scan.
    pub scans: u64,
    /// Bytes that the engine looked at.
    pub bytes: u64,
    /// The driver's counters.
    pub counts: BTreeMap<String, u64>,
    /// Detections.
    pub detections: Vec<Detection>,
    /// What each container's start cost.
    pub starts: Vec<Start>,
}

/// What a container's start cost.
#[derive(Debug)]
pub(super) struct Start {
    /// Opens that the cache did not answer with "clean".
    pub waits: u64,
    /// What those waited, in microseconds.
    pub waited_us: u64,
    container: String,
}

impl Start {
    /// Whether this is the container with this id.
    pub fn is_of(&self, id: &GUID) -> bool {
        is_id(&self.container, id)
    }
}

/// Whether the text of an id is this one's.
fn is_id(text: &str, id: &GUID) -> bool {
    let hex = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_hexdigit)
            .collect::<String>()
            .to_ascii_lowercase()
    };
    hex(text) == hex(&id.to_string())
}

/// One detection.
#[derive(Debug)]
pub(super) struct Detection {
    /// The rule.
    pub rule: String,
    /// The name under which the file was opened.
    pub path: String,
    container: String,
}

impl Detection {
    /// Whether the open came from the container with this id.
    pub fn is_from(&self, id: &GUID) -> bool {
        is_id(&self.container, id)
    }
}

impl Outside {
    /// Starts it and waits until the driver has accepted it.
    pub fn start(m: &Arc<Machine>, program: &Path, socket: &Path) -> Result<Self, String> {
        let events = socket.with_extension("events");
        let log = File::create(socket.with_extension("log"))
            .map_err(|cause| format!("cannot make the service's log: {cause}"))?;
        let child = Command::new(program)
            .arg("--socket")
            .arg(socket)
            .arg("--events")
            .arg(&events)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|cause| format!("cannot start {}: {cause}", program.display()))?;
        let mut outside = Self { child, events };
        for _ in 0..600 {
            if outside
                .lines()
                .iter()
                .any(|event| event["event"] == "connected")
            {
                return Ok(outside);
            }
            if let Ok(Some(status)) = outside.child.try_wait() {
                let log = std::fs::read_to_string(socket.with_extension("log"));
                return Err(format!(
                    "siloscand ended ({status}): {}",
                    log.unwrap_or_default()
                ));
            }
            m.sched().sleep(Duration::from_millis(100));
        }
        let _killed = outside.child.kill();
        Err("siloscand did not connect within a minute".to_owned())
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.events).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Asks it to end, waits for that, and gives what it told.
    pub fn stop(mut self, m: &Arc<Machine>) -> Result<Told, String> {
        // Two polls: the driver tells its counters after each in which any moved.
        m.sched().sleep(Duration::from_millis(1200));
        let asked = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        asked.map_err(|cause| format!("cannot end siloscand: {cause}"))?;
        for _ in 0..300 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Ok(self.told());
            }
            m.sched().sleep(Duration::from_millis(100));
        }
        let _killed = self.child.kill();
        Err("siloscand did not end within half a minute".to_owned())
    }

    fn told(&self) -> Told {
        let mut told = Told::default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for event in self.lines() {
            match event["event"].as_str() {
                Some("detection") => told.detections.push(Detection {
                    rule: text(&event["rule"]),
                    path: text(&event["path"]),
                    container: text(&event["container"]),
                }),
                Some("container") => told.starts.push(Start {
                    waits: event["start_opens"].as_u64().unwrap_or(0),
                    waited_us: event["start_waited_us"].as_u64().unwrap_or(0),
                    container: text(&event["container"]),
                }),
                Some("summary") => {
                    told.scans = event["scan_requests"].as_u64().unwrap_or(0);
                    told.bytes = event["bytes"].as_u64().unwrap_or(0);
                }
                Some("driver_counts") => {
                    let counts = event["counts"].as_object().into_iter().flatten();
                    let pairs = counts.map(|(name, n)| (name.clone(), n.as_u64().unwrap_or(0)));
                    told.counts = pairs.collect();
                }
                _ => {}
            }
        }
        told
    }
}
