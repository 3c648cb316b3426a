//! The program `siloscand`: what it says and how it ends when something is wrong from the start.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn siloscand(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siloscand"))
        .args(arguments)
        .output()
        .expect("it starts")
}

/// Ran, ended with 2, and said all of this.
fn fails_with(arguments: &[&str], words: &[&str]) {
    let output = siloscand(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[test]
fn wrong_options_are_named() {
    fails_with(&[], &["--socket"]);
    fails_with(
        &["--socket", "/x", "--threads", "many"],
        &["--threads", "many"],
    );
    fails_with(
        &["--socket", "/x", "--once", "--threads", "1000000"],
        &["1000000", "1 to 256"],
    );
    fails_with(
        &[
            "--socket",
            "/x",
            "--once",
            "--max-file-mib",
            "64",
            "--memory-mib",
            "32",
        ],
        &["do not fit"],
    );
    fails_with(
        &[
            "--socket",
            "/x",
            "--once",
            "--max-file-mib",
            &u64::MAX.to_string(),
        ],
        &["do not fit"],
    );
}

#[test]
fn a_fleet_without_its_key_or_with_a_wrong_address_is_named_and_no_password_shown() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, key) = (place("verdicts"), place("fleet.key"));
    let once = ["--socket", "/x", "--once"];
    let with = |more: &[&str], words: &[&str]| {
        let arguments = [once.as_slice(), more].concat();
        fails_with(&arguments, words);
        let said = siloscand(&arguments).stderr;
        assert!(!String::from_utf8_lossy(&said).contains("hunter"));
    };
    let url = "redis://:hunter@h";
    with(&["--fleet", url, "--fleet-key", &key], &["--verdicts"]);
    with(&["--verdicts", &file, "--fleet", url], &["--fleet-key"]);
    let full = |url| ["--verdicts", &file, "--fleet", url, "--fleet-key", &key];
    with(&full(url), &[&key, "openssl rand -hex 32"]);
    with(&full("redis://:hunter@h:port"), &["no number as port"]);
    std::fs::write(&key, "0".repeat(64)).unwrap();
    with(&full(url), &[&key, "chmod 600"]);
    let below = format!("{file}/below");
    std::fs::write(&file, "").unwrap();
    with(&["--verdicts", &below], &[&below]);
}

#[test]
fn an_absent_host_is_named_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("absent.sock");
    let socket = socket.to_str().unwrap();
    fails_with(
        &["--once", "--socket", socket],
        &[socket, "start the filter host first"],
    );
    // A path that is no socket, and one that is too long for any.
    fails_with(&["--once", "--socket", "/etc/passwd"], &["/etc/passwd"]);
    let long = format!("/{}", "x".repeat(300));
    fails_with(&["--once", "--socket", &long], &["cannot connect"]);
}

#[test]
fn metrics_are_told_to_others_only_when_that_is_asked_for() {
    let open = ["--once", "--socket", "/x", "--metrics", "0.0.0.0:0"];
    fails_with(&open, &["127.0.0.1", "--metrics-anywhere"]);
    // It gets as far as the connection, and says where it tells them.
    let anywhere = [&open[..], &["--metrics-anywhere"]].concat();
    fails_with(&anywhere, &["metrics at http://0.0.0.0:", "cannot connect"]);
    fails_with(
        &["--socket", "/x", "--metrics-anywhere"],
        &["--metrics <ADDRESS:PORT>"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken
        .local_addr()
        .map(|at| (at.to_string(), taken))
        .unwrap();
    fails_with(
        &["--once", "--socket", "/x", "--metrics", &taken.0],
        &[&taken.0, "another address with --metrics", "cannot connect"],
    );
}

#[test]
fn an_event_file_that_cannot_be_written_is_named() {
    let file = "/nowhere/at/all/events.json";
    fails_with(
        &["--once", "--socket", "/x", "--events", file],
        &[file, "--events"],
    );
}

#[test]
fn missing_and_broken_rules_are_named_and_do_not_stop_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let absent = absent.to_str().unwrap();
    // It gets as far as the connection, which is what fails here.
    let wanted = [absent, "--rules", "rule set in use", "cannot connect"];
    fails_with(&["--once", "--socket", "/x", "--rules", absent], &wanted);

    std::fs::write(folder.path().join("bad.yar"), "\n\nrule {").unwrap();
    let rules = folder.path().to_str().unwrap();
    let place = format!("{rules}/bad.yar:3:");
    fails_with(
        &["--once", "--socket", "/x", "--rules", rules],
        &[&place, "cannot connect"],
    );
}

#[test]
fn events_are_json_lines_and_end_with_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("events.json");
    let path: &Path = &events;
    fails_with(
        &[
            "--once",
            "--socket",
            "/x",
            "--events",
            path.to_str().unwrap(),
        ],
        &[],
    );
    let text = std::fs::read_to_string(&events).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.first().unwrap()["event"], "rules");
    assert_eq!(lines.first().unwrap()["rules"], 1);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["infected"]),
        (&"summary".into(), &0.into())
    );
    assert!(last["time_ms"].as_u64().unwrap() > 1_600_000_000_000);
}

#[test]
fn a_wrong_configuration_is_told_line_by_line_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("siloscand.toml");
    let name = file.to_str().unwrap();
    fails_with(&["--check", "--config", name], &["cannot read", name]);
    std::fs::write(&file, "[scan]\nthreads = 0\nmax_file = 1\n[rules]\n").unwrap();
    let places = [format!("{name}:3:1: "), format!("{name}:4:2: ")];
    let words: Vec<&str> = places.iter().map(String::as_str).collect();
    fails_with(&["--check", "--config", name], &words);
    fails_with(&["--config", name, "--once", "--socket", "/x"], &words);
    std::fs::write(&file, [b'[', 0xff]).unwrap();
    fails_with(&["--check", "--config", name], &[":1:", "UTF-8"]);

    // With these the next start would fail.
    let fleet = "[verdicts]\nfile = 'v'\nfleet = 'redis://h:port'\nfleet_key = 'k'\n";
    std::fs::write(&file, fleet).unwrap();
    fails_with(&["--check", "--config", name], &["no number as port"]);
    std::fs::write(&file, "metrics.listen = '[::]:1'\n").unwrap();
    let place = format!("{name}:1:18: ");
    fails_with(
        &["--check", "--config", name],
        &[&place, "--metrics-anywhere"],
    );
    let many = [
        "--check",
        "--config",
        name,
        "--metrics-anywhere",
        "--threads",
        "257",
    ];
    fails_with(&many, &["257 scanning threads"]);

    // Right on Windows, where it may be meant for.
    std::fs::write(&file, "engine.amsi = true\n").unwrap();
    let output = siloscand(&["--check", "--config", name]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    fails_with(&["--config", name, "--once", "--socket", "/x"], &["amsi"]);

    std::fs::write(&file, "[scan]\nmax_file_mib = 64\n").unwrap();
    let output = siloscand(&["--check", "--config", name]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // The line goes before the file, and both have to fit together.
    let line = ["--memory-mib", "32", "--check", "--config", name];
    fails_with(&line, &["64 MiB do not fit into scan.memory_mib = 32"]);
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, or its test has failed.
        let _ = self.program.kill();
    }
}

/// A program that runs, and the events that it writes.
struct Running {
    program: Child,
    events: PathBuf,
    read: usize,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let events = folder.join("events.json");
        let mut program = Command::new(env!("CARGO_BIN_EXE_siloscand"));
        program.arg("--config").arg(folder.join("siloscand.toml"));
        // There is no driver; it goes on looking for one.
        program.arg("--socket").arg(folder.join("absent.sock"));
        program.stderr(Stdio::null());
        let program = program.spawn().expect("it starts");
        Self {
            program,
            events,
            read: 0,
        }
    }

    /// Waits for the next event of that name.
    fn next(&mut self, name: &str) -> serde_json::Value {
        let patience = Instant::now() + Duration::from_mins(5);
        loop {
            assert!(Instant::now() < patience, "no {name} comes");
            let text = std::fs::read_to_string(&self.events).unwrap_or_default();
            let whole = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            for line in whole.skip(self.read) {
                self.read += 1;
                let event: serde_json::Value = serde_json::from_str(line).unwrap();
                if event["event"] == name {
                    return event;
                }
            }
            assert_eq!(
                self.program.try_wait().unwrap(),
                None,
                "it has ended: {text}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a change has been taken up, of these keys.
    fn changes(&mut self, now: &[&str], at_the_next_start: &[&str]) {
        let changed = self.next("configuration");
        assert_eq!(changed["now"], serde_json::json!(now));
        let waiting = serde_json::json!(at_the_next_start);
        assert_eq!(changed["at_the_next_start"], waiting);
    }

    fn end(mut self) {
        let pid = rustix::process::Pid::from_child(&self.program);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(self.program.wait().unwrap().code(), Some(0));
    }
}

/// Two folders with a rule each, and an exclusion.
fn rules_and_exclusions(folder: &Path) {
    for name in ["one", "two"] {
        std::fs::create_dir(folder.join(name)).unwrap();
        let text = format!("rule {name} {{ condition: false }}");
        std::fs::write(folder.join(name).join("a.yar"), text).unwrap();
    }
    let excluded = "container 03020100-0504-0706-0809-0a0b0c0d0e0f\n";
    std::fs::write(folder.join("excluded.txt"), excluded).unwrap();
}

fn configure(folder: &Path, text: &str) {
    let text = format!("[events]\nfile = 'events.json'\n[scan]\n{text}\n");
    std::fs::write(folder.join("siloscand.toml"), text).unwrap();
}

#[test]
fn a_changed_configuration_is_taken_up_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    rules_and_exclusions(folder);
    configure(folder, "threads = 1\n[engine]\nrules = 'one'");
    let mut running = Running::start(folder);
    let first = running.next("rules");
    assert_eq!(first["rules"], 2);

    configure(folder, "threads = 1\n[engine]\nrules = 'two'");
    running.changes(&["engine.rules"], &[]);
    let second = running.next("rules");
    assert_ne!(second["digest"], first["digest"]);

    let text = "threads = 2\nworker_memory_mib = 512\n[engine]\nrules = 'two'";
    configure(folder, text);
    running.changes(&["scan.worker_memory_mib"], &["scan.threads"]);
    let again = running.next("rules");
    assert_eq!(again["digest"], second["digest"], "new workers");

    let text = "threads = 2\nworker_memory_mib = 1\n[engine]\nrules = 'one'";
    configure(folder, text);
    let broken = running.next("broken_configuration");
    let cause = broken["cause"].as_str().unwrap();
    let file = folder.join("siloscand.toml");
    let place = format!("{}:5:21: ", file.display());
    assert!(cause.starts_with(&place), "{cause}");
    assert!(cause.ends_with("stays in use"), "{cause}");
    std::fs::remove_file(&file).unwrap();
    let gone = running.next("broken_configuration");
    assert!(gone["cause"].as_str().unwrap().starts_with("cannot read"));

    // What was wrong has changed nothing.
    let text = "threads = 1\nmax_file_mib = 8\n[engine]\nrules = 'one'\n\
                [exclusions]\nfile = 'excluded.txt'";
    configure(folder, text);
    let keys = [
        "engine.rules",
        "scan.max_file_mib",
        "scan.worker_memory_mib",
        "exclusions.file",
    ];
    running.changes(&keys, &[]);
    assert_eq!(running.next("exclusions")["containers"], 1);
    assert_eq!(running.next("rules")["digest"], first["digest"]);
    running.end();
}

#[test]
fn a_bound_of_workers_changes_beside_a_broken_rule() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    rules_and_exclusions(folder);
    std::fs::write(folder.join("one/bad.yar"), "rule {").unwrap();
    configure(folder, "threads = 1\n[engine]\nrules = 'one'");
    let mut running = Running::start(folder);
    let first = running.next("rules");

    let text = "threads = 1\nworker_memory_mib = 512\n[engine]\nrules = 'one'";
    configure(folder, text);
    running.changes(&["scan.worker_memory_mib"], &[]);
    let again = running.next("rules");
    assert_eq!(again["digest"], first["digest"], "new workers");
    running.end();
}
