//! The helper as the process that it is: what it opens, when, and what becomes of it.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use siloscan_service::proactive::helper::{Helper, Process, Processes, Runner, Start, Word};
use tempfile::TempDir;

/// A layer with files `00` to `09` in each of the folders `a`, `b` and `c`.
fn layer() -> TempDir {
    let dir = TempDir::new().expect("a folder of its own");
    for folder in ["a", "b", "c"] {
        fs::create_dir(dir.path().join(folder)).expect("a new folder");
        for file in 0..10 {
            let path = dir.path().join(format!("{folder}/{file:02}"));
            fs::write(path, b"bytes").expect("a new file");
        }
    }
    dir
}

fn start(folder: &Path, start: &Start) -> Process {
    let runner = Processes {
        program: env!("CARGO_BIN_EXE_siloscan").into(),
    };
    runner.start(folder, start).expect("the program is there")
}

/// Waits for `count` words.
fn words(helper: &mut Process, count: usize) -> Vec<Word> {
    let mut words = Vec::new();
    while words.len() < count {
        words.extend(helper.said().expect("it has not ended"));
        std::thread::sleep(Duration::from_millis(1));
    }
    words
}

/// Waits for its end; what it said until then, and how it ended.
fn end(helper: &mut Process) -> (Vec<Word>, String) {
    let mut words = Vec::new();
    loop {
        match helper.said() {
            Ok(more) => words.extend(more),
            Err(cause) => return (words, cause),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn opened(path: PathBuf) -> Word {
    Word::Opened {
        at: path.to_str().map(str::to_owned),
        bytes: 5,
    }
}

fn all_opened(dir: &Path) -> Vec<Word> {
    let names = ["a", "b", "c"].into_iter();
    names
        .flat_map(|folder| (0..10).map(move |file| format!("{folder}/{file:02}")))
        .map(|file| opened(dir.join(file)))
        .collect()
}

#[test]
fn it_opens_one_file_for_each_word_and_none_without() {
    let layer = layer();
    let mut helper = start(layer.path(), &Start::default());
    assert_eq!(words(&mut helper, 1), [Word::Begun { files: 30 }]);
    let all = all_opened(layer.path());
    helper.go(1);
    assert_eq!(words(&mut helper, 1), all[..1]);
    helper.go(4);
    assert_eq!(words(&mut helper, 4), all[1..5]);
    // A pause: it has been told of no more, and stops where it is.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(helper.said(), Ok(Vec::new()));
    let nice = fs::read_to_string(format!("/proc/{}/stat", helper.id())).expect("it runs");
    let after_name = nice.rsplit_once(") ").expect("a name in brackets").1;
    assert_eq!(after_name.split(' ').nth(16), Some("19"), "{nice}");
    helper.go(100);
    let (rest, _) = end(&mut helper);
    assert_eq!(rest[..25], all[5..]);
    let tally = Word::Ended {
        opened: 30,
        infected: 0,
        gone: 0,
        failed: 0,
    };
    assert_eq!(rest[25..], [tally]);
}

#[test]
fn one_that_is_killed_is_replaced_by_one_that_goes_on_behind_its_last_file() {
    let layer = layer();
    let all = all_opened(layer.path());
    let mut helper = start(layer.path(), &Start::default());
    helper.go(13);
    words(&mut helper, 14);
    let id = rustix::process::Pid::from_raw(helper.id().cast_signed()).expect("a process");
    rustix::process::kill_process(id, rustix::process::Signal::KILL).expect("it runs");
    let (_, how) = end(&mut helper);
    assert!(how.contains("signal: 9"), "{how}");
    let after = Start {
        after: Some(layer.path().join("b/02")),
        pass_over: 0,
    };
    let mut next = start(layer.path(), &after);
    next.go(3);
    let said = words(&mut next, 4);
    assert_eq!(said[0], Word::Begun { files: 17 });
    assert_eq!(said[1..], all[13..16]);
    // And one that is to leave the next file alone.
    let over = Start {
        pass_over: 1,
        ..after
    };
    let mut next = start(layer.path(), &over);
    next.go(2);
    let said = words(&mut next, 3);
    let blamed = layer.path().join("b/03").display().to_string();
    assert!(matches!(&said[1], Word::Failed { file, .. } if *file == blamed));
    assert_eq!(said[2], all[14]);
}

#[test]
fn what_is_renamed_or_deleted_in_the_middle_went_away() {
    let layer = layer();
    let mut helper = start(layer.path(), &Start::default());
    helper.go(5);
    words(&mut helper, 6);
    fs::rename(layer.path().join("b"), layer.path().join("d")).expect("nobody holds it");
    fs::remove_dir_all(layer.path().join("c")).expect("nobody holds it");
    helper.go(25);
    let (said, _) = end(&mut helper);
    let gone = said.iter().filter(|word| matches!(word, Word::Gone { .. }));
    assert_eq!(gone.count(), 20);
    let tally = Word::Ended {
        opened: 10,
        infected: 0,
        gone: 20,
        failed: 0,
    };
    assert_eq!(said.last(), Some(&tally));
    // The whole layer.
    let mut helper = start(&layer.path().join("gone"), &Start::default());
    assert!(end(&mut helper).0.contains(&Word::Gone { at: None }));
}

#[test]
fn it_ends_with_its_input_and_when_it_is_let_go() {
    let layer = layer();
    let mut helper = start(layer.path(), &Start::default());
    helper.go(2);
    words(&mut helper, 3);
    let id = helper.id();
    assert!(Path::new(&format!("/proc/{id}")).exists());
    drop(helper);
    // Somebody waits for it; the test's own limit ends this where nobody does.
    while Path::new(&format!("/proc/{id}")).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // As when the service dies: nobody kills it, its input ends.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_siloscan"))
        .args(["warm", "--paced"])
        .arg(layer.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    drop(child.stdin.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_program_that_is_not_there_is_named_with_the_key() {
    let runner = Processes {
        program: "/nowhere/siloscan".into(),
    };
    let cause = runner.start(Path::new("/"), &Start::default()).err();
    let cause = cause.expect("there is none");
    assert!(
        cause.contains("/nowhere/siloscan") && cause.contains("proactive.helper"),
        "{cause}"
    );
    let nonsense = Processes {
        program: "/bin/echo".into(),
    };
    let mut helper = nonsense
        .start(Path::new("/"), &Start::default())
        .expect("it starts");
    assert!(end(&mut helper).1.contains("nonsense"));
}
