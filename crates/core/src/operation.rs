//! Every operation that can change bytes, or what an open of a file yields: one table that the
//! driver decides by, and that `docs/changes.md` is made from.

/// What an operation does to verdicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing: the same bytes under the same id.
    None,
    /// It changes the file's bytes, or lets the file go.
    Change,
    /// A write of the memory manager or the cache: a change only where somebody can have written
    /// through a mapping. What was written through the file was marked when it was written.
    Paging,
    /// A new name: a change where another file, or another stream of the file, makes room for it.
    Name,
    /// From now on somebody can write without passing us.
    Pin,
    /// The file's id is known only afterwards, when it is empty.
    Emptied,
    /// It changes something on the volume that cannot be named.
    Volume,
    /// All that is known about the volume is void.
    VoidVolume,
    /// It is seen by nobody else before its transaction is committed.
    Transacted,
    /// What a transaction changed comes to light.
    Commit,
}

impl Effect {
    /// What is done, for the documentation.
    #[must_use]
    pub const fn doc(self) -> &'static str {
        match self {
            Self::None => "none: the same bytes under the same id",
            Self::Change => "the key is *changing* from pre to post; scans of it die",
            Self::Paging => {
                "as a change, if a writable section was seen, the context is younger than its \
                 first open or a mapping may be older than it; else none, since the cached write \
                 before it was marked"
            }
            Self::Name => {
                "as a change, if it may replace another file or names a stream; else none"
            }
            Self::Pin => "the key is dropped, and not cached while the stream's context lives",
            Self::Emptied => "the key is dropped in post-create, before anybody can write",
            Self::Volume => "the whole volume is *changing* from pre to post",
            Self::VoidVolume => "the volume's epoch moves: all its verdicts are void",
            Self::Transacted => {
                "the transaction is followed, and the key pinned until it ends: nothing about it \
                 is served or stored"
            }
            Self::Commit => "the keys of all files that it may have changed are dropped",
        }
    }
}

/// How an operation is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// By a callback of its own.
    Callback(&'static str),
    /// By `IRP_MJ_SET_INFORMATION`, with one of these classes.
    Classes(&'static [i32]),
    /// By `IRP_MJ_FILE_SYSTEM_CONTROL`, with one of these codes.
    Controls(&'static [u32]),
}

/// One kind of operation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is.
    pub operation: &'static str,
    /// How it is seen.
    pub seen: Seen,
    /// What is done.
    pub effect: Effect,
    /// The test that fails without the row: file and function.
    pub test: &'static str,
}

const fn row(operation: &'static str, seen: Seen, effect: Effect, test: &'static str) -> Row {
    Row {
        operation,
        seen,
        effect,
        test,
    }
}

use Seen::{Callback, Classes, Controls};

const CONTROLS: &str = "changes i2_every_control_that_changes_bytes_drops_the_key";
const KEEPS: &str = "changes i2_a_control_that_keeps_the_bytes_keeps_the_verdict";
const SIZES: &str = "changes i2_every_size_that_is_set_drops_the_key";
const NAMES: &str = "changes i2_a_name_taken_from_another_file_drops_the_key";
const GONE: &str = "changes i2_a_deleted_file_loses_its_key";
const EMPTIED: &str = "changes i2_a_file_that_an_open_empties_loses_its_key";
const RAW: &str = "changes i2_raw_writes_and_dismounts_void_the_volume";

/// Every kind of operation, in the order of the documentation.
pub const TABLE: [Row; 44] = [
    row(
        "cached write",
        Callback("IRP_MJ_WRITE, also as fast I/O"),
        Effect::Change,
        "change i2_a_written_file_is_scanned_again",
    ),
    row(
        "noncached write",
        Callback("IRP_MJ_WRITE with IRP_NOCACHE"),
        Effect::Change,
        "changes i2_an_unbuffered_write_drops_the_key",
    ),
    row(
        "paging write",
        Callback("IRP_MJ_WRITE with IRP_PAGING_IO"),
        Effect::Paging,
        "changes i2_what_was_written_through_a_mapping_is_scanned_again",
    ),
    row(
        "paging write of a mapping that is older than our instance",
        Callback("IRP_MJ_WRITE with IRP_PAGING_IO, a data section at the first open"),
        Effect::Paging,
        "mapped_before i2_a_paging_write_counts_where_somebody_may_have_been_before_us",
    ),
    row(
        "raw write to the volume",
        Callback("IRP_MJ_WRITE with FO_VOLUME_OPEN"),
        Effect::Volume,
        RAW,
    ),
    row(
        "MDL write: the pages are handed out",
        Callback("IRP_MJ_PREPARE_MDL_WRITE"),
        Effect::Pin,
        "changes i2_pages_handed_out_for_an_mdl_write_are_not_believed",
    ),
    row(
        "MDL write: the pages come back",
        Callback("IRP_MJ_MDL_WRITE_COMPLETE"),
        Effect::Change,
        "changes i2_pages_handed_out_for_an_mdl_write_are_not_believed",
    ),
    row(
        "writable section",
        Callback("IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION"),
        Effect::Pin,
        "races i2_a_layer_file_that_the_host_has_mapped_is_not_cached",
    ),
    row(
        "create, supersede, overwrite",
        Callback("IRP_MJ_CREATE, information other than OPENED"),
        Effect::Emptied,
        EMPTIED,
    ),
    row(
        "delete with the last handle, also on close",
        Callback("IRP_MJ_CLEANUP of a file that is delete-pending"),
        Effect::Change,
        GONE,
    ),
    row(
        "volume dismount",
        Callback("IRP_MJ_VOLUME_DISMOUNT"),
        Effect::VoidVolume,
        "changes i2_a_dismount_voids_the_volume_told_or_not",
    ),
    row(
        "instance teardown and setup",
        Callback("InstanceTeardownStart, InstanceSetup"),
        Effect::VoidVolume,
        "changes i2_a_volume_that_comes_back_is_unknown",
    ),
    row(
        "open for changes in a transaction",
        Callback("IRP_MJ_CREATE with a transaction"),
        Effect::Transacted,
        "transactions i2_a_verdict_from_before_a_commit_is_not_believed_after_it",
    ),
    row(
        "rename in a transaction",
        Callback("IRP_MJ_SET_INFORMATION 0xa with a transaction"),
        Effect::Transacted,
        "transacted_names i2_a_name_taken_in_a_transaction_brings_no_verdict",
    ),
    row(
        "delete in a transaction",
        Callback("IRP_MJ_SET_INFORMATION 0xd with a transaction"),
        Effect::Transacted,
        "transacted_names i2_a_deletion_that_is_rolled_back_leaves_the_file_as_it_was",
    ),
    row(
        "write to a named stream in a transaction",
        Callback("IRP_MJ_WRITE with a transaction"),
        Effect::Transacted,
        "transacted_names i1_a_stream_written_in_a_transaction_is_clean_until_commit",
    ),
    row(
        "commit of a transaction",
        Callback("TRANSACTION_NOTIFY_COMMIT and _COMMIT_FINALIZE"),
        Effect::Commit,
        "transactions i2_a_scan_of_older_bytes_dies_with_the_commit",
    ),
    row("delete disposition", Classes(&[0x0d]), Effect::Change, GONE),
    row(
        "delete disposition, POSIX forms",
        Classes(&[0x40]),
        Effect::Change,
        GONE,
    ),
    row("allocation size", Classes(&[0x13]), Effect::Change, SIZES),
    row("end of file", Classes(&[0x14]), Effect::Change, SIZES),
    row("valid data length", Classes(&[0x27]), Effect::Change, SIZES),
    row(
        "rename",
        Classes(&[0x0a, 0x38]),
        Effect::Name,
        "changes i2_a_name_taken_from_another_file_drops_the_key",
    ),
    row(
        "rename, POSIX forms",
        Classes(&[0x41, 0x42]),
        Effect::Name,
        NAMES,
    ),
    row("hard link", Classes(&[0x0b, 0x39]), Effect::Name, NAMES),
    row(
        "hard link, POSIX forms",
        Classes(&[0x48, 0x49]),
        Effect::Name,
        NAMES,
    ),
    row(
        "short name",
        Classes(&[0x28]),
        Effect::None,
        "short_names a_short_name_may_change_hands",
    ),
    row(
        "lock volume, dismount volume, invalidate volumes",
        Controls(&[0x90018, 0x90020, 0x90054]),
        Effect::VoidVolume,
        RAW,
    ),
    row(
        "set or delete a reparse point",
        Controls(&[0x900a4, 0x9040c, 0x900ac]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "raw encrypted write",
        Controls(&[0x900df]),
        Effect::Change,
        CONTROLS,
    ),
    row("zero data", Controls(&[0x980c8]), Effect::Change, CONTROLS),
    row(
        "offload write",
        Controls(&[0x98268]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "block clone",
        Controls(&[0x98344, 0x983e8]),
        Effect::Change,
        "races w7_a_file_swapped_by_block_clone_gets_its_own_verdict",
    ),
    row(
        "file-level trim",
        Controls(&[0x98208]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "external backing set or deleted",
        Controls(&[0x9030c, 0x90314]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "overlay added or updated",
        Controls(&[0x98330, 0x98338]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "stream snapshot management",
        Controls(&[0x90440]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "repair copies, shuffle file",
        Controls(&[0x9c2b4, 0x9c340]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "rearrange file, single-instance copy and link: files named in the buffer",
        Controls(&[0x9c420, 0x90100, 0x9c104]),
        Effect::Volume,
        CONTROLS,
    ),
    row(
        "transaction savepoint",
        Controls(&[0x98178]),
        Effect::Change,
        CONTROLS,
    ),
    row("compression", Controls(&[0x9c040]), Effect::None, KEEPS),
    row(
        "encryption, sparse, defragmentation",
        Controls(&[0x900d7, 0x900c4, 0x90074]),
        Effect::None,
        KEEPS,
    ),
    row(
        "any other control that needs write access, on a file",
        Controls(&[]),
        Effect::Change,
        CONTROLS,
    ),
    row(
        "any other control that needs write access, on a volume",
        Controls(&[]),
        Effect::Volume,
        RAW,
    ),
];

/// What setting information of a class does.
#[must_use]
pub fn of_class(class: i32) -> Effect {
    TABLE
        .iter()
        .find(|row| matches!(row.seen, Classes(classes) if classes.contains(&class)))
        .map_or(Effect::None, |row| row.effect)
}

/// What a control does. One that the table does not know, and that needs write access, counts as
/// a change: of the file, or of the volume where the volume itself is open.
#[must_use]
pub fn of_control(code: u32, on_volume: bool) -> Effect {
    const WRITE_ACCESS: u32 = 2;
    let known = TABLE
        .iter()
        .find(|row| matches!(row.seen, Controls(codes) if codes.contains(&code)));
    let effect = match known {
        Some(row) => row.effect,
        None if (code >> 14) & WRITE_ACCESS != 0 => Effect::Change,
        None => Effect::None,
    };
    match effect {
        Effect::Change if on_volume => Effect::Volume,
        effect => effect,
    }
}
