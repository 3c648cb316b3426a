//! The rules for one file of Rust, as text. They read lines, not syntax: that is enough for code
//! that rustfmt has formatted, and keeps them short.

use super::Lists;

/// Most lines of a file, and of a function in it.
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// Most characters of a line; links may be longer.
const COLUMNS_MAX: usize = 100;
/// Fewest words of a reason for `unsafe`.
const SAFETY_WORDS_MIN: usize = 6;

/// What the file breaks, one line each with its name and line number.
pub fn broken(name: &str, text: &str, lists: &Lists) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut say = |line: usize, what: &str| found.push(format!("{name}:{line}: {what}"));
    if !lines.first().is_some_and(|line| line.starts_with("//! ")) {
        say(
            1,
            "does not begin with a `//!` line that says why it exists",
        );
    }
    if lines.len() > FILE_LINES_MAX {
        say(
            lines.len(),
            &format!("has more than {FILE_LINES_MAX} lines"),
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        if line.chars().count() > COLUMNS_MAX && !line.contains("https://") {
            say(number, &format!("has more than {COLUMNS_MAX} columns"));
        }
        if allows_without_reason(&lines[index..]) {
            say(number, "`allow` without a reason; `expect` is better");
        }
        if let Some(words) = safety_words(&lines[index..])
            && words < SAFETY_WORDS_MIN
        {
            say(number, &format!("a SAFETY reason of {words} words"));
        }
        if opts_into_unsafe(&lines[index..]) && !lists.unsafe_files.iter().any(|f| f == name) {
            say(
                number,
                "may not hold unsafe code: see unsafe_files in tests/tidy.toml",
            );
        }
        for (word, instead) in &lists.banned {
            if has_word(line, word) {
                say(number, &format!("`{word}`: {instead}"));
            }
        }
    }
    for (start, length) in functions(&lines) {
        if length > FUNCTION_LINES_MAX {
            let text = format!("a function of {length} lines, at most {FUNCTION_LINES_MAX}");
            say(start + 1, &text);
        }
    }
    found
}

/// An attribute's text from its line to its closing bracket.
fn attribute(lines: &[&str]) -> Option<String> {
    let first = lines.first()?.trim_start();
    if !first.starts_with("#[") && !first.starts_with("#![") {
        return None;
    }
    let mut text = String::new();
    for line in lines.iter().take(12) {
        text.push_str(line.trim());
        if line.trim_end().ends_with(']') {
            break;
        }
    }
    Some(text)
}

fn allows_without_reason(lines: &[&str]) -> bool {
    attribute(lines).is_some_and(|text| text.contains("allow(") && !text.contains("reason ="))
}

fn opts_into_unsafe(lines: &[&str]) -> bool {
    attribute(lines).is_some_and(|text| {
        (text.contains("allow(") || text.contains("expect(")) && text.contains("unsafe_code")
    })
}

/// The number of words after `SAFETY:`, over all the comment's lines.
fn safety_words(lines: &[&str]) -> Option<usize> {
    let (_, first) = lines.first()?.split_once(concat!("// SAF", "ETY:"))?;
    let more = lines
        .iter()
        .skip(1)
        .map_while(|line| line.trim_start().strip_prefix("// "));
    Some(first.split_whitespace().count() + more.flat_map(str::split_whitespace).count())
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(is_part);
        let after = line[at + word.len()..].chars().next().is_some_and(is_part);
        !before && (!after || word.ends_with('!'))
    })
}

/// Start and length of each function: from its line to the brace at the same depth.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        let words = text.split_once("fn ").map(|(before, _)| before);
        let known = [
            "pub",
            "pub(crate)",
            "pub(super)",
            "const",
            "unsafe",
            "async",
            "extern",
        ];
        let is_function = words.is_some_and(|before| {
            before
                .split_whitespace()
                .all(|w| known.contains(&w) || w.starts_with('"'))
        });
        if !is_function {
            continue;
        }
        let close = format!("{indent}}}");
        let end = lines[start..].iter().position(|line| *line == close);
        let semicolon = lines[start..]
            .iter()
            .position(|line| line.trim_end().ends_with(");"));
        if let Some(end) = end
            && semicolon != Some(0)
        {
            found.push((start, end + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        let banned = vec![("bad_word!".to_owned(), "write it".to_owned())];
        Lists {
            unsafe_files: vec!["src/sys.rs".to_owned()],
            banned,
            edges: Vec::new(),
        }
    }

    fn sees(name: &str, text: &str, part: &str) {
        let found = broken(name, text, &lists());
        assert!(
            found.iter().any(|line| line.contains(part)),
            "{part}: {found:?}"
        );
    }

    #[test]
    fn a_clean_file_breaks_nothing() {
        let text = "//! Why.\n\nfn f() {\n    g();\n}\n";
        assert_eq!(broken("src/a.rs", text, &lists()), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_seen() {
        sees("a.rs", "fn f() {}\n", "does not begin");
        sees(
            "a.rs",
            &format!("//! W.\n{}", "//\n".repeat(600)),
            "more than 600 lines",
        );
        sees(
            "a.rs",
            &format!("//! W.\n// {}\n", "x".repeat(99)),
            "more than 100 columns",
        );
        let long = format!("//! W.\nfn f() {{\n{}}}\n", "    g();\n".repeat(69));
        sees("a.rs", &long, "a function of 71 lines");
        sees(
            "a.rs",
            "//! W.\n#[allow(dead_code)]\nfn f() {}\n",
            "without a reason",
        );
        let unsafe_code = "//! W.\n#![expect(unsafe_code, reason = \"x\")]\n";
        sees("src/create.rs", unsafe_code, "may not hold unsafe");
        assert_eq!(
            broken("src/sys.rs", unsafe_code, &lists()),
            Vec::<String>::new()
        );
        let short = format!("//! W.\n    // {} FFI call\n", concat!("SAF", "ETY:"));
        sees("a.rs", &short, "a SAFETY reason of 2 words");
        sees("a.rs", "//! W.\nfn f() { bad_word!() }\n", "write it");
    }

    #[test]
    fn a_function_of_seventy_lines_is_fine() {
        let text = format!("//! W.\nfn f() {{\n{}}}\n", "    g();\n".repeat(68));
        assert_eq!(broken("a.rs", &text, &lists()), Vec::<String>::new());
    }
}
