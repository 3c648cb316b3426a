//! What is measured: the floor of memory, siloscan's ledger as the driver uses it, and the peers,
//! each behind the same three calls. A peer pins or locks once per call, as a kernel callback must.

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use siloscan_core::key::Key;

use crate::avl::Tree;

/// One of them.
pub trait Subject: Sync + Sized {
    const NAME: &'static str;
    fn with_capacity(entries: usize) -> Self;
    /// Zero where there is nothing.
    fn get(&self, key: &Key) -> u64;
    fn put(&self, key: &Key, value: u64);
    fn remove(&self, key: &Key);
}

/// One 64-byte line a key, found by a hash and compared in full: what no table can do without.
pub struct Floor {
    lines: Vec<RwLine>,
}

#[repr(align(64))]
struct RwLine([std::sync::atomic::AtomicU64; 8]);

pub const SECRET: [u64; 4] = [
    0x9e37_79b9_7f4a_7c15,
    0xd1b5_4a32_d192_ed03,
    0xa24b_aed4_963e_e407,
    0x9fb2_1c65_1e98_df25,
];

pub const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128).wrapping_mul(b as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

impl Floor {
    /// The words of a key, and which of so many lines is its own.
    #[inline(always)]
    fn place(key: &Key, lines: usize) -> (usize, [u64; 4]) {
        let ((a, b), (c, d)) = (key.file.to_words(), key.volume.to_words());
        let [s0, s1, s2, s3] = SECRET;
        let hash = fold(fold(a ^ s0, b ^ s1) ^ fold(c ^ s2, d ^ s3), s3);
        let at = ((u128::from(hash) * lines as u128) >> 64) as usize;
        (at, [a, b, c, d])
    }

    #[inline(always)]
    fn line(&self, key: &Key) -> (&RwLine, [u64; 4]) {
        let (at, words) = Self::place(key, self.lines.len());
        (&self.lines[at], words)
    }
}

/// Which lines of a floor are some key's own. A floor whose keys shared lines would read fewer
/// lines than there are keys, and find a third of them gone.
pub struct Lines(Vec<bool>);

impl Lines {
    pub fn taken_by(keys: &[Key], lines: usize) -> Self {
        let mut taken = Self(vec![false; lines]);
        for key in keys {
            taken.take(key);
        }
        taken
    }

    /// Whether the line of this key was free.
    pub fn take(&mut self, key: &Key) -> bool {
        let (at, _) = Floor::place(key, self.0.len());
        !std::mem::replace(&mut self.0[at], true)
    }
}

use std::sync::atomic::Ordering::Relaxed;

impl Subject for Floor {
    const NAME: &'static str = "floor";

    fn with_capacity(entries: usize) -> Self {
        let line = |_| RwLine(Default::default());
        Self {
            lines: (0..entries).map(line).collect(),
        }
    }

    fn get(&self, key: &Key) -> u64 {
        let (line, words) = self.line(key);
        let [a, b, c, d] = [0, 1, 2, 3].map(|word| line.0[word].load(Relaxed) ^ words[word]);
        let value = line.0[4].load(Relaxed);
        value & u64::from((a | b) | (c | d) == 0).wrapping_neg()
    }

    fn put(&self, key: &Key, value: u64) {
        let (line, words) = self.line(key);
        for (at, word) in words.into_iter().enumerate() {
            line.0[at].store(word, Relaxed);
        }
        line.0[4].store(value, Relaxed);
    }

    fn remove(&self, key: &Key) {
        self.line(key).0.0[4].store(0, Relaxed);
    }
}

macro_rules! peer {
    ($Name:ident, $name:literal, $Inner:ty, $new:expr,
     |$s:ident, $k:ident| $get:expr, |$v:ident| $put:expr, $remove:expr) => {
        pub struct $Name($Inner);

        impl Subject for $Name {
            const NAME: &'static str = $name;

            fn with_capacity(entries: usize) -> Self {
                #[allow(clippy::redundant_closure_call, reason = "a macro's argument")]
                Self(($new)(entries))
            }

            fn get(&self, $k: &Key) -> u64 {
                let $s = &self.0;
                $get
            }

            fn put(&self, $k: &Key, $v: u64) {
                let $s = &self.0;
                let _ = $put;
            }

            fn remove(&self, $k: &Key) {
                let $s = &self.0;
                let _ = $remove;
            }
        }
    };
}

peer!(DashMap, "dashmap", dashmap::DashMap<Key, u64, RandomState>,
    |n| dashmap::DashMap::with_capacity_and_hasher(n, RandomState::default()),
    |s, k| s.get(k).map_or(0, |v| *v),
    |v| s.insert(*k, v), s.remove(k));
peer!(Papaya, "papaya", papaya::HashMap<Key, u64, RandomState>,
    |n| papaya::HashMap::with_capacity_and_hasher(n, RandomState::default()),
    |s, k| s.pin().get(k).copied().unwrap_or(0),
    |v| s.pin().insert(*k, v).is_some(), s.pin().remove(k).is_some());
peer!(SccMap, "scc HashMap", scc::HashMap<Key, u64, RandomState>,
    |n| scc::HashMap::with_capacity_and_hasher(n, RandomState::default()),
    |s, k| s.read_sync(k, |_, v| *v).unwrap_or(0),
    |v| s.upsert_sync(*k, v), s.remove_sync(k));
peer!(SccCache, "scc HashCache", scc::HashCache<Key, u64, RandomState>,
    |n: usize| scc::HashCache::with_capacity_and_hasher(n, n * 5 / 4, RandomState::default()),
    |s, k| s.get_sync(k).map_or(0, |v| *v.get()),
    |v| s.put_sync(*k, v).is_ok(), s.remove_sync(k));
peer!(Moka, "moka", moka::sync::Cache<Key, u64, RandomState>,
    |n: usize| moka::sync::Cache::builder().max_capacity(n as u64)
        .initial_capacity(n).build_with_hasher(RandomState::default()),
    |s, k| s.get(k).unwrap_or(0),
    |v| s.insert(*k, v), s.invalidate(k));
peer!(Quick, "quick_cache",
    quick_cache::sync::Cache<Key, u64, quick_cache::UnitWeighter, RandomState>,
    |n: usize| quick_cache::sync::Cache::with(n, n as u64, quick_cache::UnitWeighter,
        RandomState::default(), quick_cache::sync::DefaultLifecycle::default()),
    |s, k| s.get(k).unwrap_or(0),
    |v| s.insert(*k, v), s.remove(k));
peer!(Foyer, "foyer (S3-FIFO)", foyer_memory::Cache<Key, u64, RandomState>,
    |n: usize| foyer_memory::CacheBuilder::new(n)
        .with_eviction_config(foyer_memory::S3FifoConfig::default())
        .with_hash_builder(RandomState::default()).build(),
    |s, k| s.get(k).map_or(0, |v| *v.value()),
    |v| s.insert(*k, v), s.remove(k));
peer!(
    Locked,
    "RwLock of hashbrown",
    RwLock<hashbrown::HashMap<Key, u64, RandomState>>,
    |n| RwLock::new(hashbrown::HashMap::with_capacity_and_hasher(
        n,
        RandomState::default()
    )),
    |s, k| s.read().get(k).copied().unwrap_or(0),
    |v| s.write().insert(*k, v),
    s.write().remove(k)
);
peer!(
    Avl,
    "AVL tree in RwLock",
    RwLock<Tree>,
    |_| RwLock::new(Tree::default()),
    |s, k| s.read().get(k),
    |v| s.write().put(k, v),
    s.write().remove(k)
);
