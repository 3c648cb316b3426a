//! The figures as tables for a terminal.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::figures::Figures;
use super::{bytes, grouped};

/// Both runs, side by side where they can be compared.
pub fn render(with: &Figures, without: Option<&Figures>) -> String {
    let mut out = String::new();
    let mut section = |title: &str, table: Table| {
        out.push_str(&format!("\n{title}\n{table}\n"));
    };
    section("Opens by route and reason", routes(with));
    section("Scans", scans(with, without));
    section(
        "Time that the driver added to one open (in the filter host, not on Windows)",
        times(with),
    );
    section(
        "Start tax: what each container's opens waited in its first minute",
        starts(with),
    );
    section("Attacks", attacks(with));
    section("Left at unload", left(with));
    out
}

fn table(head: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(head);
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn routes(figures: &Figures) -> Table {
    let mut t = table(&["route", "reason", "opens"], &[2]);
    for row in &figures.routes {
        t.add_row([row.route.clone(), row.reason.clone(), grouped(row.opens)]);
    }
    t
}

fn scans(with: &Figures, without: Option<&Figures>) -> Table {
    let mut t = table(
        &["run", "opens", "scans", "scanned", "seconds"],
        &[1, 2, 3, 4],
    );
    let mut row = |name: &str, f: &Figures| {
        t.add_row([
            name.to_owned(),
            grouped(f.opens),
            grouped(f.scans),
            bytes(f.scanned_bytes),
            format!("{:.2}", f.seconds),
        ]);
    };
    row("siloscan", with);
    if let Some(without) = without {
        row("optimisation switched off", without);
        let avoided = without.scans.saturating_sub(with.scans);
        let share = 100.0 * avoided as f64 / without.scans.max(1) as f64;
        t.add_row([
            "avoided".to_owned(),
            String::new(),
            format!("{} ({share:.1} %)", grouped(avoided)),
            bytes(without.scanned_bytes.saturating_sub(with.scanned_bytes)),
            String::new(),
        ]);
    }
    t
}

fn times(figures: &Figures) -> Table {
    let mut t = table(
        &[
            "route, decision",
            "opens",
            "median µs",
            "95 % µs",
            "slowest µs",
        ],
        &[1, 2, 3, 4],
    );
    for row in &figures.times {
        t.add_row([
            row.route.clone(),
            grouped(row.opens as u64),
            format!("{:.1}", row.median_us),
            format!("{:.1}", row.p95_us),
            format!("{:.1}", row.max_us),
        ]);
    }
    t
}

/// The containers in the order in which they started; of many, the first ones.
fn starts(figures: &Figures) -> Table {
    const SHOWN: usize = 20;
    let mut t = table(&["container", "opens that waited", "waited ms"], &[1, 2]);
    let mut row = |name: &str, waits: u64, waited_us: u64| {
        let waited = format!("{:.1}", waited_us as f64 / 1e3);
        t.add_row([name.to_owned(), grouped(waits), waited]);
    };
    for start in figures.starts.iter().take(SHOWN) {
        row(&start.container, start.waits, start.waited_us);
    }
    let waits = figures.starts.iter().map(|start| start.waits).sum();
    let waited = figures.starts.iter().map(|start| start.waited_us).sum();
    row("all", waits, waited);
    t
}

fn attacks(figures: &Figures) -> Table {
    let mut t = table(&["attack", "container", "path", "rule", "outcome"], &[]);
    for a in &figures.attacks {
        let outcome = if a.denied { "denied" } else { "SUCCEEDED" };
        t.add_row([&a.what, &a.container, &a.path, &a.rule, &outcome.to_owned()]);
    }
    t
}

fn left(figures: &Figures) -> Table {
    let mut t = table(&["what", "number"], &[1]);
    for (what, number) in &figures.left {
        t.add_row([what.clone(), grouped(*number)]);
    }
    t
}
