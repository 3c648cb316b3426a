//! The parts of `docs/filterhost.md` that are made from sources and runs.

#[path = "committed.rs"]
mod committed;

const PAGE: &str = "filterhost.md";

/// Compares a part of the page with what it has to be; writes it where that is asked for
/// (`SILOSCAN_WRITE_DOCS=1`). With a kind it is shown as code.
///
/// # Panics
/// Where the page is not current, or lacks the part.
pub fn shown(part: &str, kind: &str, text: &str) {
    let page = std::fs::read_to_string(committed::path(PAGE)).expect("the page");
    let (begin, end) = (format!("<!-- {part} -->\n"), "<!-- end -->\n");
    let (head, rest) = page.split_once(&begin).expect("the part's begin");
    let (_, tail) = rest.split_once(end).expect("the part's end");
    let text = text.trim();
    let made = match kind {
        "" => format!("{head}{begin}{text}\n{end}{tail}"),
        _ => format!("{head}{begin}```{kind}\n{text}\n```\n{end}{tail}"),
    };
    if let Some(said) = committed::differs(PAGE, &made) {
        panic!("{part}: {said}");
    }
}
