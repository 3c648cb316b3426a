//! The product's engine, and for soaks one deed more: a file can make its worker eat memory.

use std::hint::black_box;
use std::path::Path;

use siloscan_service::engine::{EngineError, EngineKind, Finding, Packed, Scanner, Yara};

/// A file that begins so makes the engine take memory until it is ended.
pub const EAT: &[u8] = b"EAT ALL MEMORY ";

/// YARA-X with the product's rules, except for files that begin with [`EAT`].
pub struct Hungry;

impl EngineKind for Hungry {
    fn pack(&self, folder: Option<&Path>) -> Packed {
        Yara.pack(folder)
    }

    fn unpack(&self, packed: &[u8]) -> Result<Box<dyn Scanner>, String> {
        Ok(Box::new(Eater(Yara.unpack(packed)?)))
    }
}

struct Eater(Box<dyn Scanner>);

impl Scanner for Eater {
    fn scan(
        &mut self,
        bytes: &[u8],
        limit: Option<std::time::Duration>,
    ) -> Result<Finding, EngineError> {
        if bytes.starts_with(EAT) {
            let mut eaten = Vec::new();
            loop {
                eaten.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        self.0.scan(bytes, limit)
    }
}
