//! `docs/verifier.md`, made from the registry of rules.
//!
//! `SILOSCAN_WRITE_DOCS=1` writes the page instead of comparing it.

use std::fmt::Write as _;
use std::path::Path;

use filterhost::verifier::{FAMILIES, Family, Rule, rules};

use crate::committed;

const HEAD: &str = "\
# What the filter host judges

Made from `crates/filterhost/src/verifier/`, one file for each family
(`SILOSCAN_WRITE_DOCS=1 cargo test -p filterhost --features clang --test wrong`).

A rule is what Microsoft's documentation demands of a driver; the page named says it, or describes
the contract that it follows from. Each has a *wrong driver*, a case in
`crates/filterhost/tests/wrong/`, which breaks it and nothing else: with all rules on, its run ends
with that rule; with that rule off (`--without RULE`, `MachineBuilder::without_rules`), it ends as
the last column says. `cargo test --test wrong` shows both for each rule.

Where a run ends with a *crash*, that is no rule's report: `access-violation`, `bug-check`,
`assertion`, `breakpoint`, `divide-error`, `illegal-instruction`, `pool-raise` (an exception that
nobody handles), `crash` (what a driver did cannot be survived), `deadlock`, `no-progress`.
`host-…` and `unsupported` are troubles of the host's own.

";

const TAIL: &str = "\
## Judged elsewhere

| what | where |
| --- | --- |
| the text of an INF | `crates/inf`, 26 rules; `tests/inf/broken.toml` breaks each |
| imports that a supported Windows lacks | `tests/imports.toml` and `tests/image` |

Rule `irql-code` needs to be told which code it is about (`MachineBuilder::dispatch_code`).
siloscan's is the write section of the cache and its neighbours, in `tests/write_sections.rs`: what
takes a `WriteToken` is inlined and makes no call that tells its level. The compiler helps: only
`src/kernel/lock.rs` makes a token, while it holds a spin lock at `DISPATCH_LEVEL`.
";

/// What the committed page lacks; writes it instead where that is asked for.
pub fn differences() -> Vec<String> {
    Vec::from_iter(committed::differs("verifier.md", &page()))
}

fn page() -> String {
    let mut out = HEAD.to_owned();
    let (rules, families) = (rules().count(), FAMILIES.len());
    let _ = writeln!(out, "{rules} rules in {families} families.\n");
    for family in FAMILIES {
        section(&mut out, family);
    }
    out.push_str(TAIL);
    out
}

fn section(out: &mut String, family: &Family) {
    let _ = writeln!(out, "## {}\n", family.title);
    let _ = writeln!(out, "`{}.rs`\n", family.file);
    out.push_str("| rule | demands | page | wrong driver | when it is off |\n");
    out.push_str("| --- | --- | --- | --- | --- |\n");
    for rule in family.rules {
        let Rule {
            name,
            demand,
            title,
            off,
            ..
        } = *rule;
        let (page, driver) = (rule.page(), drivers(name, family.file));
        let _ = writeln!(
            out,
            "| `{name}` | {demand} | [{title}]({page}) | {driver} | {off} |"
        );
    }
    out.push('\n');
}

/// The cases of a rule, as the C file of its family holds them.
fn drivers(rule: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/wrong/{file}.c"));
    let source = std::fs::read_to_string(path).unwrap_or_default();
    let end = format!(", {})", rule.replace('-', "_"));
    let cases = source.lines().filter_map(|line| {
        let situation = line.strip_prefix("WRONG(")?.strip_suffix(&end)?;
        Some(format!("`{file}.c`, {situation}"))
    });
    Vec::from_iter(cases).join("; ")
}
