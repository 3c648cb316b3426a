//! An instance: one filter at one altitude on one volume, from setup to teardown.

use std::sync::Arc;

use parking_lot::Mutex;

use super::altitude::Altitude;
use super::dispatch::Node;
use super::filter::{self, Filter, InstanceDefinition};
use super::native::NativeFilter;
use super::volume::AttachedVolume;
use super::{FilterManager, Opaque, call, context, transaction};
use crate::layout::{
    FILE_DEVICE_NETWORK_FILE_SYSTEM, FLT_FSTYPE_MSFS, FLT_FSTYPE_NPFS,
    FLTFL_REGISTRATION_SUPPORT_DAX_VOLUME, FLTFL_REGISTRATION_SUPPORT_NPFS_MSFS, PVOID,
};
use crate::machine::Machine;
use crate::status::{
    NtStatus, STATUS_FLT_DELETING_OBJECT, STATUS_FLT_DO_NOT_ATTACH,
    STATUS_FLT_INSTANCE_ALTITUDE_COLLISION,
};
use crate::verifier;

mod functions;

pub use functions::{EXPORTS, attach_by_hand, detach_by_hand};

/// How other parts of the host hold an instance.
pub type InstanceRef = Arc<Instance>;

/// How far an instance's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its setup callback runs.
    Setup,
    /// It sees operations.
    Attached,
    /// Teardown has begun: no new operation reaches it.
    Draining,
    /// Teardown is complete.
    Gone,
}

pub(crate) struct Life {
    pub phase: Phase,
    /// Callbacks that run now.
    pub running: u32,
    /// Operations that it pended, and I/O that it started itself.
    pub held: u32,
    /// Rundown references that callers took.
    pub references: u32,
    /// `FltRegisterForDataScan` was called.
    pub data_scan: bool,
    /// Operations that await its post-operation callback.
    pub waiting: Vec<Arc<Node>>,
}

/// One filter at one altitude on one volume.
pub struct Instance {
    id: usize,
    filter: Arc<Filter>,
    volume: Arc<AttachedVolume>,
    name: String,
    altitude: Altitude,
    native: Option<Arc<dyn NativeFilter>>,
    pub(crate) life: Mutex<Life>,
}

impl Instance {
    fn new(
        id: usize,
        filter: Arc<Filter>,
        volume: &Arc<AttachedVolume>,
        name: String,
        altitude: Altitude,
        native: Option<Arc<dyn NativeFilter>>,
    ) -> Arc<Self> {
        let phase = if native.is_some() {
            Phase::Attached
        } else {
            Phase::Setup
        };
        let life = Mutex::new(Life {
            phase,
            running: 0,
            held: 0,
            references: 0,
            data_scan: false,
            waiting: Vec::new(),
        });
        Arc::new(Self {
            id,
            filter,
            volume: volume.clone(),
            name,
            altitude,
            native,
            life,
        })
    }

    pub(crate) fn native(
        id: usize,
        filter: Arc<Filter>,
        volume: &Arc<AttachedVolume>,
        name: String,
        altitude: Altitude,
        native: Arc<dyn NativeFilter>,
    ) -> Arc<Self> {
        Self::new(id, filter, volume, name, altitude, Some(native))
    }

    /// The opaque address.
    #[must_use]
    pub fn id(&self) -> usize {
        self.id
    }

    /// The opaque address as drivers hold it.
    #[must_use]
    pub fn pointer(&self) -> PVOID {
        super::opaque(self.id)
    }

    /// Its filter.
    #[must_use]
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// Its volume.
    #[must_use]
    pub fn volume(&self) -> &Arc<AttachedVolume> {
        &self.volume
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it sits.
    #[must_use]
    pub fn altitude(&self) -> &Altitude {
        &self.altitude
    }

    /// The filter's code when it is written in Rust.
    #[must_use]
    pub fn native_filter(&self) -> Option<&Arc<dyn NativeFilter>> {
        self.native.as_ref()
    }

    /// How far its life has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.life.lock().phase
    }

    /// True from the start of its teardown on.
    #[must_use]
    pub fn is_going(&self) -> bool {
        matches!(self.phase(), Phase::Draining | Phase::Gone)
    }

    /// Counts a callback in; false when the instance takes no new operations.
    pub(crate) fn enter(&self) -> bool {
        let mut life = self.life.lock();
        if life.phase != Phase::Attached {
            return false;
        }
        life.running += 1;
        true
    }

    /// Counts a callback out.
    pub(crate) fn leave(&self, m: &Machine) {
        let mut life = self.life.lock();
        life.running -= 1;
        // Only a teardown waits for this, and it has left this phase before it waits. In free runs
        // waking every waiting thread after each callback would be most of what an open takes;
        // in seeded ones it is a chance for another thread to be chosen.
        let awaited = life.phase != Phase::Attached || m.sched().is_seeded();
        drop(life);
        if awaited {
            m.sched().notify();
        }
    }

    /// Holds back the end of its teardown: an operation is pended, or I/O of its own runs.
    pub(crate) fn hold(&self) {
        self.life.lock().held += 1;
    }

    /// Undoes [`Instance::hold`].
    pub(crate) fn release_hold(&self, m: &Machine) {
        self.life.lock().held -= 1;
        m.sched().notify();
    }
}

/// Offers a volume to a filter: each definition that attaches automatically gets its instance.
pub(crate) fn attach_automatic(
    m: &Arc<Machine>,
    filter: &Arc<Filter>,
    volume: &Arc<AttachedVolume>,
    flags: u32,
) {
    for definition in filter.definitions() {
        if definition.flags & 1 == 0 {
            // A refusal is the filter's right; the volume goes on without it.
            drop(attach(m, filter, volume, definition, flags));
        }
    }
}

/// Whether the registration's flags allow this volume at all.
fn is_eligible(filter: &Filter, volume: &AttachedVolume) -> bool {
    let flags = filter.callbacks().flags;
    let kind = volume.volume().kind().filesystem_type();
    if kind == FLT_FSTYPE_NPFS || kind == FLT_FSTYPE_MSFS {
        return flags & FLTFL_REGISTRATION_SUPPORT_NPFS_MSFS != 0;
    }
    !volume.volume().is_dax() || flags & FLTFL_REGISTRATION_SUPPORT_DAX_VOLUME != 0
}

/// Makes an instance and runs its setup callback.
///
/// # Errors
/// `STATUS_FLT_DELETING_OBJECT` while the filter unregisters, what the callback refused with, or
/// a collision of altitudes.
pub(crate) fn attach(
    m: &Arc<Machine>,
    filter: &Arc<Filter>,
    volume: &Arc<AttachedVolume>,
    definition: &InstanceDefinition,
    flags: u32,
) -> Result<InstanceRef, NtStatus> {
    if !is_eligible(filter, volume) {
        return Err(STATUS_FLT_DO_NOT_ATTACH);
    }
    {
        let mut life = filter.life.lock();
        if life.phase != filter::Phase::Filtering {
            return Err(STATUS_FLT_DELETING_OBJECT);
        }
        // Unregistering waits for this one, and then finds the instance on the volume.
        life.setups += 1;
    }
    let made = make(m, filter, volume, definition, flags);
    filter.life.lock().setups -= 1;
    m.sched().notify();
    made
}

fn make(
    m: &Arc<Machine>,
    filter: &Arc<Filter>,
    volume: &Arc<AttachedVolume>,
    definition: &InstanceDefinition,
    flags: u32,
) -> Result<InstanceRef, NtStatus> {
    let manager = FilterManager::of(m);
    let taken = volume
        .stack()
        .iter()
        .any(|other| other.altitude() == &definition.altitude);
    if taken {
        return Err(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    let instance = Instance::new(
        manager.next_id(),
        filter.clone(),
        volume,
        definition.name.clone(),
        definition.altitude.clone(),
        None,
    );
    manager.insert(instance.id(), Opaque::Instance(instance.clone()));
    let status = run_setup(&instance, flags);
    if !status.is_success() {
        abandon(m, &instance);
        return Err(status);
    }
    // The instance takes operations from the moment that it is in the stack.
    instance.life.lock().phase = Phase::Attached;
    if !volume.add(&instance) {
        abandon(m, &instance);
        return Err(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    Ok(instance)
}

fn run_setup(instance: &Arc<Instance>, flags: u32) -> NtStatus {
    let Some(callback) = instance.filter().callbacks().setup else {
        return NtStatus(0);
    };
    let volume = instance.volume().volume();
    let objects = call::objects(instance);
    let device_type = volume_device_type(volume.kind().device_type());
    call::setup(
        callback,
        &objects,
        flags,
        device_type,
        volume.kind().filesystem_type(),
    )
}

/// The type of a volume's file system device, from that of its storage.
fn volume_device_type(storage: u32) -> u32 {
    match storage {
        crate::layout::FILE_DEVICE_CD_ROM => crate::layout::FILE_DEVICE_CD_ROM_FILE_SYSTEM,
        FILE_DEVICE_NETWORK_FILE_SYSTEM => FILE_DEVICE_NETWORK_FILE_SYSTEM,
        _ => crate::layout::FILE_DEVICE_DISK_FILE_SYSTEM,
    }
}

fn abandon(m: &Arc<Machine>, instance: &Arc<Instance>) {
    instance.life.lock().phase = Phase::Gone;
    instance.volume().gone(instance);
    context::instance_gone(m, instance);
    retire(m, instance);
}

/// Tears an instance down for the reason in `flags` (`FLTFL_INSTANCE_TEARDOWN_*`). False when
/// somebody else does or did.
///
/// The order is that of the documentation: no new operations, the start callback, post callbacks
/// of operations in flight with the draining flag, the complete callback, contexts.
pub fn teardown(m: &Arc<Machine>, instance: &InstanceRef, flags: u32) -> bool {
    {
        let mut life = instance.life.lock();
        if life.phase != Phase::Attached {
            return false;
        }
        life.phase = Phase::Draining;
    }
    instance.volume().remove(instance);
    let objects = call::objects(instance);
    let callbacks = instance.filter().callbacks();
    if let Some(callback) = callbacks.teardown_start {
        call::teardown(
            "instance teardown start callback",
            callback,
            &objects,
            flags,
        );
    }
    drain(m, instance);
    if let Some(callback) = callbacks.teardown_complete {
        call::teardown(
            "instance teardown complete callback",
            callback,
            &objects,
            flags,
        );
    }
    instance.life.lock().phase = Phase::Gone;
    instance.volume().gone(instance);
    transaction::instance_gone(m, instance);
    context::instance_gone(m, instance);
    retire(m, instance);
    m.sched().notify();
    true
}

/// Calls post callbacks with the draining flag until nothing of the instance is in flight.
fn drain(m: &Arc<Machine>, instance: &InstanceRef) {
    loop {
        let waiting = std::mem::take(&mut instance.life.lock().waiting);
        for node in &waiting {
            super::dispatch::drain(m, node);
        }
        let quiet = || {
            let life = instance.life.lock();
            if !life.waiting.is_empty() {
                return Some(false);
            }
            (life.running == 0 && life.held == 0).then_some(true)
        };
        if m.sched()
            .wait_until("operations of an instance", None, quiet)
            == Ok(true)
        {
            return;
        }
    }
}

/// Forgets an instance that is gone, once nobody holds a rundown reference.
pub(crate) fn retire(m: &Arc<Machine>, instance: &Instance) {
    let life = instance.life.lock();
    let over = life.phase == Phase::Gone && life.references == 0;
    drop(life);
    if over {
        FilterManager::of(m).remove(instance.id());
        m.sched().notify();
    }
}

/// Forgets a dismounted volume, once nobody holds a rundown reference.
pub(crate) fn retire_volume(m: &Arc<Machine>, volume: &AttachedVolume) {
    if volume.is_dismounted() && volume.state.lock().references == 0 {
        FilterManager::of(m).remove(volume.id());
        m.sched().notify();
    }
}

/// The instance at an address that a driver gave.
pub(crate) fn expect(m: &Machine, function: &str, address: PVOID) -> InstanceRef {
    FilterManager::of(m).instance(address).unwrap_or_else(|| {
        let detail = format!("{function}: {address:p} is no instance (or it is gone)");
        verifier::fatal(&verifier::reference::INSTANCE, detail)
    })
}
