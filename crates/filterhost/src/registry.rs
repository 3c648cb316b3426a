//! The registry as far as drivers read it: keys by path, values with their types, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::object::{KernelObject, Kind};

/// Where service keys live.
pub const SERVICES: &str = r"\Registry\Machine\System\CurrentControlSet\Services";

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// `REG_*` type.
    pub kind: u32,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// `REG_SZ`.
pub const REG_SZ: u32 = 1;
/// `REG_EXPAND_SZ`.
pub const REG_EXPAND_SZ: u32 = 2;
/// `REG_BINARY`.
pub const REG_BINARY: u32 = 3;
/// `REG_DWORD`.
pub const REG_DWORD: u32 = 4;
/// `REG_MULTI_SZ`.
pub const REG_MULTI_SZ: u32 = 7;
/// `REG_QWORD`.
pub const REG_QWORD: u32 = 11;

impl Value {
    /// A `REG_DWORD`.
    #[must_use]
    pub fn dword(value: u32) -> Self {
        Self {
            kind: REG_DWORD,
            data: value.to_le_bytes().to_vec(),
        }
    }

    /// A `REG_QWORD`.
    #[must_use]
    pub fn qword(value: u64) -> Self {
        Self {
            kind: REG_QWORD,
            data: value.to_le_bytes().to_vec(),
        }
    }

    /// A `REG_SZ`, with its terminator.
    #[must_use]
    pub fn string(text: &str) -> Self {
        let units = text.encode_utf16().chain([0]);
        Self {
            kind: REG_SZ,
            data: units.flat_map(u16::to_le_bytes).collect(),
        }
    }

    /// A `REG_BINARY`.
    #[must_use]
    pub fn binary(data: &[u8]) -> Self {
        Self {
            kind: REG_BINARY,
            data: data.to_vec(),
        }
    }

    /// A `REG_MULTI_SZ`, with its terminators.
    #[must_use]
    pub fn strings(texts: &[&str]) -> Self {
        let units = texts.iter().flat_map(|text| text.encode_utf16().chain([0]));
        Self {
            kind: REG_MULTI_SZ,
            data: units.chain([0]).flat_map(u16::to_le_bytes).collect(),
        }
    }

    /// The text of a `REG_SZ`, without terminators.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let text = self.decoded();
        (self.kind == REG_SZ).then(|| text.trim_end_matches('\0').to_owned())
    }

    /// The texts of a `REG_MULTI_SZ`; none of another kind.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        if self.kind != REG_MULTI_SZ {
            return Vec::new();
        }
        let text = self.decoded();
        let texts = text.split('\0').filter(|text| !text.is_empty());
        texts.map(str::to_owned).collect()
    }

    /// The number of a `REG_DWORD`.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        let bytes = <[u8; 4]>::try_from(self.data.as_slice()).ok()?;
        (self.kind == REG_DWORD).then(|| u32::from_le_bytes(bytes))
    }

    fn decoded(&self) -> String {
        let pairs = self.data.chunks_exact(2);
        let units: Vec<u16> = pairs
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    }
}

/// A key. Names are compared without regard to case and keep the case they were made with.
#[derive(Default)]
pub struct Key {
    name: String,
    keys: Mutex<BTreeMap<String, Arc<Key>>>,
    values: Mutex<BTreeMap<String, (String, Value)>>,
}

impl Key {
    /// The key's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key at a relative path, parts separated by `\`; an empty path is the key itself.
    #[must_use]
    pub fn find(self: &Arc<Self>, path: &str) -> Option<Arc<Self>> {
        let mut key = self.clone();
        for part in path.split('\\').filter(|part| !part.is_empty()) {
            let next = key.keys.lock().get(&fold(part)).cloned()?;
            key = next;
        }
        Some(key)
    }

    /// The key at a relative path, made where it is missing.
    #[must_use]
    pub fn create(self: &Arc<Self>, path: &str) -> Arc<Self> {
        let mut key = self.clone();
        for part in path.split('\\').filter(|part| !part.is_empty()) {
            let fresh = || {
                Arc::new(Self {
                    name: part.to_owned(),
                    ..Self::default()
                })
            };
            let next = key
                .keys
                .lock()
                .entry(fold(part))
                .or_insert_with(fresh)
                .clone();
            key = next;
        }
        key
    }

    /// Takes a direct subkey away; false when there is none, or it has subkeys itself.
    pub fn remove(&self, name: &str) -> bool {
        let mut keys = self.keys.lock();
        let empty = keys
            .get(&fold(name))
            .is_some_and(|key| key.keys.lock().is_empty());
        empty && keys.remove(&fold(name)).is_some()
    }

    /// A value by name; the empty name is the key's default value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        self.values
            .lock()
            .get(&fold(name))
            .map(|(_, value)| value.clone())
    }

    /// Sets a value.
    pub fn set(&self, name: &str, value: Value) {
        self.values
            .lock()
            .insert(fold(name), (name.to_owned(), value));
    }

    /// Deletes a value; false when there is none.
    pub fn unset(&self, name: &str) -> bool {
        self.values.lock().remove(&fold(name)).is_some()
    }

    /// A direct subkey.
    #[must_use]
    pub fn subkey(&self, name: &str) -> Option<Arc<Self>> {
        self.keys.lock().get(&fold(name)).cloned()
    }

    /// Names of the direct subkeys, in order.
    #[must_use]
    pub fn subkeys(&self) -> Vec<String> {
        self.keys
            .lock()
            .values()
            .map(|key| key.name.clone())
            .collect()
    }

    /// Names and values, in order.
    #[must_use]
    pub fn values(&self) -> Vec<(String, Value)> {
        self.values.lock().values().cloned().collect()
    }
}

impl KernelObject for Key {
    fn kind(&self) -> Kind {
        Kind::Key
    }
}

/// The registry of one machine.
#[derive(Default)]
pub struct Registry {
    root: Arc<Key>,
}

impl Registry {
    /// The key at a full path (`\Registry\Machine\…`).
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Arc<Key>> {
        self.root.find(path)
    }

    /// The key at a full path, made where it is missing.
    #[must_use]
    pub fn create(&self, path: &str) -> Arc<Key> {
        self.root.create(path)
    }

    /// The key of a service, made where it is missing.
    #[must_use]
    pub fn service(&self, name: &str) -> Arc<Key> {
        self.root.create(&format!(r"{SERVICES}\{name}"))
    }
}

fn fold(name: &str) -> String {
    name.to_uppercase()
}
