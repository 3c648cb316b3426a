//! Altitudes: decimal numbers of any length, compared by value.
//!
//! <https://learn.microsoft.com/windows-hardware/drivers/ifs/load-order-groups-and-altitudes-for-minifilter-drivers>

use std::cmp::Ordering;
use std::fmt;

/// An altitude such as `320999.5`. Higher ones are nearer to the user.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Altitude {
    whole: String,
    fraction: String,
}

impl Altitude {
    /// Reads an altitude; `None` when the text is no decimal number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        Some(Self {
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
        })
    }
}

impl Ord for Altitude {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_length = self.whole.len().cmp(&other.whole.len());
        by_length
            .then_with(|| self.whole.cmp(&other.whole))
            .then_with(|| self.fraction.cmp(&other.fraction))
    }
}

impl PartialOrd for Altitude {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Altitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.whole.is_empty() {
            "0"
        } else {
            &self.whole
        };
        f.write_str(whole)?;
        if !self.fraction.is_empty() {
            write!(f, ".{}", self.fraction)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Altitude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Altitude;

    fn altitude(text: &str) -> Altitude {
        Altitude::parse(text).expect("a decimal number")
    }

    #[test]
    fn altitudes_compare_as_numbers_of_any_length() {
        assert!(altitude("320999.5") > altitude("320999"));
        assert!(altitude("320999.5") > altitude("320999.49"));
        assert!(altitude("98000") < altitude("189900"));
        assert!(altitude("0098000") == altitude("98000.0"));
        assert!(altitude("1.10") < altitude("1.2"));
        assert!(altitude("99999999999999999999") > altitude("320000"));
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", ".5", "12a", "-1", "1.2.3", "1,5"] {
            assert!(Altitude::parse(text).is_none(), "{text:?}");
        }
    }
}
