//! What is known about keys: verdicts, changes, volumes and epochs behind one door.
//!
//! They are one module's business because their *order* is the promise: a hit is served only for
//! the bytes that were scanned.
//!
//! * A change first puts its mark (and moves the key's generation), then drops the entry.
//! * A verdict goes in only under the set's writer lock, after the mark and the generation were
//!   looked at under that lock. So either the insertion comes first and the change drops it, or
//!   the change comes first and the insertion sees it. While a key is marked it has no entry:
//!   a look-up need not ask the table of changes.
//! * Where the table of changes is full, the volume's epoch moves and no verdict of the volume
//!   goes in until that change is over.

mod mark;

use crate::cache::{Cache, Found, Put, Set, unpack};
use crate::change::{ChangeBucket, ChangeCounter, Changing, Generation, LocalKey};
use crate::epoch::Signatures;
use crate::exclusion::{Exemption, LISTS_END};
use crate::hash::Secret;
use crate::key::{FileId, Key, VolumeGuid};
use crate::sync::WriteToken;
use crate::verdict::Verdict;
use crate::volume::{VolumeSlot, Volumes};
use crate::wire::Digest;

pub use crate::volume::{Attached, VolumeRef};
pub use mark::{ChangeMark, Hidden, Pin};

use mark::Mark;

/// The memory of a ledger. Every slice is valid when all its bytes are zero, so the driver can
/// take zeroed pool, once, and lend it for good.
#[derive(Clone, Copy)]
pub struct LedgerMemory<'m> {
    /// Verdicts; [`crate::cache::sets_for`] says how many.
    pub sets: &'m [Set],
    /// Keys that are changing, five to a bucket.
    pub changing: &'m [ChangeBucket],
    /// Generations of keys; the more, the fewer tickets die for a neighbour's change.
    pub generations: &'m [Generation],
    /// Volumes, in multiples of 16.
    pub volumes: &'m [VolumeSlot],
}

/// What is known about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Its volume has no live instance of ours, or no unique GUID, or somebody can write to it
    /// through a mapping: changes to it are not seen. The open is scanned as one without a key.
    Untracked,
    /// Nothing that can be used.
    Miss,
    /// A verdict of the current signatures.
    Hit(Verdict),
    /// "Clean" of the epoch before the current one.
    StaleClean,
    /// "Clean" of an older epoch: a miss, which tells that a proactive scan would be worth it.
    Old,
    /// "Infected" of any older epoch.
    StaleInfected,
    /// The service said under some list that the file lies in an excluded layer. Only
    /// [`Ledger::lookup_layer`] says so, and whether the list is in force is for the caller to see.
    Excluded(Exemption),
}

/// A right to share and to keep a verdict; taken before the scan's first byte is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    key: Option<KeyBinding>,
    stream: u64,
    instance: u64,
    signature: u64,
    keeps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct KeyBinding {
    key: Key,
    volume: VolumeRef,
    generation: u64,
}

/// Whose bytes a ticket is about.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The key under which the verdict is to be kept; `None` where there is none.
    pub key: Option<Key>,
    /// The opened stream's counter.
    pub stream: &'a ChangeCounter,
    /// The instance's counter of changes on streams without a context.
    pub instance: &'a ChangeCounter,
    /// Whether the verdict may be kept: the open cannot write, or it is a scan at close.
    pub keeps: bool,
}

/// What became of a verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// It is in the cache, and may be shared.
    Stored,
    /// It is for those who wait, and not kept.
    Shared(NotKept),
    /// The bytes may have changed since the ticket: it is for nobody.
    Dead,
}

/// Why a verdict that may be shared is not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotKept {
    /// There is no key.
    NoKey,
    /// The open can write.
    CanWrite,
    /// The signatures are others than when the ticket was taken, or than the scan used.
    Signatures,
    /// It could have been kept, but every entry that shares its place is used more. Who comes
    /// again soon is let in.
    Crowded,
}

/// Verdicts, changes, volumes and epochs.
pub struct Ledger<'m> {
    cache: Cache<'m>,
    changing: Changing<'m>,
    volumes: Volumes<'m>,
    signatures: Signatures,
    secret: Secret,
}

impl<'m> Ledger<'m> {
    /// A ledger over zeroed memory, with this boot's secret.
    #[must_use]
    pub fn new(memory: LedgerMemory<'m>, secret: Secret) -> Self {
        Self {
            cache: Cache::new(memory.sets),
            changing: Changing::new(memory.changing, memory.generations),
            volumes: Volumes::new(memory.volumes, secret),
            signatures: Signatures::new(),
            secret,
        }
    }

    /// A file on a volume as the tables know it.
    #[inline(always)]
    fn local(&self, volume: VolumeRef, file: FileId) -> LocalKey {
        let (low, high) = file.to_words();
        LocalKey {
            index: volume.term.index(),
            low,
            high,
            hash: self.secret.file(volume.hash, file),
        }
    }

    // Volumes.

    /// An instance of ours came to life on a volume.
    pub fn attach_volume(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Attached {
        self.volumes.attach(guid, token)
    }

    /// That instance ends. One call for each [`Self::attach_volume`] that did not answer "full".
    pub fn detach_volume(&self, guid: VolumeGuid, token: &WriteToken<'_>) {
        self.volumes.detach(guid, token);
    }

    /// All verdicts of the volume are void, at once: it was dismounted, locked, written as a
    /// whole, or became redirecting. O(1). False where the volume is not tracked.
    pub fn bump_volume(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> bool {
        self.volumes.bump(guid, token)
    }

    /// Files of the volume may change without our seeing when: nothing of it is served or kept
    /// until [`Self::show_volume`]. `None` where the volume is not tracked anyway.
    pub fn hide_volume(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> Option<Hidden> {
        self.volumes.hide(guid, token).map(Hidden)
    }

    /// That is over; what was known before stays void.
    pub fn show_volume(&self, hidden: Hidden, token: &WriteToken<'_>) {
        self.volumes.show(hidden.0, token);
    }

    /// The volume, for [`Self::lookup_on`]; `None` while nothing of it can be kept. Any IRQL, no
    /// lock.
    #[must_use]
    #[inline]
    pub fn volume(&self, guid: VolumeGuid) -> Option<VolumeRef> {
        self.volumes.find(guid)
    }

    // Look-ups.

    /// What is known about a key. Any IRQL up to DISPATCH_LEVEL, no lock, no wait, no allocation.
    /// That the file lies in an excluded layer is no knowledge about its bytes, and a miss.
    #[must_use]
    #[inline]
    pub fn lookup(&self, key: &Key) -> Lookup {
        match self.lookup_layer(key) {
            Lookup::Excluded(_) => Lookup::Miss,
            known => known,
        }
    }

    /// The same for an open that was told, by an acknowledged answer, that a layer holds its bytes.
    #[must_use]
    #[inline]
    pub fn lookup_layer(&self, key: &Key) -> Lookup {
        self.volume(key.volume)
            .and_then(|volume| self.look(volume, key.file, || Some(0)))
            .unwrap_or(Lookup::Untracked)
    }

    /// As [`Self::lookup_layer`], of a file on a volume that [`Self::volume`] gave before: what
    /// asked for the volume need not look for it again. `None` if its epoch has moved since: then
    /// the key is to be looked up by its GUID.
    #[must_use]
    #[inline]
    pub fn lookup_on(&self, volume: VolumeRef, file: FileId) -> Option<Lookup> {
        self.look(volume, file, || self.volumes.moved(volume))
    }

    #[inline(always)]
    fn look(
        &self,
        volume: VolumeRef,
        file: FileId,
        moved: impl Fn() -> Option<u64>,
    ) -> Option<Lookup> {
        let local = self.local(volume, file);
        let signature = self.signatures.current();
        let word = self.cache.word(&local, volume, moved)?;
        Some(match unpack(word) {
            // What is found needs no look at the pins: a pin drops the entry, and while it lasts
            // none goes in.
            None if self.changing.is_pinned(&local) => Lookup::Untracked,
            None => Lookup::Miss,
            Some(Found::Excluded(exemption)) => Lookup::Excluded(exemption),
            Some(Found::Verdict(verdict, of)) if of == signature => Lookup::Hit(verdict),
            Some(Found::Verdict(Verdict::Infected, _)) => Lookup::StaleInfected,
            Some(Found::Verdict(Verdict::Clean, of)) if of.saturating_add(1) == signature => {
                Lookup::StaleClean
            }
            Some(Found::Verdict(Verdict::Clean, _)) => Lookup::Old,
        })
    }

    // Change.

    /// Before an operation that can change the key's bytes, or give its id to another file.
    /// Until the mark is ended no ticket for the key is issued and none is honoured.
    pub fn begin_change(&self, key: &Key, token: &WriteToken<'_>) -> ChangeMark {
        let Some(volume) = self.volumes.find_sure(key.volume, token) else {
            return ChangeMark(Mark::Nothing);
        };
        let local = self.local(volume, key.file);
        match self.changing.begin(&local, token) {
            Some(place) => {
                self.cache.remove(&local, token);
                ChangeMark(Mark::Key(place))
            }
            None => match self.volumes.begin_changing(key.volume, token) {
                Some(index) => ChangeMark(Mark::Volume(index)),
                None => ChangeMark(Mark::Nothing),
            },
        }
    }

    /// Before an operation that changes something on the volume that cannot be named: nothing of
    /// the volume is known until the mark is ended.
    pub fn begin_volume_change(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> ChangeMark {
        ChangeMark(
            self.volumes
                .begin_changing(guid, token)
                .map_or(Mark::Nothing, Mark::Volume),
        )
    }

    /// After the operation, whatever its status, also when draining.
    pub fn end_change(&self, mark: ChangeMark, token: &WriteToken<'_>) {
        match mark.0 {
            Mark::Nothing => {}
            Mark::Key(place) => self.changing.end(place, token),
            Mark::Volume(index) => self.volumes.end_changing(index, token),
        }
    }

    /// A change that is known only afterwards: the key's entry and its tickets are gone when this
    /// returns. Whether there was an entry.
    pub fn drop_key(&self, key: &Key, token: &WriteToken<'_>) -> bool {
        let Some(volume) = self.volumes.find_sure(key.volume, token) else {
            return false;
        };
        let local = self.local(volume, key.file);
        self.changing.touch(&local);
        self.cache.remove(&local, token)
    }

    /// Somebody can write to the key's bytes without passing us (a writable section, the pages of
    /// an MDL write, a transaction): its entry is gone when this returns, and until the pin is
    /// taken back nothing about the key is served or stored. Nor is anything new about a
    /// neighbour that shares the key's place. `None` where the volume is not tracked.
    pub fn pin(&self, key: &Key, token: &WriteToken<'_>) -> Option<Pin> {
        let volume = self.volumes.find_sure(key.volume, token)?;
        let local = self.local(volume, key.file);
        let place = self.changing.pin(&local)?;
        // In this order: an insertion that missed the pin is dropped here.
        self.cache.remove(&local, token);
        Some(Pin(place))
    }

    /// Nobody can any more: what was written has come by as paging writes. Any IRQL, no lock.
    pub fn unpin(&self, pin: Pin) {
        self.changing.unpin(pin.0);
    }

    // Signatures.

    /// A service connected with this rule set: always a new epoch. `now` in units of 100 ns.
    pub fn connected(&self, digest: &Digest, now: u64, token: &WriteToken<'_>) {
        self.signatures.announce(digest, true, now, token);
    }

    /// The service named its rule set in the reply to a poll: a new epoch if it is another.
    /// Replies to scans are never announced: they may be late.
    pub fn announced(&self, digest: &Digest, now: u64, token: &WriteToken<'_>) -> bool {
        self.signatures.announce(digest, false, now, token)
    }

    /// The current signature epoch; zero before the first connection.
    #[must_use]
    pub fn signature_epoch(&self) -> u64 {
        self.signatures.current()
    }

    /// When the current epoch began, in units of 100 ns.
    #[must_use]
    pub fn signature_since(&self) -> u64 {
        self.signatures.since()
    }

    /// Notes that a stale verdict was met: true the first time in an epoch, when the service is
    /// to be asked for a proactive scan.
    pub fn want_warm(&self) -> bool {
        self.signatures.want_warm()
    }

    /// Whether the next poll asks for a proactive scan.
    #[must_use]
    pub fn warm_wanted(&self) -> bool {
        self.signatures.warm_wanted()
    }

    // Coverage.

    /// The service begins to scan all layers on a volume, in this epoch. False where that is not
    /// the current one, or the volume is not tracked.
    pub fn begin_cover(&self, guid: VolumeGuid, epoch: u64, token: &WriteToken<'_>) -> bool {
        self.is_current(epoch) && self.volumes.begin_cover(guid, epoch, token)
    }

    /// The scan that [`Self::begin_cover`] began has ended, and all files were clean. Holds until
    /// the signatures or the volume's epoch move, or it is withdrawn. False where one of these
    /// came before.
    pub fn cover(&self, guid: VolumeGuid, epoch: u64, token: &WriteToken<'_>) -> bool {
        self.is_current(epoch) && self.volumes.cover(guid, epoch, token)
    }

    fn is_current(&self, epoch: u64) -> bool {
        epoch != 0 && epoch == self.signatures.current()
    }

    /// A changed file on the volume was closed without a stored clean verdict: coverage, and what
    /// a proactive scan under way would report, is withdrawn. Whether there was any.
    pub fn uncover(&self, guid: VolumeGuid, token: &WriteToken<'_>) -> bool {
        self.volumes.uncover(guid, token)
    }

    /// Whether [`Self::uncover`] would withdraw anything. Any IRQL, no lock.
    #[must_use]
    pub fn is_cover_at_stake(&self, guid: VolumeGuid) -> bool {
        self.volumes.is_cover_at_stake(guid)
    }

    /// Whether the layers on a volume are covered now. Any IRQL, no lock.
    #[must_use]
    pub fn covered(&self, guid: VolumeGuid) -> bool {
        self.volumes.covered(guid, self.signatures.current())
    }

    // Tickets.

    /// A ticket, to be taken before the scan reads its first byte. `None` while the key, the
    /// stream or the instance is changing: a scan now would see bytes in motion. `None` also for
    /// a key that [`Self::lookup`] calls untracked: its flight is the stream's, without a key.
    #[must_use]
    pub fn ticket(&self, binding: &Binding<'_>, token: &WriteToken<'_>) -> Option<Ticket> {
        let signature = self.signatures.current();
        let stream = binding.stream.mark()?;
        let instance = binding.instance.mark()?;
        let key = match binding.key {
            None => None,
            Some(key) => Some(self.bind(key, token)?),
        };
        Some(Ticket {
            key,
            stream,
            instance,
            signature,
            keeps: binding.keeps,
        })
    }

    /// The key as it is now, if it is tracked and not changing.
    fn bind(&self, key: Key, token: &WriteToken<'_>) -> Option<KeyBinding> {
        let volume = self.volumes.find(key.volume)?;
        let local = self.local(volume, key.file);
        let generation = self.changing.settled(&local, token)?;
        let binding = KeyBinding {
            key,
            volume,
            generation,
        };
        if self.volumes.holds(volume) {
            Some(binding)
        } else {
            None
        }
    }

    /// Whether nothing that the ticket is about has begun to change since it was taken.
    #[must_use]
    pub fn holds(&self, ticket: &Ticket, binding: &Binding<'_>, token: &WriteToken<'_>) -> bool {
        binding.stream.holds(ticket.stream)
            && binding.instance.holds(ticket.instance)
            && ticket.key.is_none_or(|key| self.key_holds(&key, token))
    }

    fn key_holds(&self, key: &KeyBinding, token: &WriteToken<'_>) -> bool {
        let local = self.local(key.volume, key.key.file);
        self.changing.settled(&local, token) == Some(key.generation)
            && self.volumes.holds(key.volume)
    }

    /// Settles a verdict that was earned under a ticket, with the digest that the scan used.
    pub fn settle(
        &self,
        ticket: &Ticket,
        binding: &Binding<'_>,
        verdict: Verdict,
        digest: &Digest,
        token: &WriteToken<'_>,
    ) -> Settled {
        if !self.holds(ticket, binding, token) {
            return Settled::Dead;
        }
        let Some(key) = ticket.key else {
            return Settled::Shared(NotKept::NoKey);
        };
        if !ticket.keeps {
            return Settled::Shared(NotKept::CanWrite);
        }
        if !self.signatures.is_of(ticket.signature, digest, token) {
            return Settled::Shared(NotKept::Signatures);
        }
        self.keep(&key, Found::Verdict(verdict, ticket.signature), token)
    }

    /// Settles that the ticket's file lies in an excluded layer: nothing was scanned, and no
    /// signatures count. Dead also where "infected" stands for it, of whatever signatures.
    pub fn settle_excluded(
        &self,
        ticket: &Ticket,
        binding: &Binding<'_>,
        exemption: Exemption,
        token: &WriteToken<'_>,
    ) -> Settled {
        let Some(key) = ticket.key else {
            return Settled::Dead;
        };
        let infected = matches!(
            self.lookup(&key.key),
            Lookup::Hit(Verdict::Infected) | Lookup::StaleInfected
        );
        if infected || !self.holds(ticket, binding, token) {
            return Settled::Dead;
        }
        if !ticket.keeps || exemption.list >= LISTS_END {
            return Settled::Shared(NotKept::CanWrite);
        }
        self.keep(&key, Found::Excluded(exemption), token)
    }

    /// Puts something in under the key of a ticket that holds.
    fn keep(&self, key: &KeyBinding, found: Found, token: &WriteToken<'_>) -> Settled {
        let local = self.local(key.volume, key.key.file);
        if self.changing.is_pinned(&local) {
            return Settled::Shared(NotKept::NoKey);
        }
        let allowed = || self.key_holds(key, token) && !self.changing.is_pinned(&local);
        let volumes = &self.volumes;
        match self
            .cache
            .put(&local, key.volume, found, volumes, token, allowed)
        {
            Put::Stored => Settled::Stored,
            Put::Crowded => Settled::Shared(NotKept::Crowded),
            Put::Refused => Settled::Dead,
        }
    }
}

impl Ticket {
    /// The stream's mark when the ticket was taken, for
    /// [`StreamState::note_verdict`](crate::stream::StreamState::note_verdict).
    #[must_use]
    pub const fn stream_mark(&self) -> u64 {
        self.stream
    }
}
