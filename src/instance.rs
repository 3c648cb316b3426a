//! Where siloscan attaches, and what is learnt about a volume when it does.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use siloscan_core::key::VolumeGuid;
use siloscan_core::ledger;
use siloscan_core::reason::Event;

use crate::context::{InstanceContext, Owned};
use crate::kernel::file::{self, Instance};
use crate::kernel::lock::Raise;
use crate::kernel::{Status, disk, redirector};
use crate::registration::view::Data;
use crate::sys::P;
use crate::sys::constants::{
    FILE_DAX_VOLUME, FILE_DEVICE_NETWORK_FILE_SYSTEM, FLT_FSTYPE_CSVFS, FLT_FSTYPE_LANMAN,
    FLT_FSTYPE_MSFS, FLT_FSTYPE_MUP, FLT_FSTYPE_NPFS, FLT_FSTYPE_NTFS, FLT_FSTYPE_RAW,
    FLT_FSTYPE_REFS, FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME, STATUS_FLT_CONTEXT_ALREADY_DEFINED,
    STATUS_FLT_DO_NOT_ATTACH, STATUS_INSUFFICIENT_RESOURCES,
};
use crate::{scan, state, trace, transacted};

/// Looks at a volume, and remembers what it is.
///
/// Without memory to remember it we attach all the same, or the volume would be guarded by nobody
/// for as long as it is mounted: [`known_or_bare`] makes up for it.
///
/// # Errors
/// A volume that we do not attach to, or an instance that goes away already.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn setup(
    instance: Instance<'_>,
    volume: P,
    device_type: u32,
    file_system: u32,
    flags: u32,
) -> Result<(), Status> {
    if !is_ours(device_type, file_system) || is_below_cluster(volume, file_system) {
        return Err(Status::failure(STATUS_FLT_DO_NOT_ATTACH));
    }
    let guid = file::volume_guid(volume).and_then(VolumeGuid::from_bytes);
    let mut context = InstanceContext::new(guid);
    // Whoever opened files of the volume before us may still have them mapped.
    context.unseen = AtomicBool::new(flags & FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME == 0);
    context.data_scan = file::register_for_data_scan(instance);
    context.csv = file_system == FLT_FSTYPE_CSVFS;
    context.stable_ids = matches!(file_system, FLT_FSTYPE_NTFS | FLT_FSTYPE_REFS);
    // A volume that cannot tell whether it is direct-access counts as one.
    context.dax = file::volume_attributes(instance)
        .map_or(true, |attributes| attributes & FILE_DAX_VOLUME != 0);
    let tracked = guid.is_some_and(attach_volume);
    context.tracked.store(tracked, Ordering::Release);
    let attached = Owned::new(context).and_then(|context| context.attach(instance));
    if attached.is_err()
        && tracked
        && let Some(guid) = guid
    {
        detach_volume(guid);
    }
    match attached {
        Err(status) if status.code() != STATUS_INSUFFICIENT_RESOURCES => Err(status),
        _ => Ok(()),
    }
}

/// What we know of an instance. Where there was no memory for that when it was set up, the least
/// that can be true: nothing of the volume is kept, and its bytes are sent instead of mapped.
///
/// # Errors
/// `STATUS_INSUFFICIENT_RESOURCES`; anything else says that the instance goes away.
///
/// # IRQL
/// At most APC_LEVEL; not while the instance is being set up.
pub fn known_or_bare(instance: Instance<'_>) -> Result<Owned<InstanceContext>, Status> {
    if let Ok(context) = Owned::<InstanceContext>::of(instance) {
        return Ok(context);
    }
    let mut context = InstanceContext::new(None);
    context.unknown = true;
    context.dax = true;
    match Owned::new(context).and_then(|context| context.attach(instance)) {
        Ok(()) => trace::count(Event::VolumeUnknown),
        // Somebody else was faster.
        Err(status) if status.code() == STATUS_FLT_CONTEXT_ALREADY_DEFINED => {}
        Err(status) => return Err(status),
    }
    Owned::<InstanceContext>::of(instance)
}

/// Asks for the GUID of a volume that had none when we attached: the mount manager may name it
/// later. Asked once a second, after an open, where this thread may ask. What is known of the
/// volume begins there: while it had no key nothing of it was kept.
///
/// # IRQL
/// PASSIVE_LEVEL, in a post-create.
pub fn ask_for_guid(context: &InstanceContext, data: &Data<'_>) {
    if context.unknown || context.guid().is_some() || file::is_nested() || !file::may_query() {
        return;
    }
    if context.dying.load(Ordering::Acquire) || !context.guid_is_due() {
        return;
    }
    let guid = file::volume_guid(data.volume()).and_then(VolumeGuid::from_bytes);
    if let Some(guid) = guid
        && context.name(guid)
    {
        trace::count(Event::LateGuid);
        let tracked = attach_volume(guid);
        context.tracked.store(tracked, Ordering::Release);
    }
}

/// Every local file system; neither network, nor RAW, nor pipes and mailslots.
fn is_ours(device_type: u32, file_system: u32) -> bool {
    device_type != FILE_DEVICE_NETWORK_FILE_SYSTEM
        && !matches!(
            file_system,
            FLT_FSTYPE_RAW | FLT_FSTYPE_LANMAN | FLT_FSTYPE_MUP | FLT_FSTYPE_NPFS | FLT_FSTYPE_MSFS
        )
}

/// The hidden file system below a cluster shared volume: whatever is opened there is opened
/// through CSVFS, where we are attached.
fn is_below_cluster(volume: P, file_system: u32) -> bool {
    matches!(file_system, FLT_FSTYPE_NTFS | FLT_FSTYPE_REFS) && disk::is_cluster_shared(volume)
}

/// Lets core track the volume. False where it has no place for it.
fn attach_volume(guid: VolumeGuid) -> bool {
    let Some(ledger) = state::ledger() else {
        return false;
    };
    let attached = Raise::with(|token| ledger.attach_volume(guid, token));
    attached != ledger::Attached::Full
}

fn detach_volume(guid: VolumeGuid) {
    if let Some(ledger) = state::ledger() {
        Raise::with(|token| ledger.detach_volume(guid, token));
    }
}

/// All verdicts of the volume are void from now on.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
pub fn void_volume(context: &InstanceContext) {
    let (Some(guid), Some(ledger)) = (context.guid(), state::ledger()) else {
        return;
    };
    if Raise::with(|token| ledger.bump_volume(guid, token)) {
        trace::count(Event::VolumeEpoch);
    }
}

/// Whether own ids of the volume may show a layer's bytes. A container filter need not answer
/// our question to redirect, and redirects opens that come from no container too; so it is asked
/// for where a verdict would be kept, and not on a hit.
///
/// # IRQL
/// At most APC_LEVEL, in a callback of the volume.
#[must_use]
pub fn is_redirecting(context: &InstanceContext, volume: P) -> bool {
    if !context.state.redirecting() && redirector::is_attached(volume) {
        let _known_from_here_on = redirects(context);
    }
    context.state.redirecting()
}

/// The volume is redirected from now on: what was filed under own ids before may have been layer
/// bytes.
///
/// True for the one caller whose word it was.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn redirects(context: &InstanceContext) -> bool {
    let news = context.state.set_redirecting();
    if news {
        let volume = context.guid().map_or([0; 16], VolumeGuid::to_bytes);
        trace::redirecting(volume);
        void_volume(context);
    }
    news
}

/// The volume is dismounted: what comes to light there next time may be something else.
///
/// # IRQL
/// At most APC_LEVEL.
pub fn dismounting(instance: Instance<'_>) {
    if let Ok(context) = Owned::<InstanceContext>::of(instance) {
        void_volume(&context);
    }
}

/// No new operation comes; scans that read through the instance end, and with them their
/// references.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn teardown_start(instance: Instance<'_>) {
    if let Ok(context) = Owned::<InstanceContext>::of(instance) {
        context.dying.store(true, Ordering::Release);
        void_volume(&context);
    }
    scan::abandon(instance);
}

/// The last operation is over.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn teardown_complete(instance: Instance<'_>) {
    let Ok(context) = Owned::<InstanceContext>::of(instance) else {
        return;
    };
    transacted::instance_gone(&context);
    if context.tracked.load(Ordering::Acquire)
        && let Some(guid) = context.guid()
    {
        detach_volume(guid);
    }
}
