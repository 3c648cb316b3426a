//! A name and a counter for every way in which an open can be decided.
//!
//! One enum per kind, all made by one macro from one list, so that a reason cannot exist without
//! a counter, a name and a line of documentation. The driver embeds [`Counters`].

use core::sync::atomic::{AtomicU64, Ordering};

/// One line of the list of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `ignore`, `skip`, `look-up`, `scan`, `allow`, `deny`, `failure` or `event`.
    pub kind: &'static str,
    /// The name within the kind, in kebab case.
    pub name: &'static str,
    /// What it counts, in one sentence.
    pub doc: &'static str,
}

/// A place in [`Counters`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub struct CounterIndex(u16);

impl CounterIndex {
    /// The index into [`ENTRIES`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Kind, name and documentation.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        ENTRIES.get(self.index()).unwrap_or(&UNNAMED)
    }
}

/// What a counter outside of the list would be called; no reason has it.
const UNNAMED: Entry = Entry {
    kind: "none",
    name: "none",
    doc: "",
};

/// A reason that has a counter.
pub trait Counted: Copy {
    /// Its counter.
    fn counter(self) -> CounterIndex;

    /// Its name, in kebab case.
    fn name(self) -> &'static str {
        self.counter().entry().name
    }
}

macro_rules! reasons {
    (@enum $base:expr; $kind:literal $(#[$meta:meta])* $Enum:ident {
        $($Variant:ident $name:literal $doc:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum $Enum {
            $(#[doc = $doc] $Variant,)+
        }

        impl $Enum {
            /// Every variant, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$Variant,)+];
            /// The first counter of this kind.
            const BASE: u16 = $base;
            /// The counter after the last of this kind.
            const END: u16 = Self::BASE + Self::ALL.len() as u16;
        }

        impl Counted for $Enum {
            fn counter(self) -> CounterIndex {
                CounterIndex(Self::BASE.wrapping_add(self as u16))
            }
        }
    };
    (@all $base:expr;) => {
        /// How many counters there are.
        pub const COUNT: usize = $base as usize;
    };
    (@all $base:expr;
        $kind:literal $(#[$meta:meta])* $Enum:ident { $($body:tt)+ } $($rest:tt)*
    ) => {
        reasons!(@enum $base; $kind $(#[$meta])* $Enum { $($body)+ });
        reasons!(@all $Enum::END; $($rest)*);
    };
    ($($kind:literal $(#[$meta:meta])* $Enum:ident {
        $($Variant:ident $name:literal $doc:literal,)+
    })+) => {
        reasons!(@all 0; $($kind $(#[$meta])* $Enum { $($Variant $name $doc,)+ })+);

        /// Every counter, in order: the list that the documentation is made from.
        pub const ENTRIES: [Entry; COUNT] = [
            $($(Entry { kind: $kind, name: $name, doc: $doc },)+)+
        ];
    };
}

reasons! {
    "ignore" /// Why an open is none of our business.
    IgnoreReason {
        StackFileObject "stack-file-object"
            "The file object lies on a kernel stack: no contexts, and no handle comes of it.",
        PagingFile "paging-file"
            "A paging file: the memory manager's own, never code that a process loads.",
        TargetDirectory "target-directory" "The parent of a rename target is opened, not a file.",
        Directory "directory" "A directory has no bytes to scan.",
        Volume "volume" "The volume itself is opened; raw writes through it move the volume epoch.",
        Prefetch "prefetch"
            "The kernel's prefetcher reads pages ahead; who uses them opens the file first.",
        CsvDownLevel "csv-down-level"
            "The hidden side of a cluster volume's open, which is looked at on its visible side.",
        Scanner "scanner"
            "The connected scan service's own open; to wait for it would be to wait for ourselves.",
        Nested "nested"
            "A create from inside a file system's own work, which waits on us with locks held.",
        Draining "draining" "Our instance goes away; there is no open file to decide about.",
        Failed "failed" "The open failed; there is no open file.",
        Reparse "reparse"
            "The name continues elsewhere; the second pass of this create is looked at.",
        NoDataAccess "no-data-access"
            "Neither data nor execute access was granted: no byte can be read or run through it.",
        NotOpened "not-opened"
            "Created, superseded or overwritten: nothing old is left; new bytes wait for close.",
    }
    "skip" /// Why a layer file is opened without a scan.
    SkipReason {
        RemoteLayer "remote-layer"
            "The layer lies on a remote host, which scans it; the policy says to trust that.",
        CoveredLayer "covered-layer"
            "A registered layer, wholly scanned under these signatures; not known infected.",
        Excluded "excluded"
            "The container is one that the service was told to leave out; not known infected.",
    }
    "look-up" /// Which key is looked up.
    LookupReason {
        HostOwn "host-own" "Not a container open: the opened file's own key.",
        ContainerOwn "container-own"
            "A container open without a usable answer: the opened file's own key.",
        Scratch "scratch" "The container's own bytes: the opened file's own key.",
        Layer "layer" "Bytes of a layer: the package file's key.",
        CoveredLayer "covered-layer"
            "A covered registered layer: the package file's key, and only 'infected' counts.",
        Excluded "excluded" "An excluded container: the bytes' key, and only 'infected' counts.",
    }
    "scan" /// Why an open is scanned without looking anything up.
    ScanReason {
        RedirectingVolume "redirecting-volume"
            "No usable answer, on a volume that shows layer bytes under its own ids.",
        UnknownFlags "unknown-flags" "The answer has bits that no page documents.",
        Contradiction "contradiction" "The answer's bits contradict each other.",
        ForeignSilo "foreign-silo"
            "An answer about the layers of a silo that the host compute service did not make.",
        UserMode "user-mode" "A user-mode provider serves the file: no statement about layers.",
        SharingOff "sharing-off" "A layer file, and the policy says to scan each open of one.",
        RemoteLayer "remote-layer" "A remote layer, and the policy says to scan.",
        NoLayerId "no-layer-id" "A layer file without a volume GUID or file id in the answer.",
        NamedStream "named-stream"
            "Not proven to be the unnamed stream; its verdict must answer for no other.",
        NoFileId "no-file-id" "The opened file has no usable id, or its volume has no stable ids.",
        NoVolume "no-volume"
            "The key's volume has no GUID of its own, or no live instance of ours.",
        Transaction "transaction" "Inside a transaction others see other bytes.",
        WritableSection "writable-section"
            "Somebody can write through a mapping without passing us.",
        Dax "dax" "A direct-access volume: mapped writes do not pass us.",
        Csv "csv" "A cluster volume: other nodes write without passing us.",
    }
    "allow" /// Why an open went through after it was looked at.
    AllowReason {
        CachedClean "cached-clean" "The cache held 'clean' for these bytes under these signatures.",
        StaleClean "stale-clean"
            "The cache held 'clean' of the signatures before; a new scan is on its way.",
        ScannedClean "scanned-clean" "A scan found nothing.",
        Empty "empty" "The file has no bytes.",
        ExcludedLayer "excluded-layer"
            "The bytes lie in a layer that the service was told to leave out; not known infected.",
        FailureAllowed "failure-allowed"
            "It could not be scanned for a cause of ours; on_failure says allow.",
        EvasionAllowed "evasion-allowed"
            "It could not be scanned for a cause of its own; on_evasion says allow.",
        NothingLeft "nothing-left"
            "Would have been denied, but this open already created or truncated the file.",
        HandleExists "handle-exists"
            "Would have been denied, but a handle already exists and cannot be taken back.",
        AuditOnly "audit-only" "Would have been denied, but siloscan runs in audit-only mode.",
    }
    "deny" /// Why an open was refused.
    DenyReason {
        CachedInfected "cached-infected" "The cache held 'infected' for these bytes.",
        StaleInfected "stale-infected"
            "The cache held 'infected' of older signatures; no scan has replaced it.",
        CoveredInfected "covered-infected"
            "'Infected' stands for a file of a layer that would have been skipped.",
        ScannedInfected "scanned-infected" "A scan found something.",
        FailureDenied "failure-denied"
            "It could not be scanned for a cause of ours; on_failure says deny.",
        EvasionDenied "evasion-denied"
            "It could not be scanned for a cause of its own; on_evasion says deny.",
        Cancelled "cancelled" "The opener was cancelled or its thread ended while it waited.",
    }
    "failure" /// Why something could not be scanned.
    Failure {
        NoService "no-service" "No scan service is connected, or it went away during the scan.",
        NoMemory "no-memory" "Memory could not be had.",
        QueueFull "queue-full" "All places of the scan queue are taken.",
        ShareUsed "share-used" "This silo has used up its share of the scan queue.",
        Unloading "unloading" "The driver or the instance goes away.",
        BadReply "bad-reply" "The service's reply made no sense.",
        ServiceError "service-error" "The service could not scan, for a reason of its own.",
        Breaker "breaker" "The service missed its heartbeat; nobody waits until it is back.",
        Unreadable "unreadable" "The bytes could not be had from the file system.",
        Locked "locked" "Somebody holds a byte-range lock on the file.",
        Changing "changing" "The file was changed again and again while it was scanned.",
        Conflict "conflict" "A truncation or a delete needed the section that was scanned.",
        TooSlow "too-slow" "The scan did not end within the deadline.",
        Oplock "oplock"
            "Another holder's oplock is being broken: waiting here could wait for the waiter.",
        NotRecalled "not-recalled"
            "The bytes are not on this machine and a scan must not fetch them.",
        Unscannable "unscannable" "The engine could not look inside.",
        TooLarge "too-large"
            "More bytes than are sent to the service from a volume without data-scan sections.",
        Deleted "deleted"
            "A process is made of the image of a changed file that is deleted, or about to be.",
        Overwritten "overwritten"
            "A process is made of an image whose file was changed after it was mapped.",
    }
    "event" /// What else is counted.
    Event {
        EcpAttached "ecp-attached" "The redirection ECP was attached.",
        EcpShared "ecp-shared" "A redirection ECP of another filter was there and is read.",
        EcpReused "ecp-reused" "Second pass of a create: our own ECP was zeroed and used again.",
        EcpTainted "ecp-tainted" "A redirection ECP was found that must not be believed.",
        EcpFailed "ecp-failed" "The redirection ECP could not be attached.",
        Redirecting "redirecting" "An instance became redirecting.",
        FlightStarted "flight-started" "A scan was queued.",
        FlightJoined "flight-joined" "An open joined a scan that was already wanted.",
        FlightKilled "flight-killed" "A change killed a scan.",
        FlightRetried "flight-retried"
            "A scan failed, or was left out, for one opener; the next one's file was tried.",
        VerdictStored "verdict-stored" "A verdict went into the cache.",
        VerdictDropped "verdict-dropped" "A verdict was not stored because its ticket had died.",
        KeyDropped "key-dropped" "A change or a delete dropped a key.",
        ChangeTableFull "change-table-full"
            "The table of changing keys was full: a whole volume counts as changing.",
        VolumeEpoch "volume-epoch" "A volume's epoch moved: all its verdicts are void.",
        VolumeUnknown "volume-unknown"
            "There was no memory to look at a volume when we attached: scanned, never cached.",
        LateGuid "late-guid" "A volume got its GUID after we had attached to it.",
        TransactionSeen "transaction-seen"
            "A file was opened for changes in a transaction that we then follow to its end.",
        TransactionCommitted "transaction-committed"
            "Files that a transaction changed came to light: their keys were dropped.",
        TransactionUnseen "transaction-unseen"
            "A transaction could not be followed: its volume is not cached until it has ended.",
        SignatureEpoch "signature-epoch"
            "New signatures or a new connection: all verdicts are stale.",
        CloseScan "close-scan" "A changed file was queued for a scan at its close.",
        CloseInfected "close-infected" "A scan at close found something.",
        CloseFailed "close-failed" "A scan at close did not come to an end.",
        CoverageBegun "coverage-begun" "A proactive scan of a volume's layers began.",
        CoverageReported "coverage-reported" "A proactive scan ended well: the layers are covered.",
        CoverageRefused "coverage-refused"
            "A report of coverage came too late: other signatures, or a file changed since.",
        CoverageWithdrawn "coverage-withdrawn"
            "A file on a covered volume changed, and no clean verdict of it was kept.",
        WarmWanted "warm-wanted"
            "The first stale verdict of an epoch was met: a proactive scan is asked for.",
        HeartbeatMissed "heartbeat-missed"
            "The service did not answer in time to 'anything for me?'.",
        ConnectRefused "connect-refused" "A connection to the port was refused.",
        Connected "connected" "A scan service connected.",
        Disconnected "disconnected" "The scan service went away.",
        CloseLeft "close-left"
            "A changed file was closed where no section keeps its bytes: its next open scans it.",
        CloseCrowded "close-crowded"
            "A changed file was closed while too many wait for their scan at close: its next open \
             scans it.",
        StaleRescan "stale-rescan"
            "An open went through with a stale 'clean': a scan that nobody waits for was queued.",
        SectionKept "section-kept"
            "The service kept a section for too long after a stop, or did not say that it had let \
             go, and was disconnected.",
        SiloSlowed "silo-slowed"
            "A silo's scans held leaders to their deadlines too often: all such silos now share \
             half of the leaders and of the queue.",
        Retried "retried" "An open that could not be scanned was tried again within its deadline.",
        ForeignSilo "foreign-silo"
            "An open out of a silo that the host compute service did not make.",
        ParameterRefused "parameter-refused"
            "A registry value was nonsense; the default took its place.",
        ParameterChanged "parameter-changed"
            "A registry value was changed and taken while the driver ran.",
        CloseExcluded "close-excluded"
            "A changed file was closed in an excluded container: it was not scanned.",
        TraceDropped "trace-dropped"
            "An event was not written: as many as there may be were written in that second.",
        StartKnown "start-known"
            "A process was made of an image whose bytes were decided about at an open.",
        StartScanned "start-scanned"
            "The image of a process was looked at when the process was made.",
        StartUnknowable "start-unknowable"
            "A process was made of an image whose bytes no file shows any more.",
        StartRefused "start-refused" "A process was refused for its image.",
        StartUnwatched "start-unwatched"
            "A process was made of an image on a volume without an instance of ours.",
        StartUnasked "start-unasked"
            "The system did not take the routine that looks at new processes.",
    }
}

impl Failure {
    /// Whether the failure is ours, or caused by the file and its users.
    #[must_use]
    pub const fn origin(self) -> Origin {
        match self {
            Self::NoService
            | Self::NoMemory
            | Self::QueueFull
            | Self::Unloading
            | Self::BadReply
            | Self::ServiceError
            | Self::Breaker => Origin::Ours,
            Self::ShareUsed
            | Self::Unreadable
            | Self::Locked
            | Self::Changing
            | Self::Conflict
            | Self::TooSlow
            | Self::Oplock
            | Self::NotRecalled
            | Self::TooLarge
            | Self::Deleted
            | Self::Overwritten
            | Self::Unscannable => Origin::File,
        }
    }
}

impl AllowReason {
    /// Whether the open would have been denied, but for this.
    #[must_use]
    pub const fn overrules(self) -> bool {
        matches!(
            self,
            Self::NothingLeft | Self::HandleExists | Self::AuditOnly
        )
    }
}

/// Who is to blame for a failure, which says which policy decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// No service, memory, queue, unloading: `on_failure` decides.
    Ours,
    /// The file or its users: retried within the deadline, then `on_evasion` decides.
    File,
}

/// One atomic per reason, in nonpaged memory. 64 bits do not wrap in a machine's life.
pub struct Counters {
    values: [AtomicU64; COUNT],
}

impl Counters {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            values: [const { AtomicU64::new(0) }; COUNT],
        }
    }

    /// Counts one. Any IRQL.
    pub fn count(&self, reason: impl Counted) {
        if let Some(value) = self.values.get(reason.counter().index()) {
            value.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The count of one reason so far. Any IRQL.
    #[must_use]
    pub fn get(&self, reason: impl Counted) -> u64 {
        self.at(reason.counter().index())
    }

    /// The count at an index of [`ENTRIES`]; zero outside of it.
    #[must_use]
    pub fn at(&self, index: usize) -> u64 {
        self.values
            .get(index)
            .map_or(0, |value| value.load(Ordering::Relaxed))
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let mut seen = HashSet::new();
        let mut names = HashSet::new();
        macro_rules! visit {
            ($($Enum:ident $kind:literal),+) => {$(
                for reason in $Enum::ALL {
                    let index = reason.counter();
                    assert!(seen.insert(index.index()));
                    assert_eq!(index.entry().kind, $kind);
                    assert!(names.insert((index.entry().kind, reason.name())));
                    assert!(index.entry().doc.ends_with('.'));
                }
            )+};
        }
        visit!(
            IgnoreReason "ignore", SkipReason "skip", LookupReason "look-up", ScanReason "scan",
            AllowReason "allow", DenyReason "deny", Failure "failure", Event "event"
        );
        assert_eq!(seen.len(), COUNT);
        assert_eq!(ENTRIES.len(), COUNT);
    }

    #[test]
    fn counting_moves_one_counter_only() {
        let counters = Counters::new();
        counters.count(DenyReason::CachedInfected);
        counters.count(DenyReason::CachedInfected);
        assert_eq!(counters.get(DenyReason::CachedInfected), 2);
        let total: u64 = (0..COUNT).map(|index| counters.at(index)).sum();
        assert_eq!(total, 2);
        assert_eq!(counters.at(COUNT), 0);
    }

    #[test]
    fn an_open_that_would_have_been_denied_says_so() {
        for reason in AllowReason::ALL {
            let named = ["nothing-left", "handle-exists", "audit-only"].contains(&reason.name());
            assert_eq!(reason.overrules(), named, "{}", reason.name());
        }
    }
}
