//! A registered filter: its callbacks as it registered them, and how far its life has come.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::guest;
use crate::layout::{
    ContextAllocate, ContextCleanup, ContextFree, FLT_CONTEXT_END, FLT_CONTEXT_REGISTRATION,
    FLT_OPERATION_REGISTRATION, FLT_REGISTRATION, FilterUnload, IRP_MJ_OPERATION_END,
    InstanceQueryTeardown, InstanceSetup, InstanceTeardown, PVOID, PostOperation, PreOperation,
    SectionNotification, TransactionNotification,
};

/// One operation that a filter registered for.
#[derive(Clone, Copy)]
pub struct OperationEntry {
    /// `FLTFL_OPERATION_REGISTRATION_*`.
    pub flags: u32,
    /// Called on the way down.
    pub pre: Option<PreOperation>,
    /// Called on the way up.
    pub post: Option<PostOperation>,
}

/// One kind of context that a filter registered.
#[derive(Clone, Copy)]
pub struct ContextEntry {
    /// `FLT_*_CONTEXT`.
    pub kind: u16,
    /// `FLTFL_CONTEXT_REGISTRATION_*`.
    pub flags: u16,
    /// Fixed size, or [`crate::layout::FLT_VARIABLE_SIZED_CONTEXTS`].
    pub size: usize,
    /// Pool tag of such contexts.
    pub tag: u32,
    /// Called when the last reference goes.
    pub cleanup: Option<ContextCleanup>,
    /// The filter's own allocator.
    pub allocate: Option<ContextAllocate>,
    /// The filter's own deallocator.
    pub free: Option<ContextFree>,
}

/// The callbacks that a driver image registered.
#[derive(Clone, Default)]
pub struct Callbacks {
    /// `FLTFL_REGISTRATION_*`.
    pub flags: u32,
    /// Operations by major function.
    pub operations: BTreeMap<u8, OperationEntry>,
    /// Context kinds in the order of their registration.
    pub contexts: Vec<ContextEntry>,
    /// Asks the filter to unload; without it the filter cannot be unloaded.
    pub unload: Option<FilterUnload>,
    /// Without it the filter attaches everywhere.
    pub setup: Option<InstanceSetup>,
    /// Without it no instance can be detached by hand.
    pub query_teardown: Option<InstanceQueryTeardown>,
    /// Teardown begins.
    pub teardown_start: Option<InstanceTeardown>,
    /// Teardown is complete.
    pub teardown_complete: Option<InstanceTeardown>,
    /// A transaction changed its state.
    pub transaction: Option<TransactionNotification>,
    /// A section under scan is in somebody's way.
    pub section: Option<SectionNotification>,
}

impl Callbacks {
    /// Reads a registration record and the arrays that it names.
    pub(crate) fn read(record: &FLT_REGISTRATION) -> Self {
        Self {
            flags: record.flags,
            operations: read_operations(record.operation_registration),
            contexts: read_contexts(record.context_registration),
            unload: record.filter_unload,
            setup: record.instance_setup,
            query_teardown: record.instance_query_teardown,
            teardown_start: record.instance_teardown_start,
            teardown_complete: record.instance_teardown_complete,
            transaction: record.transaction_notification,
            section: record.section_notification,
        }
    }
}

fn read_operations(from: *const FLT_OPERATION_REGISTRATION) -> BTreeMap<u8, OperationEntry> {
    let mut operations = BTreeMap::new();
    let mut at = from;
    while let Some(entry) = guest::read(at) {
        if entry.major_function == IRP_MJ_OPERATION_END {
            break;
        }
        operations
            .entry(entry.major_function)
            .or_insert(OperationEntry {
                flags: entry.flags,
                pre: entry.pre_operation,
                post: entry.post_operation,
            });
        at = at.wrapping_add(1);
    }
    operations
}

fn read_contexts(from: *const FLT_CONTEXT_REGISTRATION) -> Vec<ContextEntry> {
    let mut contexts = Vec::new();
    let mut at = from;
    while let Some(entry) = guest::read(at) {
        if entry.context_type == FLT_CONTEXT_END {
            break;
        }
        contexts.push(ContextEntry {
            kind: entry.context_type,
            flags: entry.flags,
            size: entry.size,
            tag: entry.pool_tag,
            cleanup: entry.cleanup,
            allocate: entry.allocate,
            free: entry.free,
        });
        at = at.wrapping_add(1);
    }
    contexts
}

/// One instance that the filter's registry key defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDefinition {
    /// Its name.
    pub name: String,
    /// Where it attaches.
    pub altitude: super::altitude::Altitude,
    /// 1: not attached automatically; 2: not attached by hand.
    pub flags: u32,
}

/// How far a filter's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Registered, sees nothing yet.
    Registered,
    /// Filtering.
    Filtering,
    /// Being torn down.
    Unloading,
}

#[derive(Debug)]
pub(crate) struct Life {
    pub phase: Phase,
    /// Rundown references that callers took.
    pub references: u32,
    /// Instances whose setup is under way.
    pub setups: u32,
    /// `FLTFL_INSTANCE_TEARDOWN_*` for the unload under way; 0 outside of one.
    pub unload_flags: u32,
}

/// A filter: a driver image's, or one written in Rust.
pub struct Filter {
    id: usize,
    name: String,
    driver: usize,
    callbacks: Callbacks,
    definitions: Vec<InstanceDefinition>,
    default: Option<String>,
    pub(crate) life: Mutex<Life>,
}

impl Filter {
    pub(crate) fn new(
        id: usize,
        name: String,
        driver: usize,
        callbacks: Callbacks,
        definitions: Vec<InstanceDefinition>,
        default: Option<String>,
    ) -> Self {
        let life = Mutex::new(Life {
            phase: Phase::Registered,
            references: 0,
            setups: 0,
            unload_flags: 0,
        });
        Self {
            id,
            name,
            driver,
            callbacks,
            definitions,
            default,
            life,
        }
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

    /// Name of the service that the driver was loaded as.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address of the `DRIVER_OBJECT`; 0 for a filter written in Rust.
    #[must_use]
    pub fn driver(&self) -> usize {
        self.driver
    }

    /// What it registered.
    #[must_use]
    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// The instances that its registry key defines.
    #[must_use]
    pub fn definitions(&self) -> &[InstanceDefinition] {
        &self.definitions
    }

    /// The instance that its registry key calls the default.
    #[must_use]
    pub fn default_definition(&self) -> Option<&InstanceDefinition> {
        let name = self.default.as_deref()?;
        self.definitions
            .iter()
            .find(|definition| definition.name == name)
    }

    /// How far its life has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.life.lock().phase
    }
}
