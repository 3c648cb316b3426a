//! What the filter host reads with one file of itself; see `targets.rs`.

use crate::parse::Plan;

/// A driver image, as a file.
pub fn image(data: &[u8]) {
    if let Ok(plan) = Plan::parse(data) {
        for import in &plan.imports {
            assert!(!import.module.is_empty());
        }
    }
}
