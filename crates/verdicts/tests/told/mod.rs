//! What the tests of stores share: keys, and what a store complains of.

use std::sync::Arc;

use parking_lot::Mutex;
use siloscan_verdicts::{Key, Tell, Verdict};

/// What a store complained of.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub fn tell(&self) -> Tell {
        let own = self.clone();
        Box::new(move |cause| own.0.lock().push(cause))
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    pub fn count(&self, part: &str) -> usize {
        self.all()
            .iter()
            .filter(|cause| cause.contains(part))
            .count()
    }
}

/// The content of this number, under the rule set of that number.
pub fn key(rules: u8, number: u64) -> Key {
    let mut hash = [0x5a; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    Key {
        rules: [rules; 32],
        hash,
        size: number,
    }
}

pub fn infected(rule: &str) -> Verdict {
    Verdict::Infected {
        rule: rule.to_owned(),
    }
}
