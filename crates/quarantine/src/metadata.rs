//! What is known of a file in the quarantine.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where a file came from and why it is here. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// When it was found, in milliseconds since 1970.
    pub time_ms: u64,
    /// Its name as it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether that name was cut.
    #[serde(default)]
    pub path_is_cut: bool,
    /// The container that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The GUID of its volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Its id on that volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    /// The process that opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u64>,
    /// The rule that matched.
    pub rule: String,
    /// The digest of the rule set.
    pub rules: String,
}

/// All that is known of an item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Where it came from and why it is here.
    #[serde(flatten)]
    pub origin: Origin,
    /// SHA-256 of the content, in hex.
    pub sha256: String,
    /// Bytes of the content.
    pub size: u64,
}

impl Metadata {
    pub(crate) fn of(content: &[u8], origin: &Origin) -> Self {
        let digest: [u8; 32] = Sha256::digest(content).into();
        Self {
            origin: origin.clone(),
            sha256: hex(&digest),
            size: content.len() as u64,
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
