//! One verdict as bytes, sealed.
//!
//! `version, kind, length of the rule's name, name, tag`. The tag is an HMAC over a domain string,
//! the key and the rest of the record, so a record is of no use under another key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// The longest name of a rule that is kept, in bytes.
pub const RULE_BYTES_MAX: usize = 128;

/// Another version is a record that does not verify: it is made anew.
const VERSION: u8 = 1;
const CLEAN: u8 = 1;
const INFECTED: u8 = 2;
const HEAD_BYTES: usize = 3;
const TAG_BYTES: usize = 32;
/// The longest record.
pub(crate) const RECORD_BYTES_MAX: usize = HEAD_BYTES + RULE_BYTES_MAX + TAG_BYTES;
/// The bytes of a key.
pub(crate) const KEY_BYTES: usize = 72;
/// What else the secret may ever seal begins otherwise.
const DOMAIN: &[u8] = b"siloscan verdict\0";

/// What a verdict is about: these very bytes, under this very rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Digest of the rule set, which covers the versions of service and engine.
    pub rules: [u8; 32],
    /// SHA-256 of the whole content.
    pub hash: [u8; 32],
    /// The content's size in bytes.
    pub size: u64,
}

impl Key {
    /// The rule set comes first, so that all verdicts of one lie together.
    pub(crate) fn to_bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        let parts = self.rules.iter().chain(&self.hash);
        let size = self.size.to_le_bytes();
        for (to, from) in bytes.iter_mut().zip(parts.chain(&size)) {
            *to = *from;
        }
        bytes
    }
}

/// What an engine said of a content. That it could not say anything is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No rule matched.
    Clean,
    /// This rule matched first.
    Infected {
        /// The rule's name, at most [`RULE_BYTES_MAX`] bytes.
        rule: String,
    },
}

impl Verdict {
    pub(crate) fn fits(&self) -> bool {
        match self {
            Self::Clean => true,
            Self::Infected { rule } => rule.len() <= RULE_BYTES_MAX,
        }
    }
}

/// A record that is none, is damaged, or that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

fn mac(secret: &Secret, key: &[u8; KEY_BYTES], body: &[u8]) -> Hmac<Sha256> {
    // HMAC fills a key up to the hash's block with zeros.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(secret.bytes()) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(DOMAIN);
    mac.update(key);
    mac.update(body);
    mac
}

/// The record of `verdict`, or nothing where a rule's name is too long.
pub(crate) fn seal(secret: &Secret, key: &[u8; KEY_BYTES], verdict: &Verdict) -> Option<Vec<u8>> {
    let (kind, rule) = match verdict {
        Verdict::Clean => (CLEAN, ""),
        Verdict::Infected { rule } => (INFECTED, rule.as_str()),
    };
    let length = u8::try_from(rule.len()).ok();
    let length = length.filter(|_| verdict.fits())?;
    let mut record = vec![VERSION, kind, length];
    record.extend_from_slice(rule.as_bytes());
    let tag = mac(secret, key, &record).finalize().into_bytes();
    record.extend_from_slice(&tag);
    Some(record)
}

/// The verdict in a record, if it was sealed with `secret` for `key`.
pub(crate) fn open(
    secret: &Secret,
    key: &[u8; KEY_BYTES],
    record: &[u8],
) -> Result<Verdict, Forged> {
    if record.len() > RECORD_BYTES_MAX {
        return Err(Forged);
    }
    let (body, tag) = record.split_last_chunk::<TAG_BYTES>().ok_or(Forged)?;
    // In constant time, and before anything in the record is looked at.
    mac(secret, key, body)
        .verify(&(*tag).into())
        .map_err(|_| Forged)?;
    match body {
        [VERSION, CLEAN, 0] => Ok(Verdict::Clean),
        [VERSION, INFECTED, length, rule @ ..] if usize::from(*length) == rule.len() => {
            let rule = String::from_utf8(rule.to_vec()).map_err(|_| Forged)?;
            Ok(Verdict::Infected { rule })
        }
        _ => Err(Forged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(first: u8) -> Secret {
        Secret::from_bytes([first; 32])
    }

    fn verdicts() -> Vec<Verdict> {
        let infected = |length: usize| Verdict::Infected {
            rule: "r".repeat(length),
        };
        vec![
            Verdict::Clean,
            infected(0),
            infected(1),
            infected(RULE_BYTES_MAX),
        ]
    }

    #[test]
    fn what_was_sealed_is_read_and_what_is_too_long_is_not_sealed() {
        let key = [7; KEY_BYTES];
        for verdict in verdicts() {
            let record = seal(&secret(1), &key, &verdict).expect("it fits");
            assert!(record.len() <= RECORD_BYTES_MAX);
            assert_eq!(open(&secret(1), &key, &record), Ok(verdict));
        }
        let rule = "r".repeat(RULE_BYTES_MAX + 1);
        assert_eq!(seal(&secret(1), &key, &Verdict::Infected { rule }), None);
    }

    #[test]
    fn a_record_is_good_for_its_key_and_secret_alone() {
        let key = [7; KEY_BYTES];
        for verdict in verdicts() {
            let record = seal(&secret(1), &key, &verdict).expect("it fits");
            assert_eq!(open(&secret(2), &key, &record), Err(Forged));
            for at in 0..KEY_BYTES {
                let mut other = key;
                other[at] ^= 1;
                assert_eq!(open(&secret(1), &other, &record), Err(Forged), "{at}");
            }
        }
    }

    #[test]
    fn no_changed_cut_or_longer_record_is_believed() {
        let key = [7; KEY_BYTES];
        for verdict in verdicts() {
            let record = seal(&secret(1), &key, &verdict).expect("it fits");
            for bit in 0..record.len() * 8 {
                let mut changed = record.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&secret(1), &key, &changed), Err(Forged), "{bit}");
            }
            for length in 0..record.len() {
                assert_eq!(open(&secret(1), &key, &record[..length]), Err(Forged));
            }
            let longer = [record.as_slice(), &[0]].concat();
            assert_eq!(open(&secret(1), &key, &longer), Err(Forged));
        }
        assert_eq!(open(&secret(1), &key, &vec![0; 1 << 20]), Err(Forged));
    }

    #[test]
    fn each_part_of_a_key_has_its_place() {
        let key = Key {
            rules: [1; 32],
            hash: [2; 32],
            size: 0x0807_0605_0403_0201,
        };
        let bytes = key.to_bytes();
        assert_eq!(bytes[..32], [1; 32]);
        assert_eq!(bytes[32..64], [2; 32]);
        assert_eq!(bytes[64..], [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
