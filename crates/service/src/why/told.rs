//! One event of the driver, read and owned.

use std::time::Duration;

use siloscan_core::trace::{self, ToldError, TraceId};

use super::source::Raw;
use crate::job::guid_text;

/// 1970-01-01 in 100 ns since 1601.
const UNIX_EPOCH: u64 = 116_444_736_000_000_000;

/// The value of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A GUID, as it lies in memory.
    Guid([u8; 16]),
    /// Text of either kind.
    Text(String),
}

impl From<trace::Value<'_>> for Value {
    fn from(value: trace::Value<'_>) -> Self {
        match value {
            trace::Value::Number(number) => Self::Number(number),
            trace::Value::Guid(guid) => Self::Guid(guid),
            trace::Value::Wide(bytes) => {
                let (units, _) = bytes.as_chunks::<2>();
                let units: Vec<_> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
                Self::Text(String::from_utf16_lossy(&units))
            }
            trace::Value::Text(bytes) => Self::Text(String::from_utf8_lossy(bytes).into_owned()),
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which one.
    pub id: TraceId,
    /// Its name.
    pub name: &'static str,
    /// When it was written: milliseconds since 1970.
    pub time_ms: u64,
    /// Its fields by name, in order.
    pub fields: Vec<(&'static str, Value)>,
}

impl Told {
    /// Reads an event.
    ///
    /// # Errors
    /// [`ToldError`] for what is not exactly one of the driver's.
    pub fn read(raw: &Raw) -> Result<Self, ToldError> {
        let told = trace::read((raw.level, raw.keyword), &raw.metadata, &raw.values)?;
        let fields = told.fields().map(|(name, value)| (name, value.into()));
        Ok(Self {
            id: told.event.id,
            name: told.event.name,
            time_ms: raw.time.saturating_sub(UNIX_EPOCH) / 10_000,
            fields: fields.collect(),
        })
    }

    /// A field, where the event has it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields.iter();
        fields.find(|field| field.0 == name).map(|(_, value)| value)
    }

    /// A field that is text; empty where there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    /// A field that is a number, where there is one.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.field(name) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// The container's id as text, where the event has one.
    pub(super) fn container(&self) -> Option<String> {
        match self.field("Container") {
            Some(Value::Guid(id)) => guid_text(id),
            _ => None,
        }
    }

    /// The name of the file that it is about; empty where it is about none, or nobody could say.
    pub(super) fn path(&self) -> &str {
        match self.text("File") {
            "" => self.text("Image"),
            file => file,
        }
    }

    /// For how long an open was held up, where it is about one.
    pub(super) fn waited(&self) -> Option<Duration> {
        let units = self
            .number("Duration100ns")
            .or_else(|| self.number("Waited100ns"));
        units.map(|units| Duration::from_nanos(units.saturating_mul(100)))
    }

    /// Whether something was found or refused.
    pub(super) fn is_finding(&self) -> bool {
        self.id == TraceId::Detection || super::reasons::is_denied(self.text("Decision"))
    }
}
