//! `siloscan.exe` and `siloscand.exe` as Windows would run them, in Wine, which is no Windows: the
//! command's parts that need no driver, and the service under Wine's service controller.
//!
//! `cargo xtask test --only wine` builds the programs, makes the prefix and runs this.
#![cfg(unix)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use siloscan_quarantine::{Bounds, Origin, Quarantine};
use tempfile::TempDir;

/// The folder of the prefix to use, and that of the programs.
const PREFIX: &str = "SILOSCAN_WINE_PREFIX";
const PROGRAMS: &str = "SILOSCAN_WINDOWS_PROGRAMS";
/// What the rule of these tests matches, in two parts: this file is no match.
const MARKER: [&str; 2] = ["siloscan-found-", "under-wine"];

struct Wine {
    prefix: PathBuf,
    /// `drive_c/siloscan`, with the programs and this test's files.
    folder: TempDir,
}

/// What a program printed, and its exit code.
struct Ended {
    code: Option<i32>,
    out: String,
    errors: String,
}

impl Wine {
    fn new() -> Self {
        let folder = |name: &str| {
            let value = std::env::var_os(name);
            PathBuf::from(value.unwrap_or_else(|| panic!("{name} is set by cargo xtask test")))
        };
        let (prefix, programs) = (folder(PREFIX), folder(PROGRAMS));
        let drive = prefix.join("drive_c");
        let own = tempfile::Builder::new()
            .prefix("siloscan")
            .tempdir_in(drive);
        let wine = Self {
            prefix,
            folder: own.expect("a folder of its own"),
        };
        for name in ["siloscan.exe", "siloscand.exe"] {
            fs::hard_link(programs.join(name), wine.here(name)).expect("the same disk");
        }
        wine
    }

    /// A file of this test, as Linux names it.
    fn here(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as Windows names it.
    fn there(&self, name: &str) -> String {
        let folder = self.folder.path().file_name().expect("a name");
        format!(r"C:\{}\{name}", folder.to_string_lossy())
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.here(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, text).expect("written");
    }

    /// Wine's programs, and ours by their names here. One that hangs is ended.
    fn command(&self, trace: &str, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "240", "wine", program]);
        command
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", trace)
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env_remove("DISPLAY");
        command
    }

    fn siloscan(&self, arguments: &[&str]) -> Ended {
        let program = self.there("siloscan.exe");
        ended(self.command("-all", &program).args(arguments))
    }

    fn wine(&self, arguments: &[&str]) -> Ended {
        let (program, rest) = arguments.split_first().expect("a program");
        ended(self.command("-all", program).args(rest))
    }

    /// Whether a program of this test's folder runs. Linux' own word, as Wine has no list of them.
    fn runs(&self, name: &str) -> bool {
        let program = self.there(name);
        let processes = fs::read_dir("/proc").expect("Linux");
        processes
            .filter_map(|process| fs::read(process.ok()?.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(&program))
    }

    /// Ends all that runs in this Wine, its service controller, too.
    fn end(&self) {
        for argument in ["-k", "-w"] {
            let mut server = Command::new("wineserver");
            server.arg(argument).env("WINEPREFIX", &self.prefix);
            // Nothing runs: that is as good.
            let _ = server.output();
        }
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        self.end();
    }
}

fn ended(command: &mut Command) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("Wine is there");
    Ended {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        errors: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Looks every half second, for two minutes.
fn wait(holds: impl Fn() -> bool, what: &str) {
    for _ in 0..240 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    panic!("not within two minutes: {what}");
}

/// Where nobody listens, as long as nobody else takes it.
fn free_address() -> String {
    let bound = TcpListener::bind("127.0.0.1:0").expect("a free port");
    bound.local_addr().expect("its address").to_string()
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|cause| panic!("{cause}: {}", ended.out))
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn it_scans_with_the_rules_of_a_folder_and_ends_with_what_it_found() {
    let wine = Wine::new();
    let [one, two] = MARKER;
    let rule = format!("rule Marker {{ strings: $a = \"{one}\" condition: $a }}");
    wine.write("rules/found.yar", &rule);
    wine.write("files/sub/Übel.txt", &format!("{one}{two}"));
    wine.write("files/harmless.txt", "nothing");
    let rules = wine.there("rules");
    let scan = |what: &str| {
        let what = wine.there(what);
        wine.siloscan(&["scan", "--json", "--rules", &rules, &what])
    };
    let found = scan("files");
    assert_eq!(found.code, Some(1), "{}", found.errors);
    let report = json(&found);
    assert_eq!(report["files"], 2);
    assert_eq!(report["findings"][0]["path"], "sub/Übel.txt");
    assert_eq!(report["findings"][0]["rule"], "Marker");
    let clean = scan(r"files\harmless.txt");
    assert_eq!((clean.code, &json(&clean)["files"]), (Some(0), &1.into()));
    let nothing = scan("nowhere");
    assert_eq!(nothing.code, Some(2));
    assert!(nothing.out.contains("nowhere"), "{}", nothing.out);
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn a_configuration_is_checked_with_the_line_of_the_error() {
    let wine = Wine::new();
    let program = wine.there("siloscand.exe");
    let check = |text: &str| {
        wine.write("siloscand.toml", text);
        let file = wine.there("siloscand.toml");
        wine.wine(&[&program, "--config", &file, "--check"])
    };
    let good = check("[detections]\nquarantine = 'C:\\quarantine'\n");
    assert_eq!(good.code, Some(0), "{}", good.errors);
    let bad = check("[scan]\nthreads = 2\nnonsense = 1\n");
    assert_eq!(bad.code, Some(2));
    assert!(bad.errors.contains("siloscand.toml:3:1"), "{}", bad.errors);
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn it_opens_every_file_of_a_folder_and_names_one_that_is_not_there() {
    let wine = Wine::new();
    for file in ["layer/a", "layer/b/c", "layer/b/d e.txt"] {
        wine.write(file, "bytes");
    }
    let warm = wine.siloscan(&["warm", &wine.there("layer")]);
    assert_eq!(warm.code, Some(0), "{}", warm.errors);
    assert!(warm.out.contains("3 warm, 0 infected"), "{}", warm.out);
    let told = wine.siloscan(&["warm", "--json", &wine.there("layer")]);
    assert_eq!(json(&told)["warm"], 3);
    let nowhere = wine.siloscan(&["warm", &wine.there("nowhere")]);
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.out);
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn a_quarantine_that_linux_filled_is_listed_restored_and_emptied() {
    let wine = Wine::new();
    let quarantine = Quarantine::keep(&wine.here("quarantine"), Bounds::default());
    let origin = Origin {
        path: Some(r"C:\evil.exe".to_owned()),
        rule: "A_Rule".to_owned(),
        ..Origin::default()
    };
    let put = quarantine.expect("ours").put(b"infected bytes", &origin);
    let id = put.expect("room").id().to_string();
    let folder = wine.there("quarantine");
    let run = |arguments: &[&str]| {
        let all = [&["quarantine", "--json", "--folder", &folder], arguments].concat();
        wine.siloscan(&all)
    };
    let listed = run(&["list"]);
    assert_eq!(listed.code, Some(0), "{}", listed.errors);
    assert!(
        listed.out.contains(&id) && listed.out.contains("A_Rule"),
        "{}",
        listed.out
    );
    let back = run(&["restore", &id, "--to", &wine.there("back.bin")]);
    assert_eq!(back.code, Some(0), "{}", back.errors);
    let bytes = fs::read(wine.here("back.bin")).expect("it was written");
    assert_eq!(bytes, b"infected bytes");
    assert_eq!(run(&["delete", &id]).code, Some(0));
    assert!(!run(&["list"]).out.contains(&id));
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn the_policy_is_the_registrys_and_its_export_reads_the_same_on_linux() {
    let wine = Wine::new();
    let key = r"HKLM\System\CurrentControlSet\Services\siloscan\Parameters";
    let made = wine.wine(&["reg", "add", key, "/f"]);
    assert_eq!(made.code, Some(0), "{}", made.errors);
    let set = wine.siloscan(&["policy", "set", "OnFailure", "deny"]);
    assert_eq!(set.code, Some(0), "{}", set.errors);
    let wrong = wine.siloscan(&["policy", "set", "OnFailure", "7"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.out);
    let policy = wine.siloscan(&["policy", "--json"]);
    assert_eq!(policy.code, Some(0), "{}", policy.errors);
    let export = wine.there("policy.reg");
    let exported = wine.wine(&["reg", "export", key, &export, "/y"]);
    assert_eq!(exported.code, Some(0), "{}", exported.errors);
    let mut linux = Command::new(env!("CARGO_BIN_EXE_siloscan"));
    linux.args(["policy", "--json", "--values"]);
    let linux = ended(linux.arg(wine.here("policy.reg")));
    for what in ["parameters", "unknown", "cases"] {
        assert_eq!(json(&linux)[what], json(&policy)[what]);
    }
    let reset = wine.siloscan(&["policy", "reset", "OnFailure"]);
    assert_eq!(reset.code, Some(0), "{}", reset.errors);
    let after = wine.siloscan(&["policy", "--json"]);
    assert_ne!(json(&after), json(&policy));
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn exclusions_are_added_listed_and_removed() {
    let wine = Wine::new();
    wine.write("harmless.exe", "bytes");
    let file = wine.there("exclusions.txt");
    let run = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().expect("a command");
        let all = [&["exclude", command, "--file", &file], rest].concat();
        wine.siloscan(&all)
    };
    let added = run(&[
        "add",
        "file",
        "--of",
        &wine.there("harmless.exe"),
        "--why",
        "ours",
    ]);
    assert_eq!(added.code, Some(0), "{}", added.errors);
    let hash = "277089d91c0bdf4f2e6862ba7e4a07605119431f5d13f726dd352b06f1b206a9";
    let text = fs::read_to_string(wine.here("exclusions.txt")).expect("it was written");
    assert!(text.contains(&format!("file sha256:{hash}")), "{text}");
    assert!(run(&["list"]).out.contains(hash));
    let removed = run(&["remove", "file", &format!("sha256:{hash}")]);
    assert_eq!(removed.code, Some(0), "{}", removed.errors);
    assert!(!run(&["list"]).out.contains(hash));
}

/// Wine's Filter Manager lists nothing, and its service controller knows neither service: rows.
#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn what_cannot_be_asked_is_a_row_of_the_doctors_and_in_the_report() {
    let wine = Wine::new();
    let nobody = free_address();
    let address = ["--address", &nobody];
    let doctor = wine.siloscan(&[&["doctor", "--json"][..], &address].concat());
    assert_eq!(doctor.code, Some(1), "{}", doctor.errors);
    let told = json(&doctor).to_string();
    for name in ["siloscan", "siloscand", "wcifs", &nobody] {
        assert!(told.contains(name), "{name}: {told}");
    }
    let explained = wine.siloscan(&["doctor", "explain", "0xE1"]);
    assert_eq!(explained.code, Some(0), "{}", explained.errors);
    let out = wine.there("report.json");
    let report = |more: &[&str]| {
        let all = [&["report", "--out", &out][..], &address, more].concat();
        wine.siloscan(&all)
    };
    let made = report(&[]);
    assert!(made.code.is_some_and(|code| code < 2), "{}", made.errors);
    let text = fs::read_to_string(wine.here("report.json")).expect("it was written");
    let report_of: Value = serde_json::from_str(&text).expect("JSON");
    assert!(
        report_of["contains"].is_string() || report_of["contains"].is_array(),
        "{text}"
    );
    assert_eq!(report(&[]).code, Some(2), "it replaces nothing");
    assert!(report(&["--force"]).code.is_some_and(|code| code < 2));
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn completions_and_man_pages_are_those_of_every_system() {
    let wine = Wine::new();
    let shell = wine.siloscan(&["completions", "powershell"]);
    assert_eq!(shell.code, Some(0), "{}", shell.errors);
    assert!(shell.out.contains("Register-ArgumentCompleter"));
    fs::create_dir(wine.here("man")).expect("made");
    let manual = wine.siloscan(&["manual", &wine.there("man")]);
    assert_eq!(manual.code, Some(0), "{}", manual.errors);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man");
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("one").file_name())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&wine.here("man")), names(&docs));
}

/// Makes the service, with all that it can do without a driver.
fn install(wine: &Wine, address: &str) {
    let file = |name: &str| wine.there(name);
    wine.write("rules/broken.yar", "rule Broken { condition: nonsense }");
    wine.write(
        "siloscand.toml",
        &format!(
            "[engine]\nrules = '{}'\n[events]\nfile = '{}'\n[metrics]\nlisten = '{address}'\n\
             [verdicts]\nfile = '{}'\n[detections]\nquarantine = '{}'\n",
            file("rules"),
            file("events.jsonl"),
            file("verdicts.redb"),
            file("quarantine"),
        ),
    );
    let command = format!(
        "\"{}\" --service --config \"{}\"",
        file("siloscand.exe"),
        file("siloscand.toml")
    );
    let made = wine.wine(&["sc", "create", "siloscand", "binPath=", &command]);
    assert_eq!(made.code, Some(0), "{}", made.out);
}

/// The whole life of the service but for its driver, which Wine's Filter Manager cannot run.
#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn the_service_starts_tells_and_stops_under_the_service_controller() {
    let wine = Wine::new();
    let address = free_address();
    let nobody = wine.siloscan(&["status", "--address", &address]);
    assert_eq!(nobody.code, Some(2));
    assert!(
        nobody.errors.contains("nobody answers"),
        "{}",
        nobody.errors
    );
    install(&wine, &address);
    // The service controller must begin with the trace to have it written.
    wine.end();
    let trace = fs::File::create(wine.here("trace")).expect("a new file");
    let mut start = wine.command("-all,+eventlog", "net");
    start
        .args(["start", "siloscand"])
        .stdout(std::process::Stdio::null());
    let started = start.stderr(trace).status().expect("Wine is there");
    assert!(
        started.success(),
        "{:?}",
        fs::read_to_string(wine.here("trace"))
    );
    let status = wine.siloscan(&["status", "--json", "--address", &address]);
    assert_eq!(status.code, Some(1), "it has no driver: {}", status.errors);
    assert!(wine.runs("siloscand.exe"));
    let told = json(&status).to_string();
    assert!(told.contains("\"connected\":false"), "{told}");
    let stopped = wine.wine(&["net", "stop", "siloscand"]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.out);
    // `net` does not wait in Wine. The service tells that it has stopped when all is written.
    while !wine
        .wine(&["sc", "query", "siloscand"])
        .out
        .contains("STOPPED")
    {}
    // Its workers end with it; where they do not, this does not end.
    while wine.runs("siloscand.exe") {}
    let events = fs::read_to_string(wine.here("events.jsonl")).expect("it was written");
    for event in ["broken_rules", "rules", "disconnected", "summary"] {
        assert!(
            events.contains(&format!("\"event\":\"{event}\"")),
            "{events}"
        );
    }
    let trace = fs::read_to_string(wine.here("trace")).expect("it was written");
    for entry in [
        "Rules were left out.",
        "A rule set is in use.",
        "Not connected to the driver.",
    ] {
        assert!(
            trace.contains(entry),
            "not in the Event Log: {entry}: {trace}"
        );
    }
    for name in ["verdicts.redb", "quarantine"] {
        assert!(wine.here(name).exists(), "{name}");
    }
    let gone = wine.wine(&["sc", "delete", "siloscand"]);
    assert_eq!(gone.code, Some(0), "{}", gone.out);
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn a_wrong_configuration_under_the_controller_is_in_the_event_log() {
    let wine = Wine::new();
    install(&wine, &free_address());
    wine.write("siloscand.toml", "[scan]\nnonsense = 1\n");
    // The service controller must begin with the trace to have it written.
    wine.end();
    let trace = fs::File::create(wine.here("trace")).expect("a new file");
    let mut start = wine.command("-all,+eventlog", "net");
    start
        .args(["start", "siloscand"])
        .stdout(std::process::Stdio::null());
    // Whether `net` sees the end is Wine's matter.
    start.stderr(trace).status().expect("Wine is there");
    let told = || fs::read_to_string(wine.here("trace")).expect("it was written");
    wait(
        || told().contains("siloscand.toml:2:1"),
        "it is in the Event Log",
    );
    let gone = wine.wine(&["sc", "delete", "siloscand"]);
    assert_eq!(gone.code, Some(0), "{}", gone.out);
}

#[test]
#[ignore = "needs Wine and the programs for Windows: cargo xtask test --only wine"]
fn a_start_that_fails_is_in_the_event_log() {
    let wine = Wine::new();
    let mut alone = wine.command("-all,+eventlog", &wine.there("siloscand.exe"));
    let alone = ended(alone.arg("--service"));
    assert_eq!(alone.code, Some(2));
    assert_eq!(
        alone.errors.matches("service controller alone").count(),
        2,
        "{}",
        alone.errors
    );
    assert!(alone.errors.contains("ReportEventW"), "{}", alone.errors);
}
