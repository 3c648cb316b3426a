//! Every operation that can change a file's bytes, or what an open of it yields: the key is
//! marked *changing* before the operation and let go after it, whatever came of it. While the
//! mark is there no verdict about the key is stored, and a scan of it is dead.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use siloscan_core::key::{FileId, Key};
use siloscan_core::ledger::ChangeMark;
use siloscan_core::operation::{self, Effect};
use siloscan_core::reason::Event;
use siloscan_core::stream::OwnId;
use siloscan_core::sync::WriteToken;

pub use crate::context::Mark;
use crate::context::{InstanceContext, Owned, StreamContext};
use crate::kernel::lock::Raise;
use crate::kernel::{file, image};
use crate::registration::view::Data;
use crate::sys::constants::*;
use crate::{instance, scan, state, trace, transacted};

/// Marks what an operation may change. `None` where there is nothing to end afterwards.
///
/// # IRQL
/// At most APC_LEVEL; for paging writes nothing here waits or touches paged memory.
pub fn before(data: &Data<'_>) -> Option<Mark> {
    match effect(data) {
        // What is done in a transaction is the open's business, and the commit is no operation.
        Effect::None | Effect::Name | Effect::Emptied | Effect::Transacted | Effect::Commit => None,
        Effect::Change => {
            forget_name(data);
            change(data, false)
        }
        Effect::Pin => {
            pin(data);
            change(data, false)
        }
        Effect::Paging => change(data, true),
        Effect::Volume => volume_change(Owned::<InstanceContext>::of(data.instance()).ok()?),
        Effect::VoidVolume => {
            let context = Owned::<InstanceContext>::of(data.instance()).ok()?;
            instance::void_volume(&context);
            None
        }
    }
}

/// Ends what `before` marked.
///
/// # IRQL
/// At most DISPATCH_LEVEL; also while draining.
pub fn after(mark: Option<Mark>) {
    let end = |mark: ChangeMark, token: &WriteToken<'_>| {
        if let Some(ledger) = state::ledger() {
            ledger.end_change(mark, token);
        }
    };
    match mark {
        None => {}
        Some(Mark::Stream(stream)) => stream.end_change(end),
        Some(Mark::Instance(context)) => context.end_change(end),
    }
}

/// The last handle of a file object goes: a file that is deleted with it loses its key, one that
/// was changed is queued to be scanned.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn before_cleanup(data: &Data<'_>) -> Option<Mark> {
    if data.has_stack_file_object() {
        // A question for attributes: nobody can hold on to its file object, and it changes nothing.
        return None;
    }
    let stream = Owned::<StreamContext>::of(data.instance(), data.file()).ok()?;
    if data.file().delete_pending() {
        let context = Owned::<InstanceContext>::of(data.instance()).ok()?;
        if data.in_transaction() {
            // It is deleted for everybody only if that is committed.
        } else if !has_other_names(data) {
            stream.state.note_deleted();
        } else if stream.state.is_unsettled() {
            scan::closed::withdraw(&context);
        }
        return Some(mark_stream(stream, &context));
    }
    if stream.state.wants_close_scan() {
        scan::detached::at_close(data, stream);
    }
    None
}

/// Somebody makes a section over the file. Through a writable one bytes change without passing
/// us, so the stream's key serves no more while its context lives.
///
/// # IRQL
/// At most APC_LEVEL, with locks of the file system held: nothing here waits.
pub fn before_section(data: &Data<'_>) {
    let section = data.acquire_section();
    if section.sync_type == SYNC_TYPE_CREATE_SECTION {
        note_image(data);
    }
    let writable = matches!(
        section.page_protection & 0xff,
        PAGE_READWRITE | PAGE_EXECUTE_READWRITE
    );
    if section.sync_type != SYNC_TYPE_CREATE_SECTION || !writable {
        return;
    }
    pin(data);
}

/// A section that is made where there is no image section may be one: what the stream's bytes
/// were then is what a process that is made of it runs.
fn note_image(data: &Data<'_>) {
    if image::is_imaged(data.file()) {
        return;
    }
    if let Ok(stream) = Owned::<StreamContext>::of(data.instance(), data.file()) {
        let mapped = stream.state.writable_section() && image::has_writers(data.file());
        stream.state.note_image(mapped);
    }
}

/// Somebody can write to the stream without passing us: its key is dropped, and pinned for as
/// long as the stream's context lives.
fn pin(data: &Data<'_>) {
    let Ok(context) = Owned::<InstanceContext>::of(data.instance()) else {
        return;
    };
    let stream = Owned::<StreamContext>::of_or_new(data.instance(), data.file()).ok();
    match &stream {
        Some(stream) => pin_stream(stream, &context),
        // Its next open finds the section.
        None => context.unseen.store(true, Ordering::Release),
    }
    emptied(stream.as_ref(), &context);
}

/// The stream's key serves no more while its context lives.
fn pin_stream(stream: &Owned<StreamContext>, context: &InstanceContext) {
    stream.state.set_writable_section();
    if let (Some(key), Some(ledger)) = (own_key(stream, context), state::ledger()) {
        stream.pin(|| Raise::with(|token| ledger.pin(&key, token)));
    }
}

/// The first open of a stream that comes to us, where others may have come before us: somebody
/// may have it mapped, and write to it without passing us. Who has a data section is not told, so
/// its paging writes count from now on; and who can write to it is asked.
///
/// # IRQL
/// At most APC_LEVEL, in a post-create.
pub fn first_seen(data: &Data<'_>, stream: &Owned<StreamContext>, context: &InstanceContext) {
    if !context.unseen.load(Ordering::Acquire)
        || stream.state.was_opened()
        || !image::has_data_section(data.file())
    {
        return;
    }
    stream.state.note_mapped_before();
    if image::has_writers(data.file()) {
        pin_stream(stream, context);
        // Who was here first may have made a context, and a verdict.
        changed(stream, context);
    }
}

/// The stream's context goes, and with it the last of those who could write to it unseen.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn stream_gone(stream: &StreamContext) {
    if let (Some(pin), Some(ledger)) = (stream.take_pin(), state::ledger()) {
        ledger.unpin(pin);
    }
}

/// A stream that gets the name of another one of its file is no longer proven to be the unnamed
/// one, and no key is its own any more.
fn forget_name(data: &Data<'_>) {
    let renames = data.major() == IRP_MJ_SET_INFORMATION
        && operation::of_class(data.set_information().class) == Effect::Name
        && data.renames_stream();
    if renames && let Ok(stream) = Owned::<StreamContext>::of_or_new(data.instance(), data.file()) {
        stream.state.set_name(false);
    }
}

/// Drops the key of a file that was created, superseded or overwritten (its id was not known
/// before, and nobody can have written to it yet) or that a writable section is made over.
/// Without a stream context, or an id to drop the key by, nothing of the volume is believed any
/// more.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn emptied(stream: Option<&Owned<StreamContext>>, context: &InstanceContext) {
    let unknown = stream.is_none_or(|stream| stream.state.own_id() == OwnId::Unknown);
    if context.stable_ids && unknown {
        instance::void_volume(context);
    }
    if let Some(stream) = stream {
        stream.state.note_direct_change();
        let mark = mark_stream(stream.again(), context);
        after(Some(mark));
    }
}

/// A stream was changed by what is no operation on it.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn changed(stream: &Owned<StreamContext>, context: &InstanceContext) {
    after(Some(mark_stream(stream.again(), context)));
}

/// Marks a stream's key, and ends the scans that read the stream.
fn mark_stream(stream: Owned<StreamContext>, context: &InstanceContext) -> Mark {
    let key = own_key(&stream, context);
    stream.begin_change(|token| begin(key.as_ref(), token));
    scan::kill(key.as_ref(), stream.state.id());
    Mark::Stream(stream)
}

/// As [`mark_stream`], for an operation that a section of the file may stand in the way of: one
/// that a scan has through another stream is let go of first.
fn mark_and_clear(stream: Owned<StreamContext>, context: &InstanceContext) -> Mark {
    let key = own_key(&stream, context);
    stream.begin_change(|token| begin(key.as_ref(), token));
    let id = stream.state.id();
    if scan::kill(key.as_ref(), id)
        && let Some(key) = &key
    {
        scan::await_let_go(key, id);
    }
    Mark::Stream(stream)
}

/// The key of a stream's file, as far as it is known.
#[must_use]
pub fn own_key(stream: &StreamContext, context: &InstanceContext) -> Option<Key> {
    match (context.guid(), stream.state.own_id()) {
        (Some(volume), OwnId::Known(id)) => Some(Key::new(volume, id)),
        _ => None,
    }
}

/// Core's mark for a key.
fn begin(key: Option<&Key>, token: &WriteToken<'_>) -> Option<ChangeMark> {
    let mark = state::ledger()?.begin_change(key?, token);
    trace::count(Event::KeyDropped);
    if mark.is_whole_volume() {
        trace::count(Event::ChangeTableFull);
        trace::count(Event::VolumeEpoch);
    }
    Some(mark)
}

/// A change of the file that the operation is about.
fn change(data: &Data<'_>, paging: bool) -> Option<Mark> {
    let context = Owned::<InstanceContext>::of(data.instance()).ok()?;
    let stream = match Owned::<StreamContext>::of(data.instance(), data.file()) {
        Ok(stream) if paging && !stream.state.paging_write_counts() => return None,
        Ok(stream) => Some(stream),
        Err(_) if is_nobodys(data, paging) => return None,
        Err(_) => Owned::<StreamContext>::of_or_new(data.instance(), data.file()).ok(),
    };
    let Some(stream) = stream else {
        return volume_change(context);
    };
    if paging {
        // The mapping may be the last thing that holds the file: no close is going to look.
        scan::closed::withdraw(&context);
    }
    if !paging && !is_only_a_name(data) {
        stream.state.note_direct_change();
    }
    if !paging && may_ask() {
        learn_id(data, &stream, &context);
    }
    if !paging && data.in_transaction() {
        // Its open may be older than our instance.
        transacted::joins(data, Some(&stream), &context);
    }
    if context.stable_ids && stream.state.own_id() == OwnId::Unknown {
        // The key cannot be named: what is read through the stream dies, and the volume changes.
        after(Some(mark_stream(stream, &context)));
        return volume_change(context);
    }
    if !paging && data.major() == IRP_MJ_SET_INFORMATION && may_ask() {
        return Some(mark_and_clear(stream, &context));
    }
    Some(mark_stream(stream, &context))
}

/// Whether the operation gives a file another name and leaves its bytes alone: a program that is
/// moved over another one still is what it was.
fn is_only_a_name(data: &Data<'_>) -> bool {
    data.major() == IRP_MJ_SET_INFORMATION
        && operation::of_class(data.set_information().class) == Effect::Name
        && !data.renames_stream()
}

/// Whether a stream without a context is one that no open is ever looked up for: the file
/// system's own metadata, a paging file, a directory.
fn is_nobodys(data: &Data<'_>, paging: bool) -> bool {
    if paging {
        data.file().flags() & FO_STREAM_FILE != 0 || file::is_paging_file(data.file())
    } else {
        file::is_directory(data.instance(), data.file())
    }
}

/// A change of something on the volume that cannot be named: the whole volume counts as changing.
fn volume_change(context: Owned<InstanceContext>) -> Option<Mark> {
    context.begin_change(|token| {
        let ledger = state::ledger()?;
        let mark = ledger.begin_volume_change(context.guid()?, token);
        trace::count(Event::VolumeEpoch);
        Some(mark)
    });
    Some(Mark::Instance(context))
}

/// Whether a file that is about to be deleted stays under another name, as far as can be told.
fn has_other_names(data: &Data<'_>) -> bool {
    !may_ask() || file::has_other_names(data.instance(), data.file())
}

/// Whether this thread may ask the file system below us.
fn may_ask() -> bool {
    file::may_query() && !file::is_nested()
}

/// Asks for the file's id until it is told. A question that failed, for want of memory perhaps,
/// says nothing: were it taken for "no id", a change would drop no key.
///
/// # IRQL
/// PASSIVE_LEVEL, where this thread may ask.
pub fn learn_id(data: &Data<'_>, stream: &StreamContext, context: &InstanceContext) {
    if context.stable_ids
        && stream.state.own_id() == OwnId::Unknown
        && let Ok(id) = file::file_id(data.instance(), data.file())
    {
        stream.state.set_own_id(FileId::from_bytes(id));
    }
}

/// What the operation may do to bytes; the table is core's.
fn effect(data: &Data<'_>) -> Effect {
    let on_volume = data.file().flags() & FO_VOLUME_OPEN != 0;
    match data.major() {
        IRP_MJ_WRITE if on_volume => Effect::Volume,
        IRP_MJ_WRITE if data.irp_flags() & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO) != 0 => {
            Effect::Paging
        }
        IRP_MJ_WRITE | IRP_MJ_MDL_WRITE_COMPLETE => Effect::Change,
        IRP_MJ_PREPARE_MDL_WRITE => Effect::Pin,
        IRP_MJ_SET_INFORMATION => set_information_effect(data),
        IRP_MJ_FILE_SYSTEM_CONTROL => operation::of_control(data.fs_control().code, on_volume),
        _ => Effect::None,
    }
}

/// What setting information does. The cache tells the file system how far it has written: those
/// are no new bytes. A new name is a change only where something makes room for it.
fn set_information_effect(data: &Data<'_>) -> Effect {
    const END_OF_FILE: i32 = 0x14;
    let parameters = data.set_information();
    match operation::of_class(parameters.class) {
        Effect::Change if parameters.class == END_OF_FILE && parameters.advance_only != 0 => {
            Effect::Paging
        }
        Effect::Name if may_replace(data) => Effect::Change,
        Effect::Name => Effect::None,
        effect => effect,
    }
}

/// Whether a rename or a link may take its name from another file, or exchange the streams of
/// its own: `evil` of a file can become its unnamed stream without a write. The flags of the
/// extended classes are not looked at: they are asked for by whoever wants to replace. Nor is
/// anything of the classes for who has checked the access: `ReplaceIfExists` is documented for the
/// plain ones alone, and the others have that in their buffer.
fn may_replace(data: &Data<'_>) -> bool {
    const RENAME: i32 = 0x0a;
    const LINK: i32 = 0x0b;
    let parameters = data.set_information();
    let replaces = match parameters.class {
        RENAME | LINK => parameters.replace_if_exists != 0,
        _ => true,
    };
    replaces || data.renames_stream()
}
