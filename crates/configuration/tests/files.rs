//! What a file of configuration may say, and what is told of one that says it wrongly.
//!
//! `SILOSCAN_WRITE_DOCS=1` writes `docs/configuration.md`'s table instead of comparing it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use siloscan_configuration::{Configuration, KEYS, Kind, parse};

fn read(text: &str) -> Configuration {
    parse("siloscand.toml", Path::new("/etc/siloscan"), text).expect("the text is right")
}

/// Line, column and beginning of each problem.
fn problems(text: &str) -> Vec<String> {
    let broken =
        parse("siloscand.toml", Path::new("/etc/siloscan"), text).expect_err("it is wrong");
    let all = broken.to_string();
    all.lines().map(str::to_owned).collect()
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(read(""), Configuration::default());
    assert_eq!(
        read("\u{feff}# nothing\r\n[scan]\r\n"),
        Configuration::default()
    );
    assert_eq!(Configuration::default().max_file_mib, 256);
}

#[test]
fn paths_begin_at_the_files_folder_and_the_standard_output_at_none() {
    let all = read("[engine]\nrules = \"rules\"\n[exclusions]\nfile = '/else/x'\n");
    assert_eq!(all.rules, Some(PathBuf::from("/etc/siloscan/rules")));
    assert_eq!(all.exclusions, Some(PathBuf::from("/else/x")));
    let all = read("events.file = \"-\"");
    assert_eq!(all.events, Some(PathBuf::from("-")));
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_would_be_right() {
    let text = "[scan]\nthreads = 300\n  thread = 1\nmax_file_mib = \"1\"\nmemory_mib = -1\n\
                [engin]\n[engine]\nrules = ''\namsi = 1\nclamd = \"C:\\tmp\"\n";
    let told = problems(text);
    let wanted = [
        "siloscand.toml:2:11: `threads` is a number from 0 to 256",
        "siloscand.toml:3:3: [scan] has no `thread`; it has threads, max_file_mib, memory_mib, \
         worker_memory_mib, worker_strikes",
        "siloscand.toml:4:16: `max_file_mib` is a number from 1 to 1048576",
        "siloscand.toml:5:14: `memory_mib` is a number from 1 to 1048576",
        "siloscand.toml:6:2: there is no [engin]; there are [engine], [scan], ",
        "siloscand.toml:8:9: `rules` is empty",
        "siloscand.toml:9:8: `amsi` is true or false",
        "siloscand.toml:10:9: `clamd` holds a control character",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.starts_with(wanted), "{told}\n  is not {wanted}");
    }
}

#[test]
fn what_is_no_toml_is_told_with_its_line_beside_the_rest() {
    let told = problems("[scan]\nthreads = 300\nmemory_mib = = 1\nthreads = 1\n");
    assert!(
        told.iter()
            .any(|told| told.starts_with("siloscand.toml:2:11: `threads`")),
        "{told:#?}"
    );
    assert!(
        told.iter()
            .any(|told| told.starts_with("siloscand.toml:3:")),
        "{told:#?}"
    );
    assert!(
        told.iter()
            .any(|told| told.starts_with("siloscand.toml:4:1: ")),
        "{told:#?}"
    );
    let told = problems("scan = 1\n");
    assert_eq!(
        told,
        ["siloscand.toml:1:1: `scan` is a table: write [scan] on a line of its own"]
    );
}

#[test]
fn what_does_not_fit_together_is_told_at_one_of_both() {
    let told = problems("[scan]\nmax_file_mib = 2048\n");
    assert!(
        told[0].starts_with("siloscand.toml:2:16: files of 2048 MiB"),
        "{told:?}"
    );
    let told = problems("[scan]\nmax_file_mib = 100\nmemory_mib = 99\n");
    assert!(
        told[0].starts_with("siloscand.toml:3:14: files of 100 MiB"),
        "{told:?}"
    );
    read("[scan]\nmax_file_mib = 100\nmemory_mib = 100\n");
    let told = problems("verdicts.fleet = 'redis://h'\n");
    assert!(told[0].starts_with("siloscand.toml:1:18: verdicts.fleet wants"));
    let told = problems("[verdicts]\nfile = 'v'\nfleet_key = 'k'\n");
    assert!(told[0].starts_with("siloscand.toml:3:13: verdicts.fleet and"));
    let told = problems("metrics.listen = 'localhost'\n");
    assert!(told[0].starts_with("siloscand.toml:1:18: `listen` is an address"));
    let told = problems("[metrics]\nlisten = '[::]:9753'\n");
    assert!(told[0].starts_with("siloscand.toml:2:10: [::]:9753 is not"));
    read("[metrics]\nlisten = '[::]:9753'\nanywhere = true\n");
    let told = problems("metrics.anywhere = true\n");
    assert!(told[0].starts_with("siloscand.toml:1:20: metrics.anywhere (--m"));
    let told = problems("engine.amsi = true\nverdicts.file = 'v'\n");
    assert!(told[0].starts_with("siloscand.toml:1:15: engine.amsi and"));
}

/// A value that is not the default, nor absent.
fn other(key: &str, kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Path => "'/x'",
        Kind::Address => "'[::1]:7'",
        Kind::Paths => "['/x', 'y']",
        Kind::Number { .. } if key == "threads" => "255",
        Kind::Number { max, .. } if max < 0x101 => "0x7",
        Kind::Number { .. } => "0x1_01",
        Kind::Switch => "true",
    }
}

/// Keys that are nothing without each other.
const TOGETHER: &str = "verdicts.file = 'v'\nverdicts.fleet = 'f'\nverdicts.fleet_key = 'k'";

#[test]
fn each_key_is_read_and_a_change_of_it_is_seen() {
    for key in KEYS {
        let text = other(key.name, key.kind);
        let base: String = match key.section {
            "verdicts" => TOGETHER.into(),
            "metrics" => "metrics.listen = '127.0.0.1:0'".into(),
            _ => String::new(),
        };
        let before = read(&base);
        let own = format!("{key} = ");
        let others = base.lines().filter(|line| !line.starts_with(&own));
        let others: Vec<&str> = others.collect();
        let all = read(&format!("{}\n{own}{text}\n", others.join("\n")));
        let mut running = before.clone();
        let changes = running.adopt(&all);
        let (told, silent, then) = match key.live {
            true => (changes.now, changes.at_the_next_start, &all),
            false => (changes.at_the_next_start, changes.now, &before),
        };
        assert_eq!(told.len(), 1, "{key}");
        assert_eq!(told[0].to_string(), key.to_string());
        assert!(silent.is_empty(), "{key}");
        assert_eq!(&running, then, "{key}");
        // And back: a key that is taken away again is as it was.
        running.adopt(&before);
        assert_eq!(running, before, "{key}");
    }
}

/// Nothing that a file can say makes the reader panic, or lets a wrong value through.
#[test]
fn torn_texts_are_told_and_not_believed() {
    let text = "[scan]\nthreads = 3\nmax_file_mib = 12 # é\n[events]\nfile = \"a\\u00e9\"\n";
    for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
        if let Err(broken) = parse("x", Path::new("."), &text[..cut]) {
            let lines = text[..cut].split('\n').count();
            assert!(!broken.0.is_empty());
            for problem in broken.0 {
                assert!((1..=lines).contains(&problem.line), "{problem}");
            }
        }
    }
}

fn table() -> String {
    let mut rows = String::from(
        "| key | takes | default | a change takes effect | what it does |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for key in KEYS {
        let (takes, default) = match key.kind {
            Kind::Text => ("a text".to_owned(), "none".to_owned()),
            Kind::Path => ("a path".to_owned(), "none".to_owned()),
            Kind::Address => ("an address and port".to_owned(), "none".to_owned()),
            Kind::Paths => ("a list of paths".to_owned(), "none".to_owned()),
            Kind::Switch => ("`true`, `false`".to_owned(), "`false`".to_owned()),
            Kind::Number { min, max, default } => (format!("{min} to {max}"), default.to_string()),
        };
        let when = if key.live {
            "at once"
        } else {
            "at the next start"
        };
        writeln!(
            rows,
            "| `{key}` | {takes} | {default} | {when} | {} |",
            key.about
        )
        .expect("a string takes everything");
    }
    rows
}

#[test]
fn the_table_in_the_docs_is_made_from_the_keys() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let head = page.find("| key | takes |").expect("the table's head");
    let (before, there) = page.split_at(head);
    if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
        std::fs::write(&path, before.to_owned() + &table()).expect("the page can be written");
        return;
    }
    assert_eq!(there, table(), "run with SILOSCAN_WRITE_DOCS=1");
}
