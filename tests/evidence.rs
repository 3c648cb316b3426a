//! `docs/evidence.md` names tests, stages and observations: each must exist, each program of
//! `tests/` must be cited, and nothing may be said to have run on Windows without a link to the
//! run.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of each row of each table, heads and rules left out.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let row = |line: &&str| line.starts_with("| ");
    let head = |index: &usize| {
        lines
            .get(index + 1)
            .is_some_and(|next| next.starts_with("| ---"))
    };
    (0..lines.len())
        .filter(|index| row(&lines[*index]) && !head(index) && !lines[*index].starts_with("| ---"))
        .map(|index| lines[index].trim_matches('|').split(" | "))
        .map(|cells| cells.map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What a row says that is not so.
fn wrong(row: &[String], scripts: &str, stages: &str) -> Vec<String> {
    let mut found = Vec::new();
    for cell in row {
        for name in quoted(cell).filter(|name| name.contains(".rs::")) {
            let (file, test) = name.split_once("::").unwrap_or((name, ""));
            let there = fs::read_to_string(root().join(file))
                .is_ok_and(|text| text.contains(&format!("fn {test}()")));
            if !there {
                found.push(format!("there is no test {name}"));
            }
        }
        for name in cell.split("stage `").skip(1) {
            let name = name.split('`').next().unwrap_or_default();
            if !stages.contains(&format!("| `{name}`")) && !stages.contains(&format!("` `{name}`"))
            {
                found.push(format!("docs/hacking.md has no stage {name}"));
            }
        }
    }
    let asked = row.iter().rev().nth(1).map_or("", String::as_str);
    if asked != "–" && !scripts.contains(asked) {
        found.push(format!("no script asks: {asked}"));
    }
    let windows = row.last().map_or("", String::as_str);
    let open = windows == "–" || windows.starts_with("not yet run");
    if !open && !windows.contains("https://") {
        found.push(format!("Windows: {windows:?} has no link to the run"));
    }
    if windows != "–" && row.iter().all(|cell| cell == "–") {
        found.push("an empty row".to_owned());
    }
    found
}

fn scripts() -> String {
    [
        "install.ps1",
        "run.ps1",
        "scenarios.ps1",
        "silos.ps1",
        "container.ps1",
    ]
    .map(|name| read(&root().join("tests/windows").join(name)))
    .concat()
}

#[test]
fn every_test_stage_and_observation_that_is_named_exists() {
    let rows = rows(&read(&root().join("docs/evidence.md")));
    assert!(rows.len() > 25, "the tables were read: {} rows", rows.len());
    let (scripts, stages) = (scripts(), read(&root().join("docs/hacking.md")));
    let mut found = Vec::new();
    for row in &rows {
        let claim = row.first().map_or("", String::as_str);
        let wrong = wrong(row, &scripts, &stages);
        found.extend(wrong.iter().map(|what| format!("{claim}: {what}")));
    }
    assert!(found.is_empty(), "docs/evidence.md\n{}", found.join("\n"));
}

/// The files of `tests/` that Cargo makes programs from, but this one.
fn programs() -> Vec<String> {
    let entries = fs::read_dir(root().join("tests")).expect("the folder of tests");
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.expect("an entry of the folder").path();
            let name = path.file_name()?.to_str()?.to_owned();
            if path.join("main.rs").is_file() {
                return Some(format!("tests/{name}/main.rs"));
            }
            name.ends_with(".rs").then(|| format!("tests/{name}"))
        })
        .filter(|program| program != "tests/evidence.rs")
        .collect();
    found.sort();
    found
}

/// The programs of which no test is named.
fn uncited<'a>(page: &str, programs: &'a [String]) -> Vec<&'a String> {
    let programs = programs.iter();
    programs
        .filter(|program| !page.contains(&format!("`{program}::")))
        .collect()
}

#[test]
fn each_program_is_cited() {
    let programs = programs();
    assert!(programs.len() > 25, "the folder was read: {programs:?}");
    let missing = read(&root().join("docs/evidence.md"));
    let missing = uncited(&missing, &programs);
    assert!(
        missing.is_empty(),
        "docs/evidence.md leaves out {missing:?}"
    );
    let new = ["tests/new.rs".to_owned(), "tests/old.rs".to_owned()];
    let page = "| old news | `tests/old.rs::a_test` | `tests/new.rs` |";
    assert_eq!(uncited(page, &new), [&new[0]]);
}

#[test]
fn what_does_not_exist_is_noticed() {
    let row = |text: &str| rows(&format!("{text}\n")).remove(0);
    let said = |text: &str| wrong(&row(text), "drops EICAR", "| `wine` | x |");
    let good = "| c | `tests/evidence.rs::what_does_not_exist_is_noticed` | stage `wine` \
                | drops EICAR | not yet run |";
    assert_eq!(said(good), Vec::<String>::new());
    for (from, to) in [
        ("what_does", "what_did"),
        ("evidence.rs", "evident.rs"),
        ("`wine`", "`beer`"),
        ("drops EICAR", "drops a hint"),
        ("not yet run", "yes"),
    ] {
        assert_eq!(said(&good.replace(from, to)).len(), 1, "{from} became {to}");
    }
    let run = good.replace("not yet run", "26100: https://example.org/run");
    assert_eq!(said(&run), Vec::<String>::new());
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(read(&path));
        }
    }
}

/// The folders of all tests.
fn tests() -> Vec<String> {
    let mut found = Vec::new();
    sources(&root().join("tests"), &mut found);
    for name in ["core", "filterhost", "service", "worlds"] {
        sources(&root().join("crates").join(name).join("tests"), &mut found);
    }
    found
}

/// Whether `name` carries the number of a weakness (`w3` in `i7_w3_w9_what_it_shows`).
fn is_numbered(name: &str, number: usize) -> bool {
    name.split('_').any(|part| part == format!("w{number}"))
}

/// Weaknesses that have no row on the page, or whose row cites no test with their number.
fn unshown(page: &str, count: usize) -> Vec<usize> {
    let rows = rows(page);
    let shown = |number: &usize| {
        let start = format!("W{number} ");
        let row = rows.iter().find(|row| row[0].starts_with(&start));
        row.and_then(|row| row.get(1)).is_some_and(|cell| {
            let mut tests = quoted(cell).filter_map(|name| name.split_once(".rs::"));
            tests.any(|(_, test)| is_numbered(test, *number))
        })
    };
    (1..=count).filter(|number| !shown(number)).collect()
}

#[test]
fn each_weakness_has_a_test_with_its_number() {
    const COUNT: usize = 16;
    let page = read(&root().join("docs/evidence.md"));
    assert_eq!(unshown(&page, COUNT), Vec::<usize>::new());
    assert_eq!(unshown(&page, COUNT + 1), [COUNT + 1], "there are so many");
    let tests = tests();
    for number in 1..=COUNT {
        let declared = tests
            .iter()
            .flat_map(|text| text.split("#[test]\nfn ").skip(1));
        let mut names = declared.filter_map(|rest| rest.split_once('('));
        assert!(
            names.any(|(name, _)| is_numbered(name, number)),
            "W{number}"
        );
    }
    // A row without a test, one with another's test, and one that is gone.
    for (from, to) in [
        ("w12_no_code", "no_code"),
        ("w10_a_scratch", "w1_a_scratch"),
        ("| W16 ", "| W "),
    ] {
        let page = page.replace("w12_pool", "pool").replace(from, to);
        assert!(!unshown(&page, COUNT).is_empty(), "{from} became {to}");
    }
}

/// Tests that a page names as the pages of this project do: `tests/file.rs` `function`,
/// `tests/file.rs::function`, and (`file function`).
fn named_tests(page: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = quoted(page).collect();
    let mut found = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if let Some((file, test)) = part.split_once(".rs::") {
            found.push((format!("{file}.rs"), test.to_owned()));
        } else if part.ends_with(".rs") && part.starts_with("tests/") {
            let is_test = |next: &&&str| next.contains('_') && !next.contains(['/', ' ', ':', '.']);
            let test = parts.get(at + 1).filter(is_test);
            found.extend(test.map(|test| ((*part).to_owned(), (*test).to_owned())));
        } else if let Some((file, test)) = part.split_once(' ')
            && root().join(format!("tests/{file}.rs")).is_file()
            && test.contains('_')
        {
            found.push((format!("tests/{file}.rs"), test.to_owned()));
        }
    }
    found
}

#[test]
fn every_test_that_a_page_names_exists() {
    let there = |(file, test): &(String, String)| {
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        text.contains(&format!("fn {test}()"))
    };
    for (name, least) in [("kinds.md", 30), ("changes.md", 40), ("evidence.md", 100)] {
        let named = named_tests(&read(&root().join("docs").join(name)));
        assert!(named.len() >= least, "{name} was read: {}", named.len());
        let missing: Vec<_> = named.iter().filter(|test| !there(test)).collect();
        assert!(missing.is_empty(), "docs/{name}: {missing:?}");
    }
    let page = "`tests/races.rs` `no_such_test` | `tests/races.rs::nor_this` (`races or_this`)";
    let named = named_tests(page);
    assert_eq!(
        (named.len(), named.iter().filter(|test| there(test)).count()),
        (3, 0)
    );
}
