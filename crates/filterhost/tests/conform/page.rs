//! `docs/exports.md`, made from the table of provided functions and `statuses.toml`.
//!
//! `SILOSCAN_WRITE_DOCS=1` writes the page instead of comparing it.

use std::fmt::Write as _;

use crate::committed;
use crate::table::{Shown, Table};

const HEAD: &str = "\
# What the filter host provides to drivers

Made from `crates/filterhost` and `crates/filterhost/tests/statuses.toml`
(`SILOSCAN_WRITE_DOCS=1 cargo test -p filterhost --features clang --test conform`).

How true a function is to Windows is what its page documents of it: each result is *shown* by a
case in C (`crates/filterhost/tests/drivers/conform`), or *cannot come about* in the host, for the
reason given. What no page says is not claimed. \"Any\" is every interrupt request level;
\"since\" is the first build of Windows that has the function, where it matters.

";

/// What the committed page lacks; writes it instead where that is asked for.
pub fn differences(table: &Table) -> Vec<String> {
    Vec::from_iter(committed::differs("exports.md", &page(table)))
}

fn page(table: &Table) -> String {
    let mut out = HEAD.to_owned();
    let mut all: Vec<_> = filterhost::exports::all()
        .map(|export| export.info)
        .collect();
    all.sort_by_key(|info| (info.module, info.name));
    let results = table
        .values()
        .flat_map(|function| function.results.values());
    let shown = results
        .clone()
        .filter(|result| matches!(result, Shown::Case(_)))
        .count();
    let (functions, results) = (all.len(), results.count());
    let _ = writeln!(
        out,
        "{functions} functions with {results} documented results, {shown} of them shown.\n"
    );
    out.push_str("| function | level | since | shown | cannot come about |\n");
    out.push_str("| --- | --- | --- | --- | --- |\n");
    for info in all {
        let since = match info.since {
            0 => String::new(),
            build => build.to_string(),
        };
        let of = table.get(info.name).map(|function| &function.results);
        let (mut shown, mut absent) = (Vec::new(), Vec::new());
        for (result, how) in of.into_iter().flatten() {
            match how {
                Shown::Case(_) => shown.push(format!("`{result}`")),
                Shown::Absent(reason) => absent.push(format!("`{result}`: {}", reason.absent)),
            }
        }
        let _ = writeln!(
            out,
            "| [{}]({}) ({}) | {} | {since} | {} | {} |",
            info.name,
            info.page(),
            info.module,
            info.irql,
            shown.join(", "),
            absent.join("; ")
        );
    }
    out
}
