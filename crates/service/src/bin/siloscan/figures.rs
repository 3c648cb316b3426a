//! Rates and quantiles from the service's counts, and how they are written for a person.

use siloscan_service::metrics::Status;

/// Two documents of one service, the older first.
pub struct Between<'a> {
    pub before: &'a Status,
    pub now: &'a Status,
    milliseconds: u64,
}

impl<'a> Between<'a> {
    /// What happened between two documents; since the service's start, where `before` is of another
    /// run of it.
    pub fn new(before: &'a Status, now: &'a Status, never: &'a Status) -> Self {
        let same = before.uptime_ms < now.uptime_ms
            && before.counts.messages <= now.counts.messages
            && before.counts.scan_requests <= now.counts.scan_requests;
        let before = if same { before } else { never };
        Self {
            before,
            now,
            milliseconds: now.uptime_ms.saturating_sub(before.uptime_ms),
        }
    }

    /// How often a second something happened.
    pub fn rate(&self, count: impl Fn(&Status) -> u64) -> f64 {
        per_second(self.more(count), self.milliseconds)
    }

    /// How often it happened. A count that fell was begun anew, as the driver's at its restart.
    pub fn more(&self, count: impl Fn(&Status) -> u64) -> u64 {
        let (before, now) = (count(self.before), count(self.now));
        now.checked_sub(before).unwrap_or(now)
    }

    /// The time, in microseconds, within which `share` of the requests that ended so were
    /// answered; nothing if there were none.
    pub fn quantile(&self, outcome: &str, share: f64) -> Option<Quantile> {
        let of = |status: &Status| {
            let mut times = status.times.iter();
            let times = times.find(|times| times.outcome == outcome);
            times.map(|times| times.buckets.clone()).unwrap_or_default()
        };
        let (before, now) = (of(self.before), of(self.now));
        let earlier = before.iter().copied().chain(std::iter::repeat(0));
        let more = now.iter().zip(earlier);
        let buckets: Vec<u64> = more
            .map(|(now, before)| now.checked_sub(before).unwrap_or(*now))
            .collect();
        quantile(&self.now.bounds_us, &buckets, share)
    }

    /// The part of the cache's answers in the opens that asked it.
    pub fn hit_ratio(&self) -> Option<f64> {
        ratio(self.more(Status::hits), self.more(Status::look_ups))
    }
}

/// A time that is known from its bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// About so many microseconds.
    About(f64),
    /// More than the last bound, in microseconds.
    Beyond(u64),
}

impl Quantile {
    /// For a person.
    pub fn text(quantile: Option<Self>) -> String {
        match quantile {
            None => "-".to_owned(),
            Some(Self::About(us)) => time(us),
            Some(Self::Beyond(us)) => format!("> {}", time(us as f64)),
        }
    }
}

/// As Prometheus does it: within a bucket the times are taken to lie evenly.
fn quantile(bounds: &[u64], buckets: &[u64], share: f64) -> Option<Quantile> {
    let all: u64 = buckets
        .iter()
        .fold(0, |sum, count| sum.saturating_add(*count));
    if all == 0 {
        return None;
    }
    let wanted = share * all as f64;
    let mut below = 0.0;
    let mut lower = 0;
    for (bound, count) in bounds.iter().zip(buckets) {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            let part = (wanted - below) / count;
            let width = bound.saturating_sub(lower) as f64;
            return Some(Quantile::About(lower as f64 + part * width));
        }
        below += count;
        lower = *bound;
    }
    Some(Quantile::Beyond(lower))
}

/// Nothing where nothing was counted.
pub fn ratio(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// A ratio in percent.
pub fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", 100.0 * ratio))
}

fn per_second(count: u64, milliseconds: u64) -> f64 {
    count as f64 * 1000.0 / milliseconds.max(1) as f64
}

/// A rate, with as many digits as matter.
pub fn rate_text(rate: f64) -> String {
    match rate {
        rate if rate >= 100.0 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// Microseconds in the unit that a person would choose.
pub fn time(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 1_000_000.0 => format!("{:.1} ms", us / 1_000.0),
        us => format!("{:.1} s", us / 1_000_000.0),
    }
}

/// How long something has lasted.
pub fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Bytes in the unit that a person would choose.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let bounds = [100, 200, 400];
        let about = |share| quantile(&bounds, &[0, 2, 2, 1], share);
        assert_eq!(about(0.2), Some(Quantile::About(150.0)));
        assert_eq!(about(0.4), Some(Quantile::About(200.0)));
        assert_eq!(about(0.6), Some(Quantile::About(300.0)));
        assert_eq!(about(0.99), Some(Quantile::Beyond(400)));
        assert_eq!(quantile(&bounds, &[0, 0, 0, 0], 0.5), None);
        assert_eq!(Quantile::text(about(0.99)), "> 400 µs");
    }

    #[test]
    fn another_run_of_the_service_is_counted_from_its_start() {
        let never = Status::default();
        let mut before = Status {
            uptime_ms: 60_000,
            ..Status::default()
        };
        before.counts.messages = 100;
        let mut now = Status {
            uptime_ms: 62_000,
            ..Status::default()
        };
        now.counts.messages = 110;
        let rate = |now: &Status| Between::new(&before, now, &never).rate(|s| s.counts.messages);
        assert!((rate(&now) - 5.0).abs() < 1e-9);
        now.uptime_ms = 1_000;
        now.counts.messages = 7;
        assert!((rate(&now) - 7.0).abs() < 1e-9);
        now.uptime_ms = 100_000;
        assert!((rate(&now) - 0.07).abs() < 1e-9);
    }

    #[test]
    fn amounts_have_their_units() {
        assert_eq!(time(999.0), "999 µs");
        assert_eq!(time(1_500.0), "1.5 ms");
        assert_eq!(time(2_000_000.0), "2.0 s");
        assert_eq!(span(59_999), "59 s");
        assert_eq!(span(3_599_000), "59 min 59 s");
        assert_eq!(span(90_000_000), "1 d 1 h");
        assert_eq!(size(3 << 19), "1.5 MiB");
        assert_eq!(percent(ratio(1, 8)), "12.5 %");
        assert_eq!(percent(ratio(0, 0)), "-");
    }
}
