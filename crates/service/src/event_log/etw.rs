//! All records as TraceLogging events of the provider [`PROVIDER`]: the record's name, and a field
//! for each of its facts. With nobody listening a record costs a look at one flag.
#![allow(unsafe_code, reason = "the provider is registered with the system")]

use std::pin::Pin;

use serde_json::{Map, Value};
use tracelogging_dynamic::{EventBuilder, Level, OutType, Provider};

use super::{Severity, cut, row};
use crate::events::{Event, Mirror};

/// The provider's name; its GUID follows from it.
pub const PROVIDER: &str = "Siloscan-Service";
/// The keyword of all records.
const KEYWORD: u64 = 0x1;

/// The provider.
pub struct Etw {
    provider: Pin<Box<Provider>>,
    builder: EventBuilder,
}

impl Etw {
    /// Registers it. Where the system refuses, nothing is ever written.
    #[must_use]
    pub fn begin() -> Self {
        let provider = Box::pin(Provider::new(PROVIDER, &Provider::options()));
        // SAFETY: it unregisters itself when it is dropped, and is no static.
        unsafe { provider.as_ref().register() };
        Self {
            provider,
            builder: EventBuilder::new(),
        }
    }
}

impl Mirror for Etw {
    fn tell(&mut self, event: &Event, json: &str) {
        let level = match row(event) {
            Some((_, Severity::Error, _)) => Level::Error,
            Some((_, Severity::Warning, _)) => Level::Warning,
            Some((_, Severity::Information, _)) => Level::Informational,
            None => Level::Verbose,
        };
        if !self.provider.enabled(level, KEYWORD) {
            return;
        }
        let facts: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
        let name = facts.get("event").and_then(Value::as_str).unwrap_or("?");
        self.builder.reset(name, level, KEYWORD, 0);
        for (name, value) in facts.iter().filter(|(name, _)| *name != "event") {
            match value {
                Value::Null => continue,
                Value::Bool(value) => {
                    let value = i32::from(*value);
                    self.builder.add_bool32(name, value, OutType::Default, 0)
                }
                Value::Number(value) => {
                    let value = value.as_u64().unwrap_or_default();
                    self.builder.add_u64(name, value, OutType::Default, 0)
                }
                Value::String(value) => self.builder.add_str8(name, cut(value), OutType::Utf8, 0),
                Value::Array(_) | Value::Object(_) => {
                    let value = cut(&value.to_string());
                    self.builder.add_str8(name, value, OutType::Json, 0)
                }
            };
        }
        // An event that no session took is lost, as ETW's are.
        self.builder.write(&self.provider, None, None);
    }
}
