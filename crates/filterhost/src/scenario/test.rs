//! What the reader takes and refuses, and that every key is of use.

use super::builtin::ALL;
use super::keys::{ALWAYS, DEEDS, SECTIONS, STEP};
use super::{Scenario, ScenarioError};

fn wrong(text: &str) -> ScenarioError {
    Scenario::parse("file.toml", text).expect_err("it is to be refused")
}

/// Asserts where and with which words a text is refused.
fn refused(text: &str, line: usize, column: usize, words: &str) {
    let error = wrong(text);
    assert_eq!((error.line, error.column), (line, column), "{error}");
    assert!(error.message.contains(words), "{error}");
    assert!(error.to_string().starts_with("file.toml:"), "{error}");
}

#[test]
fn the_own_scenarios_are_read() {
    for (name, text) in ALL {
        let scenario = Scenario::parse(name, text).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(scenario.name(), *name);
        assert!(text.starts_with("# "), "{name} says what it is about");
    }
}

#[test]
fn errors_name_their_place() {
    refused("[machine]\nbuild = x", 2, 9, "");
    refused(
        "[machine]\nbuild = \"new\"",
        2,
        9,
        "`build` must be an integer",
    );
    refused("[machine]\nbuild = -1", 2, 9, "`build` must be an integer");
    refused("[machine]\nbuild = 4294967296", 2, 9, "at most");
    refused("[machine]\nthreads = 3", 2, 1, "no key `threads`");
    refused("[machines]", 1, 2, "no `machines`");
    refused("[[machine]]", 1, 1, "written [machine]");
    refused("[machine]\nwithout-rules = [\"no-rule\"]", 2, 18, "no-rule");
    refused("[[volume]]\ndrive = \"CD\"", 2, 9, "one letter");
    refused(
        "[[volume]]\ndrive = \"C\"\nkind = \"ext4\"",
        3,
        8,
        "ntfs, refs",
    );
    refused(
        "[[volume]]\ndrive = \"C\"\n[[volume]]\ndrive = \"c\"",
        2,
        9,
        "two volumes",
    );
    refused("[[file]]\ntext = \"x\"", 1, 1, "needs the key `path`");
    refused("[[file]]\npath = 'D:\\x'", 2, 8, "drive `D`");
    refused(
        "[[file]]\npath = 'C:\\x'\nhex = \"0g\"",
        3,
        7,
        "hexadecimal",
    );
    refused(
        "[[file]]\npath = 'C:\\x'\ntext = \"a\"\nhex = \"00\"",
        4,
        7,
        "one of both",
    );
    refused(
        "[[filter]]\naltitude = \"high\"\nkind = \"reissue\"",
        2,
        12,
        "decimal",
    );
    refused(
        "[[container]]\nname = \"a\"\nlayers = ['x']",
        3,
        11,
        "begins with a drive",
    );
    refused(
        "[[process]]\nname = \"p\"\ncontainer = \"c\"",
        3,
        13,
        "no [[container]]",
    );
}

#[test]
fn what_is_there_twice_or_too_large_has_a_place() {
    refused(
        "[[process]]\nname = \"p\"\n[[process]]\nname = \"p\"",
        4,
        8,
        "two processes",
    );
    refused(
        "[[container]]\nname = \"a\"\n[[container]]\nname = \"a\"",
        4,
        8,
        "two containers",
    );
    let large = "[[file]]\npath = 'C:\\x'\ntext = \"ab\"\nrepeat = 20000000\n";
    assert!(Scenario::parse("file.toml", large).is_ok());
    refused(&large.repeat(2), 8, 10, "in all");
}

#[test]
fn errors_of_steps_name_their_place() {
    let step = |rest: &str| format!("[[step]]\n{rest}");
    refused(&step("path = 'C:\\x'"), 1, 1, "needs the key `do`");
    refused(&step("do = \"jump\""), 2, 6, "none of open");
    refused(&step("do = \"open\""), 2, 6, "needs the key `path`");
    refused(
        &step("do = \"unload\"\npath = 'C:\\x'"),
        3,
        1,
        "no use for the key",
    );
    refused(
        &step("do = \"close\"\nfile = \"a\""),
        3,
        8,
        "no `open` step",
    );
    refused(
        &step("do = \"unload\"\nstatus = \"OK\""),
        3,
        10,
        "no status",
    );
    refused(
        &step("do = \"unload\"\nafter = \"a\""),
        3,
        9,
        "no step has the name",
    );
    refused(
        &step("do = \"unload\"\nprocess = \"a\""),
        3,
        11,
        "no [[process]]",
    );
    refused(
        &step("do = \"fail-call\"\nfunction = \"f\""),
        3,
        12,
        "provides no",
    );
    for (rest, column, words) in [
        ("do = \"fail-allocation\"\nnth = 0", 7, "at least 1"),
        (
            "do = \"open\"\nshare = 65536\npath = 'C:\\x'",
            9,
            "at most 65535",
        ),
    ] {
        refused(&step(rest), 3, column, words);
    }
    let query = "path = 'C:\\x'\nas = \"a\"\n[[step]]\ndo = \"query\"\nfile = \"a\"\n";
    let class = format!("do = \"open\"\n{query}class = 2147483648");
    refused(&step(&class), 8, 9, "at most 2147483647");
    let waits =
        "do = \"unload\"\nname = \"a\"\nafter = \"b\"\n[[step]]\ndo = \"unload\"\nname = \"b\"";
    refused(&step(waits), 1, 1, "waits for itself");
}

#[test]
fn every_key_of_a_step_is_of_use() {
    for key in STEP.keys {
        let used = |deed: &super::keys::Deed| [deed.needs, deed.may].concat().contains(&key.name);
        let any = ALWAYS.contains(&key.name) || DEEDS.iter().any(used);
        assert!(any, "`{}` is of no use", key.name);
    }
    let known: Vec<_> = STEP.keys.iter().map(|key| key.name).collect();
    for deed in DEEDS {
        for name in [deed.needs, deed.may].concat() {
            assert!(known.contains(&name), "`{}` uses `{name}`", deed.name);
        }
    }
}

#[test]
fn the_reference_has_every_key() {
    let reference = super::keys::reference();
    for key in SECTIONS.iter().flat_map(|section| section.keys) {
        assert!(reference.contains(&format!("| `{}` |", key.name)));
    }
}
