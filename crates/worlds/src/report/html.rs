//! The figures as one self-contained page: no script, no font, no request to anywhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::Figures;
use super::{bytes, grouped};

const STYLE: &str = "
:root { color-scheme: light dark;
  --bar: #2f6fde; --other: #b9c3d3; --bad: #c62f2f; --ok: #1d8348; }
body { font: 15px/1.5 system-ui, sans-serif;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .2rem .6rem; text-align: left; }
tr + tr { border-top: 1px solid #8883; } td.n, th.n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; } td.bar { width: 45%; }
.bar i { display: block; height: .9rem; min-width: 1px;
  border-radius: 2px; background: var(--bar); }
.bar i.other { background: var(--other); } .bad { color: var(--bad); } .ok { color: var(--ok); }
.note { opacity: .75; }
";

/// The page. `without` is the run with the optimisation switched off.
pub fn render(with: &Figures, without: Option<&Figures>) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "siloscan: a day of " (with.containers) " containers" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "A day of " (with.containers) " containers" }
                p.note {
                    "The built siloscan.sys in the filter host, a Linux process; not on Windows. "
                    (grouped(with.layer_files as u64)) " package files, "
                    (bytes(with.layer_bytes)) "."
                }
                p { (verdict(with)) }
                h2 { "Scans" }
                (scans(with, without))
                h2 { "Opens by route and reason" }
                (routes(with))
                h2 { "Time that the driver added to one open" }
                (times(with))
                h2 { "Attacks" }
                (attacks(with))
                h2 { "Left at unload" }
                (left(with))
            }
        }
    }
    .into_string()
}

fn verdict(f: &Figures) -> Markup {
    html! {
        @if f.passed() {
            strong.ok {
                "All " (f.attacks.len()) " attacks were denied; nothing was left at unload."
            }
        } @else {
            strong.bad { "An infected open succeeded, or something was left at unload." }
        }
    }
}

fn bar(value: f64, most: f64, class: &str) -> Markup {
    let width = if most > 0.0 {
        100.0 * value / most
    } else {
        0.0
    };
    html! { td.bar { i class=(class) style=(format!("width:{width:.2}%")) {} } }
}

fn scans(with: &Figures, without: Option<&Figures>) -> Markup {
    let most = without.map_or(with.scans, |w| w.scans.max(with.scans)) as f64;
    let row = |name: &str, f: &Figures, class: &str| {
        html! {
            tr {
                td { (name) } td.n { (grouped(f.scans)) } td.n { (bytes(f.scanned_bytes)) }
                (bar(f.scans as f64, most, class))
            }
        }
    };
    html! {
        table {
            tr { th { "run" } th.n { "scans" } th.n { "bytes" } th {} }
            (row("siloscan", with, ""))
            @if let Some(without) = without { (row("optimisation switched off", without, "other")) }
        }
    }
}

fn routes(f: &Figures) -> Markup {
    let most = f.routes.iter().map(|r| r.opens).max().unwrap_or(0) as f64;
    html! {
        table {
            tr { th { "route" } th { "reason" } th.n { "opens" } th {} }
            @for r in &f.routes {
                tr {
                    td { (r.route) } td { (r.reason) } td.n { (grouped(r.opens)) }
                    (bar(r.opens as f64, most, ""))
                }
            }
        }
    }
}

fn times(f: &Figures) -> Markup {
    let most = f.times.iter().map(|t| t.p95_us).fold(0.0, f64::max);
    html! {
        table {
            tr {
                th { "route, decision" } th.n { "opens" } th.n { "median µs" } th.n { "95 % µs" }
                th.n { "slowest µs" } th { "95 %" }
            }
            @for t in &f.times {
                tr {
                    td { (t.route) } td.n { (grouped(t.opens as u64)) }
                    td.n { (format!("{:.1}", t.median_us)) } td.n { (format!("{:.1}", t.p95_us)) }
                    td.n { (format!("{:.1}", t.max_us)) } (bar(t.p95_us, most, ""))
                }
            }
        }
    }
}

fn attacks(f: &Figures) -> Markup {
    html! {
        table {
            tr { th { "attack" } th { "container" } th { "path" } th { "rule" } th { "outcome" } }
            @for a in &f.attacks {
                tr {
                    td { (a.what) } td { (a.container) } td { code { (a.path) } } td { (a.rule) }
                    td {
                        @if a.denied { span.ok { "denied" } } @else { span.bad { "succeeded" } }
                    }
                }
            }
        }
    }
}

fn left(f: &Figures) -> Markup {
    html! {
        table {
            @for (what, number) in &f.left {
                tr { td { (what) } td.n { (grouped(*number)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Attack, Figures};

    #[test]
    fn names_from_a_container_cannot_break_out_of_the_page() {
        let attack = Attack {
            what: "drop".into(),
            container: "<script>alert(1)</script>".into(),
            path: "\\a&b\"".into(),
            rule: "EICAR".into(),
            denied: false,
        };
        let page = super::render(
            &Figures {
                attacks: vec![attack],
                ..Figures::default()
            },
            None,
        );
        assert!(!page.contains("<script>"), "{page}");
        assert!(page.contains("&lt;script&gt;") && page.contains("\\a&amp;b&quot;"));
        assert!(page.contains("An infected open succeeded"));
        assert!(
            !page.contains("http://") && !page.contains("https://"),
            "self-contained"
        );
    }
}
