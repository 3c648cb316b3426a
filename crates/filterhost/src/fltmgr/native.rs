//! Filters written in Rust that sit in the same stacks as driver images.

use std::any::Any;
use std::sync::Arc;

use super::altitude::Altitude;
use super::filter::{Callbacks, Filter, Phase};
use super::instance::{Instance, InstanceRef};
use super::{FilterManager, Opaque};
use crate::layout::FLT_CALLBACK_DATA;
use crate::machine::Machine;
use crate::volume::Volume;

/// What a native filter wants after its pre-operation call.
pub enum Pre {
    /// Go on; no post-operation call.
    NoCallback,
    /// Go on; pass this to the post-operation call.
    WithCallback(Box<dyn Any + Send>),
    /// Done: the status block holds the result, nobody below sees the operation.
    Complete,
}

/// A filter in Rust. Calls come on the thread of the operation, with no host lock held.
pub trait NativeFilter: Send + Sync {
    /// Where it sits.
    fn altitude(&self) -> &str;

    /// Its name, for reports and enumeration.
    fn name(&self) -> &str;

    /// An operation goes down.
    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre;

    /// An operation for which [`Pre::WithCallback`] was returned comes back.
    fn post(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA, context: Box<dyn Any + Send>) {
        let _ = (m, data, context);
    }
}

/// Attaches a native filter to a volume.
///
/// # Panics
/// When its altitude is no decimal number.
pub fn attach(
    m: &Arc<Machine>,
    volume: &Arc<Volume>,
    filter: Arc<dyn NativeFilter>,
) -> InstanceRef {
    let manager = FilterManager::of(m);
    let altitude = Altitude::parse(filter.altitude()).expect("a native filter's altitude");
    let name = filter.name().to_owned();
    let id = manager.next_id();
    let registered = Arc::new(Filter::new(
        id,
        name.clone(),
        0,
        Callbacks::default(),
        Vec::new(),
        None,
    ));
    registered.life.lock().phase = Phase::Filtering;
    manager.insert(id, Opaque::Filter(registered.clone()));
    let attached = super::volume::attached(m, volume);
    let instance = Instance::native(
        manager.next_id(),
        registered,
        &attached,
        name,
        altitude,
        filter,
    );
    manager.insert(instance.id(), Opaque::Instance(instance.clone()));
    attached.add(&instance);
    instance
}

/// Detaches a native filter's instance. Operations that are past it finish without its post call.
pub fn detach(m: &Arc<Machine>, instance: &InstanceRef) {
    super::instance::teardown(m, instance, 0);
    FilterManager::of(m).remove(instance.filter().id());
}
