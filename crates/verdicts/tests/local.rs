//! This host's verdicts: they outlive the process, however it ends, and no damage makes one wrong.

mod told;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use siloscan_verdicts::{Figures, OpenError, Place, Settings, Verdict, Verdicts};
use told::{Told, infected, key};

const LONG: Duration = Duration::from_mins(2);

fn settings(file: &Path) -> Settings {
    Settings {
        gather: Duration::from_millis(5),
        ..Settings::new(file.to_owned())
    }
}

fn open(file: &Path, told: &Told) -> Verdicts {
    Verdicts::open(settings(file), told.tell()).expect("a store")
}

fn recall(verdicts: &Verdicts, rules: u8, number: u64) -> Option<Verdict> {
    let known = verdicts.recall(&key(rules, number), LONG)?;
    assert_eq!(known.place, Place::Local);
    Some(known.verdict)
}

/// The verdict that these tests keep about a content.
fn verdict(number: u64) -> Verdict {
    match number % 3 {
        0 => infected(&format!("rule-{number}")),
        _ => Verdict::Clean,
    }
}

fn keep(verdicts: &Verdicts, rules: u8, numbers: std::ops::Range<u64>) {
    for number in numbers {
        verdicts.remember(&key(rules, number), &verdict(number));
        // No more than the queue takes.
        if number % 1000 == 999 {
            assert!(verdicts.flush(LONG));
        }
    }
    assert!(verdicts.flush(LONG));
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("verdicts");
    (folder, file)
}

#[test]
fn verdicts_outlive_the_store_under_their_rule_set_alone() {
    let (_folder, file) = place();
    let told = Told::default();
    let verdicts = open(&file, &told);
    assert_eq!(recall(&verdicts, 1, 3), None);
    keep(&verdicts, 1, 0..50);
    drop(verdicts);

    let verdicts = open(&file, &told);
    for number in 0..50 {
        assert_eq!(recall(&verdicts, 1, number), Some(verdict(number)));
    }
    assert_eq!(recall(&verdicts, 2, 3), None, "other rules");
    assert_eq!(recall(&verdicts, 1, 50), None, "another content");
    // What comes later takes the place of what was there.
    verdicts.remember(&key(1, 3), &Verdict::Clean);
    verdicts.remember(&key(1, 4), &infected(&"r".repeat(129)));
    assert!(verdicts.flush(LONG));
    assert_eq!(recall(&verdicts, 1, 3), Some(Verdict::Clean));
    assert_eq!(recall(&verdicts, 1, 4), Some(verdict(4)), "too long a name");
    let expected = Figures {
        local_hits: 52,
        misses: 2,
        local_kept: 1,
        ..Figures::default()
    };
    assert_eq!(verdicts.figures(), expected);
    assert_eq!(told.all(), [""; 0]);
}

#[test]
fn the_oldest_go_first_and_the_bound_is_kept() {
    let (_folder, file) = place();
    let told = Told::default();
    let bounded = Settings {
        entries_max: 100,
        ..settings(&file)
    };
    let verdicts = Verdicts::open(bounded.clone(), told.tell()).expect("a store");
    keep(&verdicts, 1, 0..60);
    keep(&verdicts, 2, 60..130);
    // Seen again: it keeps its age.
    verdicts.remember(&key(1, 30), &verdict(30));
    keep(&verdicts, 1, 130..131);
    let verdicts = {
        drop(verdicts);
        Verdicts::open(bounded, told.tell()).expect("a store")
    };
    let there = |number| {
        let rules = if (60..130).contains(&number) { 2 } else { 1 };
        recall(&verdicts, rules, number).is_some()
    };
    let left: Vec<u64> = (0..131).filter(|number| there(*number)).collect();
    assert_eq!(left, (31..131).collect::<Vec<u64>>());
}

#[test]
fn verdicts_of_other_rule_sets_are_removed() {
    let (_folder, file) = place();
    let told = Told::default();
    let verdicts = open(&file, &told);
    for rules in [1, 2, 3] {
        keep(&verdicts, rules, 0..1500);
    }
    verdicts.keep_only([2; 32]);
    while verdicts.figures().removed < 3000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    for number in 0..1500 {
        assert_eq!(recall(&verdicts, 1, number), None);
        assert_eq!(recall(&verdicts, 2, number), Some(verdict(number)));
        assert_eq!(recall(&verdicts, 3, number), None);
    }
    // Their places in the order went with them: the bound meets those that are left.
    keep(&verdicts, 2, 1500..1600);
    drop(verdicts);
    let bounded = Settings {
        entries_max: 1000,
        ..settings(&file)
    };
    let verdicts = Verdicts::open(bounded, told.tell()).expect("a store");
    keep(&verdicts, 2, 1600..1601);
    assert_eq!(verdicts.figures().removed, 601);
    assert_eq!(recall(&verdicts, 2, 600), None);
    assert_eq!(recall(&verdicts, 2, 601), Some(verdict(601)));
}

#[test]
fn a_second_process_is_told_that_the_file_is_in_use() {
    let (_folder, file) = place();
    let told = Told::default();
    let verdicts = open(&file, &told);
    keep(&verdicts, 1, 0..1);
    let second = Verdicts::open(settings(&file), told.tell());
    assert!(matches!(second, Err(OpenError::InUse(_))));
    assert_eq!(recall(&verdicts, 1, 0), Some(verdict(0)));
    let nowhere = file.join("below");
    let error = Verdicts::open(settings(&nowhere), told.tell()).err();
    assert!(error.is_some_and(|error| error.to_string().contains("below")));
}

#[test]
fn a_file_of_another_host_is_not_believed() {
    let (_folder, file) = place();
    let (_other_folder, other) = place();
    let told = Told::default();
    let verdicts = open(&file, &told);
    keep(&verdicts, 1, 0..20);
    drop(verdicts);
    // The other host has a key and a file of its own.
    drop(open(&other, &told));
    fs::copy(&file, &other).expect("copied");
    let verdicts = open(&other, &told);
    for number in 0..20 {
        assert_eq!(recall(&verdicts, 1, number), None);
    }
    assert_eq!(verdicts.figures().local_forged, 20);
    assert_eq!(told.count("is not believed"), 1, "said once in a while");
    // They are made anew.
    keep(&verdicts, 1, 0..20);
    assert_eq!(recall(&verdicts, 1, 7), Some(verdict(7)));
}

#[test]
fn without_its_key_the_file_is_begun_anew() {
    let (folder, file) = place();
    let told = Told::default();
    let verdicts = open(&file, &told);
    keep(&verdicts, 1, 0..5);
    drop(verdicts);
    fs::remove_file(folder.path().join("verdicts.key")).expect("removed");
    let verdicts = open(&file, &told);
    assert_eq!(recall(&verdicts, 1, 0), None);
    assert_eq!(verdicts.figures().local_forged, 0);
    assert_eq!(told.count("its key is not there"), 1);
    assert!(folder.path().join("verdicts.damaged").exists());
}

#[test]
fn a_file_that_is_none_of_ours_is_set_aside() {
    let foreign: [&[u8]; 3] = [b"a text", &[0; 8192], &[0xff; 100_000]];
    for bytes in foreign {
        let (folder, file) = place();
        let told = Told::default();
        drop(open(&file, &told));
        fs::write(&file, bytes).expect("written");
        let verdicts = open(&file, &told);
        keep(&verdicts, 1, 0..5);
        assert_eq!(recall(&verdicts, 1, 0), Some(verdict(0)));
        assert_eq!(told.count("new ones are begun"), 1, "{:?}", told.all());
        let aside = fs::read(folder.path().join("verdicts.damaged"));
        assert_eq!(aside.expect("there"), bytes);
    }
}

/// Numbers that look random, the same each time.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn whatever_is_damaged_no_verdict_is_wrong() {
    let (_folder, file) = place();
    let told = Told::default();
    let verdicts = open(&file, &told);
    keep(&verdicts, 1, 0..600);
    drop(verdicts);
    let good = fs::read(&file).expect("read");
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let (mut lost, mut found) = (0, 0);
    for round in 0..60 {
        let mut bytes = good.clone();
        // Most of the file is empty; what is used lies at its beginning and is found by looking.
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        for _ in 0..=(round % 20) * 4 {
            let at = used[random(&mut state) as usize % used.len()];
            bytes[at] = random(&mut state) as u8;
        }
        if round % 10 == 9 {
            bytes.truncate(random(&mut state) as usize % bytes.len());
        }
        fs::write(&file, &bytes).expect("written");
        let verdicts = open(&file, &told);
        for number in 0..600 {
            match recall(&verdicts, 1, number) {
                Some(said) => {
                    assert_eq!(said, verdict(number), "round {round}");
                    found += 1;
                }
                None => lost += 1,
            }
        }
        // It goes on, with this file or with a new one.
        let mut tries = 0;
        while recall(&verdicts, 1, 1_000_000) != Some(verdict(1_000_000)) {
            verdicts.remember(&key(1, 1_000_000), &verdict(1_000_000));
            assert!(verdicts.flush(LONG));
            tries += 1;
            assert!(tries < 10_000, "round {round}: {:?}", told.all());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(lost > 0 && found > 0, "{lost} lost, {found} found");
}

const CHILD: &str = "SILOSCAN_TEST_STORE";

/// Where this process is the child of a test: keeps verdicts in the file that it is told, says how
/// far it has come, and never ends.
#[test]
fn this_program_keeps_verdicts_until_it_is_killed() {
    let Some(file) = std::env::var_os(CHILD) else {
        return;
    };
    let verdicts = open(Path::new(&file), &Told::default());
    for number in 0.. {
        verdicts.remember(&key(1, number), &verdict(number));
        if number % 50 == 49 {
            assert!(verdicts.flush(LONG));
            if verdicts.figures().local_failed > 0 {
                println!("failed");
            }
            println!("kept {number}");
            std::io::stdout().flush().expect("a reader");
        }
    }
}

fn child(file: &Path, shell: Option<&str>) -> std::process::Child {
    let own = std::env::current_exe().expect("this program");
    let arguments = [
        "this_program_keeps_verdicts_until_it_is_killed",
        "--exact",
        "--nocapture",
    ];
    let mut command = match shell {
        Some(before) => {
            let mut command = Command::new("sh");
            let line = format!("{before}; exec \"$@\"");
            command.arg("-c").arg(line).arg("sh").arg(own);
            command
        }
        None => Command::new(own),
    };
    command
        .args(arguments)
        .env(CHILD, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

/// Reads what the child says until `enough`.
fn listen(child: &mut std::process::Child, enough: impl Fn(&str) -> bool) -> String {
    let mut out = child.stdout.take().expect("a pipe");
    let mut said = String::new();
    let mut some = [0; 256];
    while !enough(&said) {
        let length = out.read(&mut some).expect("read");
        assert!(length > 0, "it ended: {said}");
        said.push_str(&String::from_utf8_lossy(&some[..length]));
    }
    said
}

#[test]
fn a_writer_that_is_killed_loses_nothing_that_it_had_written() {
    let (_folder, file) = place();
    for round in 1..6 {
        let mut child = child(&file, None);
        let enough = round * 12;
        let said = listen(&mut child, |said| said.matches("kept").count() >= enough);
        child.kill().expect("killed");
        child.wait().expect("ended");
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let last = whole.rsplit("kept ").next().expect("a number");
        let last: u64 = last.trim().parse().expect("a number");
        let told = Told::default();
        let verdicts = open(&file, &told);
        for number in 0..=last {
            assert_eq!(recall(&verdicts, 1, number), Some(verdict(number)));
        }
        assert_eq!(told.all(), [""; 0], "nothing is damaged");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_grow_costs_verdicts_and_no_process() {
    let (_folder, file) = place();
    // The shell counts in blocks of 512 or 1024 bytes. What is over is an error, no signal.
    let mut child = child(&file, Some("ulimit -f 4096; trap '' XFSZ"));
    let said = listen(&mut child, |said| {
        said.split_once("failed")
            .is_some_and(|(_, after)| after.matches("kept").count() > 5)
    });
    assert!(child.try_wait().expect("a child").is_none(), "{said}");
    child.kill().expect("killed");
    child.wait().expect("ended");
    let told = Told::default();
    let verdicts = open(&file, &told);
    for number in 0..100 {
        assert_eq!(recall(&verdicts, 1, number), Some(verdict(number)));
    }
    assert_eq!(told.all(), [""; 0], "nothing is damaged");
}
