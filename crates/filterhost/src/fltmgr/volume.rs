//! A volume as the Filter Manager knows it: the stack of instances on it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::filter::{Filter, Phase};
use super::instance::{self, Instance};
use super::{FilterManager, Opaque};
use crate::layout::{
    FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT, FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME,
    FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT, IRP_MJ_VOLUME_DISMOUNT, PVOID,
};
use crate::machine::{self, Machine};
use crate::user::operation::{Operation, Path};
use crate::verifier;
use crate::volume::Volume;

mod functions;

pub use functions::EXPORTS;
pub(crate) use functions::give_list;

/// A mounted volume and the instances on it.
pub struct AttachedVolume {
    id: usize,
    volume: Arc<Volume>,
    pub(crate) state: Mutex<VolumeState>,
}

#[derive(Default)]
pub(crate) struct VolumeState {
    dismounted: bool,
    /// From the highest altitude to the lowest.
    stack: Vec<Arc<Instance>>,
    /// Instances whose teardown has begun and is not complete.
    going: Vec<Arc<Instance>>,
    /// Filters that were asked already.
    considered: BTreeSet<usize>,
    /// Generation of filters up to which all were asked.
    asked: u64,
    /// The thread that asks filters now.
    setting_up: Option<u32>,
    /// Rundown references that callers took.
    pub references: u32,
    /// It is a snapshot of another volume.
    snapshot: bool,
}

impl AttachedVolume {
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

    /// The volume itself.
    #[must_use]
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// True once it was dismounted.
    #[must_use]
    pub fn is_dismounted(&self) -> bool {
        self.state.lock().dismounted
    }

    /// True when it is a snapshot of another volume.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.state.lock().snapshot
    }

    /// Makes it a snapshot of another volume, or takes that back.
    pub fn set_snapshot(&self, snapshot: bool) {
        self.state.lock().snapshot = snapshot;
    }

    /// The instances from the highest altitude to the lowest.
    #[must_use]
    pub fn stack(&self) -> Vec<Arc<Instance>> {
        self.state.lock().stack.clone()
    }

    /// The instances below `instance`, or all of them.
    #[must_use]
    pub fn stack_below(&self, instance: Option<&Arc<Instance>>) -> Vec<Arc<Instance>> {
        let state = self.state.lock();
        let below = |other: &&Arc<Instance>| {
            instance.is_none_or(|instance| other.altitude() < instance.altitude())
        };
        state.stack.iter().filter(below).cloned().collect()
    }

    /// Adds an instance at its altitude; false when another one is there.
    pub(crate) fn add(&self, instance: &Arc<Instance>) -> bool {
        let mut state = self.state.lock();
        let place = state
            .stack
            .binary_search_by(|other| instance.altitude().cmp(other.altitude()));
        match place {
            Ok(_) => false,
            Err(at) => {
                state.stack.insert(at, instance.clone());
                true
            }
        }
    }

    /// The instances whose teardown has begun and is not complete.
    #[must_use]
    pub fn going(&self) -> Vec<Arc<Instance>> {
        self.state.lock().going.clone()
    }

    /// Takes an instance out of the way of operations as its teardown begins.
    pub(crate) fn remove(&self, instance: &Arc<Instance>) {
        let mut state = self.state.lock();
        state.stack.retain(|other| other.id() != instance.id());
        state.going.push(instance.clone());
    }

    /// The teardown of an instance is complete.
    pub(crate) fn gone(&self, instance: &Instance) {
        let mut state = self.state.lock();
        state.going.retain(|other| other.id() != instance.id());
    }

    /// Lets filters be asked again: one of them has gone.
    pub(crate) fn forget(&self, filter: &Filter) {
        self.state.lock().considered.remove(&filter.id());
    }

    /// True when all filters of this generation were asked and none is being asked.
    fn is_up_to_date(&self, generation: u64) -> bool {
        let state = self.state.lock();
        state.asked == generation && state.setting_up.is_none()
    }

    /// The next filter to ask; `Err(true)` when another thread asks now.
    fn next_job(
        &self,
        filters: &[Arc<Filter>],
        me: u32,
        generation: u64,
    ) -> Result<Arc<Filter>, bool> {
        let mut state = self.state.lock();
        if state.dismounted || state.setting_up == Some(me) {
            return Err(false);
        }
        if state.setting_up.is_some() {
            return Err(true);
        }
        let wanted = |filter: &&Arc<Filter>| {
            filter.driver() != 0
                && filter.phase() == Phase::Filtering
                && !state.considered.contains(&filter.id())
        };
        let Some(filter) = filters.iter().find(wanted).cloned() else {
            state.asked = generation;
            return Err(false);
        };
        state.considered.insert(filter.id());
        state.setting_up = Some(me);
        Ok(filter)
    }
}

/// The Filter Manager's side of a volume, made when first asked for.
pub fn attached(m: &Arc<Machine>, volume: &Arc<Volume>) -> Arc<AttachedVolume> {
    let manager = FilterManager::of(m);
    let mut state = manager.state.lock();
    let known = state.by_volume.get(&volume.number());
    if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.volume, volume)) {
        return known.clone();
    }
    let id = super::next_id(&mut state);
    let new = Arc::new(AttachedVolume {
        id,
        volume: volume.clone(),
        state: Mutex::default(),
    });
    state.live.insert(id, Opaque::Volume(new.clone()));
    state.by_volume.insert(volume.number(), new.clone());
    new
}

/// Asks each filter that was not asked yet whether it attaches. Runs at the first operation on
/// a volume and when a filter starts filtering.
pub(crate) fn set_up(m: &Arc<Machine>, volume: &Arc<AttachedVolume>, newly_mounted: bool) {
    let me = machine::current_thread().id();
    let mut flags = FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT;
    if newly_mounted {
        flags |= FLTFL_INSTANCE_SETUP_NEWLY_MOUNTED_VOLUME;
    }
    let manager = FilterManager::of(m);
    loop {
        let generation = manager.generation();
        if volume.is_up_to_date(generation) {
            return;
        }
        match volume.next_job(&manager.filters(), me, generation) {
            Ok(filter) => {
                instance::attach_automatic(m, &filter, volume, flags);
                volume.state.lock().setting_up = None;
                m.sched().notify();
            }
            Err(true) => {
                let idle = || volume.state.lock().setting_up.is_none().then_some(());
                let waited = m
                    .sched()
                    .wait_until("instance setup on a volume", None, idle);
                debug_assert!(waited.is_ok(), "a wait without deadline cannot time out");
            }
            Err(false) => return,
        }
    }
}

/// Tells the Filter Manager that a volume was mounted, so that it is known before its first
/// operation. Instances are set up at the first operation, as on Windows.
pub fn mounted(m: &Arc<Machine>, volume: &Arc<Volume>) -> Arc<AttachedVolume> {
    attached(m, volume)
}

/// Tears down all instances of a volume that goes away.
pub fn dismounted(m: &Arc<Machine>, volume: &Arc<Volume>) {
    let attached = attached(m, volume);
    {
        let mut state = attached.state.lock();
        if state.dismounted {
            return;
        }
        state.dismounted = true;
    }
    volume.fs().set_dismounted();
    if volume.tells_dismount() {
        let function = (IRP_MJ_VOLUME_DISMOUNT, 0);
        let none = core::ptr::null_mut();
        // No filter can keep the volume, and it has no status to give.
        let _status = Operation::on_file(m, volume, None, Path::FsFilter, function, none).send();
    }
    for instance in attached.stack() {
        instance::teardown(m, &instance, FLTFL_INSTANCE_TEARDOWN_VOLUME_DISMOUNT);
    }
    super::context::volume_gone(m, &attached);
    super::instance::retire_volume(m, &attached);
}

/// The volume at an address that a driver gave. An address that is none is a violation.
pub(crate) fn expect(m: &Machine, function: &str, address: PVOID) -> Arc<AttachedVolume> {
    FilterManager::of(m).volume(address).unwrap_or_else(|| {
        let detail = format!("{function}: {address:p} is no volume (or it is gone)");
        verifier::fatal(&verifier::reference::VOLUME, detail)
    })
}
