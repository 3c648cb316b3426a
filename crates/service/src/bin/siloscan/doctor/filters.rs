//! The filters of a Windows, from the bytes that the Filter Manager's library gives
//! (`FILTER_AGGREGATE_STANDARD_INFORMATION`, `INSTANCE_AGGREGATE_STANDARD_INFORMATION`), and what
//! is to be said of them. Plain bytes in, so that it is tested anywhere.
//! <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltuserstructures/>
//!
//! Altitudes are those of Microsoft's list of allocated ones.
//! <https://learn.microsoft.com/windows-hardware/drivers/ifs/allocated-altitudes>
#![cfg_attr(
    not(any(windows, test)),
    expect(dead_code, reason = "only Windows has a Filter Manager to ask")
)]

use std::cmp::Ordering;

use serde::Serialize;

use super::Row;

/// The driver's name as a filter.
pub const OURS: &str = "siloscan";
/// The container file system filter.
pub const WCIFS: &str = "wcifs";
const BINDFLT: &str = "bindflt";
/// Microsoft Defender's, beside which siloscan is meant to run.
const DEFENDER: &str = "WdFilter";
/// The load order group "FSFilter Anti-Virus".
const ANTIVIRUS: (&str, &str) = ("320000", "330000");
/// Where Microsoft's list has wcifs and bindflt.
const WCIFS_ALTITUDE: &str = "189900";
const BINDFLT_ALTITUDE: &str = "409800";
/// Entries of one answer at most: a chain that goes in a circle ends, too.
const ENTRIES_MAX: usize = 4_096;
/// The flag of a filter of before the Filter Manager.
const LEGACY: u32 = 2;

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filter {
    pub name: String,
    /// A decimal number of any precision; empty for a legacy filter without one.
    pub altitude: String,
    /// On so many volumes.
    pub instances: u32,
    /// Of before the Filter Manager.
    pub legacy: bool,
}

/// A filter on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    pub filter: String,
    pub volume: String,
    pub altitude: String,
}

/// Bytes that are no answer of the Filter Manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Filter Manager's answer makes no sense at byte {0}")]
pub struct Malformed(pub usize);

struct Entry<'a>(&'a [u8], usize);

impl Entry<'_> {
    fn u16(&self, at: usize) -> Result<u16, Malformed> {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        let bytes = bytes.ok_or(Malformed(self.1 + at))?;
        Ok(u16::from_le_bytes(*bytes))
    }

    fn u32(&self, at: usize) -> Result<u32, Malformed> {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        let bytes = bytes.ok_or(Malformed(self.1 + at))?;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// A text whose length in bytes is at `at`, and the place of it behind that.
    fn text(&self, at: usize) -> Result<String, Malformed> {
        let (length, offset) = (self.u16(at)? as usize, self.u16(at + 2)? as usize);
        let wrong = Malformed(self.1 + at);
        let bytes = self.0.get(offset..).and_then(|rest| rest.get(..length));
        let (units, rest) = bytes.ok_or(wrong)?.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(wrong);
        }
        let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        Ok(String::from_utf16_lossy(&units))
    }

    fn is_legacy(&self) -> Result<bool, Malformed> {
        Ok(self.u32(4)? & LEGACY != 0)
    }
}

/// Calls `one` for each entry of a chain.
fn each<T>(
    bytes: &[u8],
    one: impl Fn(&Entry<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let (mut all, mut at) = (Vec::new(), 0);
    while all.len() < ENTRIES_MAX {
        let entry = Entry(bytes.get(at..).ok_or(Malformed(at))?, at);
        all.push(one(&entry)?);
        match entry.u32(0)? as usize {
            0 => return Ok(all),
            next => at = at.checked_add(next).ok_or(Malformed(at))?,
        }
    }
    Err(Malformed(at))
}

/// Reads an answer of `FilterFindFirst` or `FilterFindNext`.
pub fn filters(bytes: &[u8]) -> Result<Vec<Filter>, Malformed> {
    each(bytes, |entry| {
        let legacy = entry.is_legacy()?;
        let (instances, texts) = match legacy {
            true => (0, 12),
            false => (entry.u32(16)?, 20),
        };
        Ok(Filter {
            name: entry.text(texts)?,
            altitude: entry.text(texts + 4)?,
            instances,
            legacy,
        })
    })
}

/// Reads an answer of `FilterInstanceFindFirst` or `FilterInstanceFindNext`.
pub fn instances(bytes: &[u8]) -> Result<Vec<Instance>, Malformed> {
    each(bytes, |entry| {
        // A legacy filter's has no name of the instance.
        let altitude = if entry.is_legacy()? { 12 } else { 24 };
        Ok(Instance {
            altitude: entry.text(altitude)?,
            volume: entry.text(altitude + 4)?,
            filter: entry.text(altitude + 8)?,
        })
    })
}

/// Compares altitudes as the numbers that they are; nothing where one is none.
fn compare(one: &str, other: &str) -> Option<Ordering> {
    let parts = |text: &str| {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let good = !whole.is_empty() && digits(whole) && digits(part);
        let whole = whole.trim_start_matches('0').to_owned();
        good.then(|| (whole.len(), whole, part.trim_end_matches('0').to_owned()))
    };
    Some(parts(one)?.cmp(&parts(other)?))
}

fn is_antivirus(filter: &Filter) -> bool {
    let from = compare(&filter.altitude, ANTIVIRUS.0);
    let to = compare(&filter.altitude, ANTIVIRUS.1);
    from.is_some_and(Ordering::is_ge) && to.is_some_and(Ordering::is_lt)
}

/// The filter of this name.
pub fn named<'a>(all: &'a [Filter], name: &str) -> Option<&'a Filter> {
    all.iter().find(|it| it.name.eq_ignore_ascii_case(name))
}

/// What is to be said of the filters.
pub fn rows(all: &[Filter]) -> Vec<Row> {
    let ours = named(all, OURS);
    let mut rows = vec![ours.map_or_else(
        || {
            let next = "fltmc load siloscan; if that fails, docs/windows.md says why";
            Row::bad("driver", "it is not loaded", next)
        },
        own,
    )];
    rows.push(scanners(all, ours));
    rows.push(container_filter(named(all, WCIFS), ours));
    rows.push(bind_filter(named(all, BINDFLT)));
    let legacy: Vec<&str> = { all.iter() }
        .filter(|it| it.legacy)
        .map(|it| it.name.as_str())
        .collect();
    rows.push(match legacy.as_slice() {
        [] => Row::ok("legacy filters", "none"),
        some => Row::warning(
            "legacy filters",
            &some.join(", "),
            "a filter of before the Filter Manager has no altitude and answers what it does not \
             know as it likes; ask its vendor for a minifilter",
        ),
    });
    rows
}

fn own(ours: &Filter) -> Row {
    let found = format!(
        "at altitude {}, on {} volumes",
        ours.altitude, ours.instances
    );
    if ours.instances == 0 {
        let next = "fltmc attach siloscan C:, and docs/windows.md if that fails";
        return Row::bad("driver", &found, next);
    }
    if !is_antivirus(ours) {
        let next = "its place is 320000 to 329999; install the INF of the package";
        return Row::warning("driver", &found, next);
    }
    Row::ok("driver", &found)
}

/// Where a filter is, seen from ours.
fn place(filter: &Filter, ours: Option<&Filter>) -> &'static str {
    let of = ours.and_then(|ours| compare(&filter.altitude, &ours.altitude));
    match of {
        Some(Ordering::Greater) => ", above siloscan",
        Some(Ordering::Less) => ", below siloscan",
        Some(Ordering::Equal) => ", where siloscan is",
        None => "",
    }
}

fn scanners(all: &[Filter], ours: Option<&Filter>) -> Row {
    const CHECK: &str = "other scanners";
    let is_other = |it: &&Filter| is_antivirus(it) && !it.name.eq_ignore_ascii_case(OURS);
    let others: Vec<&Filter> = all.iter().filter(is_other).collect();
    let texts: Vec<String> = { others.iter() }
        .map(|it| format!("{} at {}{}", it.name, it.altitude, place(it, ours)))
        .collect();
    let found = texts.join("; ");
    if others.is_empty() {
        return Row::ok(CHECK, "none from 320000 to 329999");
    }
    if others
        .iter()
        .all(|it| it.name.eq_ignore_ascii_case(DEFENDER))
    {
        return Row::ok(CHECK, &found);
    }
    Row::warning(
        CHECK,
        &found,
        "two scanners look at each file; if pulls fail or are slow, stop them one by one, and \
         `siloscan doctor explain` the error",
    )
}

fn container_filter(wcifs: Option<&Filter>, ours: Option<&Filter>) -> Row {
    const CHECK: &str = "container filter";
    let Some(wcifs) = wcifs else {
        return Row::warning(
            CHECK,
            "wcifs is not loaded",
            "without the Windows feature \"Containers\" there are none; with it, it is loaded \
             with the first container",
        );
    };
    let found = format!("wcifs at {}{}", wcifs.altitude, place(wcifs, ours));
    let of_ours = ours.and_then(|ours| compare(&wcifs.altitude, &ours.altitude));
    if of_ours.is_some_and(Ordering::is_ge) {
        let next = "siloscan must be above it to ask where a container's bytes lie: install the \
                    INF of the package";
        return Row::bad(CHECK, &found, next);
    }
    if compare(&wcifs.altitude, WCIFS_ALTITUDE) != Some(Ordering::Equal) {
        let next = "Microsoft's list has wcifs at 189900; tell us of this build of Windows";
        return Row::warning(CHECK, &found, next);
    }
    Row::ok(CHECK, &found)
}

fn bind_filter(bindflt: Option<&Filter>) -> Row {
    const CHECK: &str = "bind filter";
    let Some(bindflt) = bindflt else {
        return Row::not_here(CHECK, "bindflt is not loaded; older systems have none");
    };
    let found = format!(
        "bindflt at {}, on {} volumes",
        bindflt.altitude, bindflt.instances
    );
    if compare(&bindflt.altitude, BINDFLT_ALTITUDE) != Some(Ordering::Equal) {
        let next = "Microsoft's list has bindflt at 409800; tell us of this build of Windows";
        return Row::warning(CHECK, &found, next);
    }
    Row::ok(CHECK, &found)
}

/// Volumes where the container filter is and ours is not.
pub fn coverage(ours: &[Instance], wcifs: &[Instance]) -> Row {
    const CHECK: &str = "volumes";
    let has = |volume: &str| {
        let same = |it: &Instance| it.volume.eq_ignore_ascii_case(volume);
        ours.iter().any(same)
    };
    let bare: Vec<&str> = { wcifs.iter() }
        .map(|it| it.volume.as_str())
        .filter(|volume| !has(volume))
        .collect();
    if bare.is_empty() {
        let found = format!("siloscan on {}, wcifs on {}", ours.len(), wcifs.len());
        return Row::ok(CHECK, &found);
    }
    let found = format!("wcifs without siloscan on {}", bare.join(", "));
    let next = "containers there are not scanned: fltmc attach siloscan VOLUME, and tell us";
    Row::bad(CHECK, &found, next)
}

#[cfg(test)]
mod tests;
