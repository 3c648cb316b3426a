//! The operator's command as it explains itself: help, man pages, completions.

#[expect(dead_code, reason = "what this test needs of it is a part")]
mod shell;

use shell::siloscan;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn printed(arguments: &[&str]) -> String {
    let output = siloscan(arguments);
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man")
}

fn read(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a plain name");
            (name, fs::read_to_string(entry.path()).expect("text"))
        })
        .collect()
}

/// The subcommands below `above` and what the help says of them.
fn subcommands(above: &[&str]) -> Vec<(String, String)> {
    let help = printed(&[above, &["--help"]].concat());
    let Some(list) = help.split("Commands:\n").nth(1) else {
        return Vec::new();
    };
    let list = list.split("\n\n").next().expect("its end");
    let lines = list.lines().filter_map(|line| {
        let (name, about) = line.trim().split_once(' ')?;
        Some((name.to_owned(), about.trim().to_owned()))
    });
    lines.filter(|(name, _)| name != "help").collect()
}

/// Looks at the pages of what is below `above`, and gives their number.
fn explained(above: &[&str], pages: &BTreeMap<String, String>) -> usize {
    let mut number = 0;
    for (name, about) in subcommands(above) {
        assert!(about.len() > 20, "{name}: {about}");
        let whole = [above, &[name.as_str()]].concat();
        let page = pages.get(&format!("siloscan-{}.1", whole.join("-")));
        let page = page.unwrap_or_else(|| panic!("{name} has no man page"));
        assert!(page.contains(".SH DESCRIPTION"), "{page}");
        let help = printed(&[&whole[..], &["--help"]].concat());
        let options = help
            .lines()
            .filter(|line| line.trim_start().starts_with("--"));
        for option in options {
            let option = option.trim_start().split([' ', ',']).next();
            let option = option.unwrap_or_default().replace('-', "\\-");
            assert!(page.contains(&option), "{option} is not in {page}");
        }
        number += 1 + explained(&whole, pages);
    }
    number
}

#[test]
fn each_subcommand_has_its_help_and_its_man_page() {
    let pages = read(&pages());
    let number = explained(&[], &pages);
    assert!(number >= 9, "{number}");
    assert_eq!(pages.len(), number + 1, "{:?}", pages.keys());
}

#[test]
fn the_man_pages_are_those_of_this_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().to_str().expect("a plain name");
    printed(&["manual", target]);
    if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
        fs::create_dir_all(pages()).expect("a folder");
        for (name, text) in read(folder.path()) {
            fs::write(pages().join(name), text).expect("written");
        }
    }
    assert!(
        read(folder.path()) == read(&pages()),
        "docs/man is old: SILOSCAN_WRITE_DOCS=1 cargo test -p siloscan-service --test manual"
    );
    let refused = siloscan(&["manual", "/nowhere/at/all"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("/nowhere/at/all"));
}

#[test]
fn shells_are_told_all_subcommands() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let text = printed(&["completions", shell]);
        for (name, _) in subcommands(&[]) {
            assert!(text.contains(&name), "{shell}: {name}");
        }
    }
    let refused = siloscan(&["completions", "cmd"]);
    assert_eq!(refused.status.code(), Some(2));
}
