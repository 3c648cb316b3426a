//! What stampinf does on Windows: the architecture, the driver's date and its version.

use std::path::Path;

use crate::command;
use crate::trouble::{Outcome, Trouble};

/// The moment that a package carries, in seconds since 1970: `SOURCE_DATE_EPOCH`, else that of the
/// last commit, so that the same sources give the same package.
pub fn time(root: &Path) -> u64 {
    /// Outside a repository: the first of January 2026.
    const ELSE: u64 = 1_767_225_600;
    let told = std::env::var("SOURCE_DATE_EPOCH").ok();
    let mut git = command::clean("git");
    git.current_dir(root).args(["log", "-1", "--format=%ct"]);
    told.and_then(|text| text.trim().parse().ok())
        .or_else(|| command::output(&mut git).ok()?.trim().parse().ok())
        .unwrap_or(ELSE)
}

/// The INF of an `.inx`, with the line ends of Windows.
pub fn stamp(source: &str, version: &str, time: u64) -> Outcome<String> {
    let mut found = 0;
    let (year, month, day) = date(time / 86_400);
    let mut out = String::new();
    for line in source.lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        let stamped = match key.eq_ignore_ascii_case("DriverVer") {
            true => {
                found += 1;
                format!("DriverVer   = {month:02}/{day:02}/{year},{version}.0")
            }
            false => line.replace("$ARCH$", "amd64"),
        };
        out += &stamped;
        out += "\r\n";
    }
    match found {
        1 => Ok(out),
        n => Err(Trouble::new(format!(
            "the .inx has {n} lines `DriverVer = `, not one"
        ))),
    }
}

/// Year, month and day of a number of days since 1970.
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(11_017), (2000, 3, 1));
        assert_eq!(date(20_778), (2026, 11, 21));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
    }

    #[test]
    fn one_version_and_every_architecture_is_stamped() {
        let text = "[a.NT$ARCH$]\nDriverVer = 1/1/1,0 ; comment\n[b.NT$ARCH$]\n";
        let stamped = stamp(text, "0.1.0", 0).unwrap();
        assert_eq!(
            stamped,
            "[a.NTamd64]\r\nDriverVer   = 01/01/1970,0.1.0.0\r\n[b.NTamd64]\r\n"
        );
        assert!(stamp("[a]\n", "0.1.0", 0).is_err());
    }
}
