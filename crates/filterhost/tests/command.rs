//! The command, as somebody uses it who has a driver and no siloscan: what it prints and with
//! which code it ends. `docs/filterhost.md` shows the same drivers, scenario and output.

#[path = "support/command.rs"]
mod command;
#[path = "support/page.rs"]
mod page;
mod support;

use std::path::{Path, PathBuf};

use command::Ran;
use filterhost::scenario::{Choices, Start};
use filterhost::{Mode, Scenario};
use page::shown;

fn filterhost(arguments: &[&str]) -> Ran {
    command::filterhost(arguments, None)
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples")
}

/// `count.c`, built as the page says.
fn count() -> String {
    // Reports name the file without the folder of this machine.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers/../examples");
    let map = format!("-fdebug-prefix-map={}=.", folder.display());
    let image = support::driver("../examples/count", &["-Wno-unused-parameter", &map]);
    image.display().to_string()
}

/// A scenario in a file of its own.
fn scenario(name: &str, text: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("a writable folder");
    path.display().to_string()
}

/// Everything about the page in one test: its parts are written one after the other.
#[test]
fn the_page_shows_what_happens() {
    let image = count();
    let source = std::fs::read_to_string(examples().join("count.c")).expect("the source");
    assert!(source.lines().count() <= 50, "count.c has 50 lines at most");
    shown("count.c", "c", &source);
    shown("count build", "sh", BUILD);
    let file = examples().join("count.toml");
    let text = std::fs::read_to_string(&file).expect("the scenario");
    shown("count.toml", "toml", &text);
    let short = |out: &str| {
        let out = out.replace(&image, "count.sys");
        out.replace(&file.display().to_string(), "count.toml")
    };
    let ran = filterhost(&["run", &image, "--scenario", &file.display().to_string()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    shown("count run", "text", &short(&ran.out));
    let ran = filterhost(&["imports", &image]);
    assert_eq!(ran.code, Some(0), "{}", ran.out);
    shown("count imports", "text", &short(&ran.out));
    let ran = filterhost(&["verify", &image]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("context-leak"), "{}", ran.out);
    shown("count verify", "text", &short(&ran.out));
    shown("reference", "", &filterhost::scenario::keys::reference());
    let ran = filterhost(&["scenarios"]);
    shown("scenarios", "text", &ran.out);
}

/// A finding comes again with the arguments that it names, and not with its rule off.
#[test]
fn a_finding_comes_again() {
    let image = count();
    let all = filterhost(&["verify", &image, "--seeds", "4", "--faults", "0"]);
    let again = all
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix("again: filterhost "));
    let again: Vec<&str> = again.expect("a finding").split(' ').collect();
    let ran = filterhost(&again);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.err.starts_with("context-leak"), "{}", ran.err);
    let off = filterhost(&[&again[..], &["--without", "context-leak"]].concat());
    assert_eq!(off.code, Some(0), "{}{}", off.out, off.err);
}

/// How the page builds count.c, from the root of the repository.
const BUILD: &str = "\
for module in fltmgr.sys ntoskrnl.exe; do
    filterhost exports --definition $module > $module.def
    lld-link-19 /lib /machine:x64 /def:$module.def /out:$module.lib
done
clang-19 --target=x86_64-pc-windows-msvc -ffreestanding -O1 -g -gcodeview \\
    -I crates/filterhost/tests/drivers -c crates/filterhost/tests/examples/count.c -o count.obj
lld-link-19 /driver /subsystem:native /entry:DriverEntry /nodefaultlib /debug /out:count.sys \\
    count.obj fltmgr.sys.lib ntoskrnl.exe.lib";

#[test]
fn the_commands_of_the_page_build_the_driver() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crates = root.canonicalize().expect("the root").join("crates");
    std::os::unix::fs::symlink(crates, folder.path().join("crates")).expect("a link");
    let own = Path::new(env!("CARGO_BIN_EXE_filterhost")).parent();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", own.expect("a folder").display());
    let built = std::process::Command::new("sh")
        .args(["-e", "-c", BUILD])
        .env("PATH", path)
        .current_dir(&folder)
        .status();
    assert!(built.expect("a shell").success());
    let image = folder.path().join("count.sys").display().to_string();
    let ran = filterhost(&["imports", &image]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("7 imports, 0 missing"), "{}", ran.out);
}

/// What the host's own scenarios expect of a driver that changes nothing comes about: verify does
/// not judge that.
#[test]
fn the_own_scenarios_go_as_they_say() {
    let image = PathBuf::from(count());
    for scenario in filterhost::scenario::verify::own_scenarios() {
        for mode in [
            Mode::Free,
            Mode::Seeded(0),
            Mode::Seeded(1),
            Mode::Seeded(2),
        ] {
            let choices = Choices {
                mode: Some(mode),
                // The fault that the driver is there to show.
                without_rules: vec!["context-leak"],
                ..Choices::default()
            };
            let played = scenario.play(&image, &choices);
            let played = played.unwrap_or_else(|report| panic!("{mode:?}: {report}"));
            let name = scenario.name();
            assert_eq!(played.start, Start::Started, "{name}");
            assert_eq!(played.problems, [], "{name}, {mode:?}");
        }
    }
}

/// A scenario that cannot be played costs neither the others nor their findings; the command of a
/// finding says everything that the run was chosen by.
#[test]
fn an_impossible_scenario_costs_no_finding() {
    let image = count();
    let text = "[[volume]]\ndrive = \"C\"\nimport = \"no-such-folder\"\n";
    let file = scenario("impossible.toml", text);
    let arguments = ["verify", &image, "--only", "--seeds", "4", "--faults", "0"];
    let more = ["--scenario", &file, "--scenario", "own:crowd"];
    let chosen = [
        "--build",
        "26100",
        "--altitude",
        "140000",
        "--without",
        "irql",
    ];
    let ran = filterhost(&[&arguments[..], &more, &chosen].concat());
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("context-leak"), "{}", ran.out);
    assert!(ran.out.contains("not played: "), "{}", ran.out);
    assert!(ran.out.contains(&chosen.join(" ")), "{}", ran.out);
    // A driver that cannot be loaded at all is told as before.
    let alone = filterhost(&[&arguments[..], &more[..2]].concat());
    assert_eq!(alone.code, Some(2), "{}{}", alone.out, alone.err);
    assert!(alone.err.contains("no-such-folder"), "{}", alone.err);
}

/// The counts of a play begin where the faults are counted from: at the driver's load. And a play
/// that ends early leaves no driver behind.
#[test]
fn a_filter_beside_is_not_counted_and_goes() {
    let image = PathBuf::from(count());
    // It says when it goes.
    let other = support::driver("lifecycle", &["-DCASE=0"]);
    let beside = format!(
        "[[filter]]\nimage = '{}'\naltitude = \"140000\"\n",
        other.display()
    );
    let play = |text: &str| {
        let scenario = Scenario::parse("beside.toml", text).expect("a scenario");
        let choices = Choices {
            mode: Some(Mode::Seeded(0)),
            ..Choices::default()
        };
        scenario.play(&image, &choices).expect("no report")
    };
    let (alone, both) = (play(""), play(&beside));
    assert_eq!(alone.calls, both.calls);
    assert_eq!(alone.allocations, both.allocations);
    let late =
        "[[volume]]\ndrive = \"C\"\n[[volume]]\ndrive = \"D\"\nlate = true\nimport = \"no\"\n";
    let early = play(&format!("{beside}{late}"));
    assert!(
        matches!(early.start, Start::Impossible(_)),
        "{:?}",
        early.start
    );
    assert_eq!(early.problems, []);
    assert!(
        early
            .messages
            .iter()
            .any(|said| said.contains("unregistered")),
        "{:?}",
        early.messages
    );
}

/// The mended driver, which gives up the context that lost, is not complained about.
#[test]
fn the_mended_driver_passes() {
    let source = std::fs::read_to_string(examples().join("count.c")).expect("the source");
    let faulty = "    return old ? 0 : status;";
    assert!(source.contains(faulty), "the fault has moved");
    let release = "    if (old || status < 0) FltReleaseContext(fresh);\n";
    let mended = source.replace(faulty, &format!("{release}{faulty}"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mended.c");
    std::fs::write(&copy, mended).expect("a writable folder");
    let name = copy.with_extension("").display().to_string();
    let image = support::driver(&name, &["-Wno-unused-parameter"]);
    let ran = filterhost(&["verify", &image.display().to_string()]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("no rule was broken"), "{}", ran.out);
}

#[test]
fn what_a_scenario_did_not_expect_is_told() {
    let missing = "[[step]]\ndo = \"open\"\npath = 'C:\\missing'\n\n";
    let made = "[[step]]\nthread = \"other\"\ndo = \"make-directory\"\npath = 'C:\\d'\n";
    let text = &format!("{missing}{made}");
    let file = scenario("missing.toml", text);
    let ran = filterhost(&["run", &count(), "--scenario", &file]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.out, ran.err);
    let told = "missing.toml:1: open: ended with STATUS_OBJECT_NAME_NOT_FOUND, not STATUS_SUCCESS";
    assert!(ran.out.contains(told), "{}", ran.out);
    assert!(ran.out.contains("1 problems"), "{}", ran.out);
    let lenient = filterhost(&["run", &count(), "--scenario", &file, "--lenient"]);
    assert_eq!(lenient.code, Some(0), "{}{}", lenient.out, lenient.err);
    assert!(lenient.out.contains("is not judged"), "{}", lenient.out);
}

#[test]
fn what_cannot_be_tried_ends_with_2() {
    let file = scenario("broken.toml", "[machine]\nbuilt = 3\n");
    let ran = filterhost(&["run", &count(), "--scenario", &file]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err
            .contains("broken.toml:2:1: [machine] has no key `built`"),
        "{}",
        ran.err
    );
    let ran = filterhost(&["verify", "nowhere.sys"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("nowhere.sys"), "{}", ran.err);
    let ran = filterhost(&["run", &count(), "--scenario", "own:none"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("own:none:1:1: cannot be read"),
        "{}",
        ran.err
    );
}

/// Two threads of a process at a driver's port: one asks, the other answers.
#[test]
fn a_scenario_talks_to_a_port() {
    let image = support::driver("bridge", &[]).display().to_string();
    let file = examples().join("port.toml").display().to_string();
    for seed in ["1", "2", "3"] {
        let ran = filterhost(&["run", &image, "--scenario", &file, "--seed", seed]);
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    }
}

/// What a step can do is done by one of the host's own scenarios or by an example.
#[test]
fn everything_that_steps_can_do_is_played() {
    let read = |name: &str| std::fs::read_to_string(examples().join(name)).expect("an example");
    let mut texts = vec![read("count.toml"), read("port.toml")];
    let own = filterhost::scenario::builtin::ALL;
    texts.extend(own.iter().map(|(_, text)| (*text).to_owned()));
    for deed in filterhost::scenario::keys::DEEDS {
        let line = format!("do = \"{}\"\n", deed.name);
        assert!(
            texts.iter().any(|text| text.contains(&line)),
            "{}",
            deed.name
        );
    }
}
