//! How long scans took, from the request to the reply, as counts that any thread may raise.

use crate::job::Outcome;
use crate::stats::Count;

/// Upper bounds of the buckets, in microseconds; one more bucket has what took longer. From a file
/// of a few bytes to the longest deadline that the driver can be told to give.
pub const BOUNDS_US: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// Every way in which a request ends, as the figures name it.
pub const OUTCOMES: [&str; 6] = [
    "clean",
    "infected",
    "unscannable",
    "stopped",
    "refused",
    "excluded",
];

/// The times of one outcome.
#[derive(Debug, Default)]
struct Times {
    buckets: [Count; BOUNDS_US.len() + 1],
    sum_us: Count,
}

/// The times of every outcome.
#[derive(Debug, Default)]
pub struct Latency([Times; OUTCOMES.len()]);

impl Latency {
    /// Counts a request that ended so after `microseconds`.
    pub(crate) fn note(&self, outcome: &Outcome, microseconds: u64) {
        let name = outcome.name();
        let place = OUTCOMES.iter().position(|other| *other == name);
        let Some(times) = place.and_then(|place| self.0.get(place)) else {
            return;
        };
        let bucket = BOUNDS_US.partition_point(|bound| *bound < microseconds);
        if let Some(bucket) = times.buckets.get(bucket) {
            bucket.one();
        }
        times.sum_us.add(microseconds);
    }

    /// For each outcome, in the order of [`OUTCOMES`]: how many fell into each bucket, and their
    /// sum in microseconds.
    #[must_use]
    pub fn get(&self) -> Vec<(Vec<u64>, u64)> {
        let times = self.0.iter();
        times
            .map(|times| {
                let buckets = times.buckets.iter().map(Count::get).collect();
                (buckets, times.sum_us.get())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finding;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_holds_it() {
        let latency = Latency::default();
        let clean = Outcome::Scanned(Finding::Clean);
        for microseconds in [0, 250, 251, 30_000_000, 30_000_001, u64::MAX >> 1] {
            latency.note(&clean, microseconds);
        }
        latency.note(&Outcome::Busy, 7);
        let told = latency.get();
        let (buckets, sum) = &told[0];
        assert_eq!((buckets[0], buckets[1], buckets[2]), (2, 1, 0));
        assert_eq!((buckets[15], buckets[16]), (1, 2));
        assert_eq!(*sum, 501 + 60_000_001 + (u64::MAX >> 1));
        assert_eq!((told[4].0[0], told[4].1), (1, 7), "refused");
        assert_eq!(told[1].0.iter().sum::<u64>(), 0);
    }

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS_US.is_sorted_by(|one, next| one < next));
    }
}
