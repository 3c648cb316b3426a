//! Executive resources: locks that one thread holds alone or several share, recursively.
//!
//! Holders are kept beside the driver's memory: where a resource was initialised is known, so that
//! one which was not, or whose memory goes while the kernel still lists it, is noticed.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::crash;
use crate::exports;
use crate::exports::Call;
use crate::image::{Image, Images};
use crate::machine::Machine;
use crate::memory;
use crate::status::{NTSTATUS, STATUS_SUCCESS};
use crate::verifier::{self, lock_order, resource};

/// `sizeof(ERESOURCE)` on 64-bit Windows.
const SIZE: usize = 0x68;

/// Who holds a resource, and how often.
#[derive(Debug, Default)]
struct Holders {
    exclusive: Option<(u32, u32)>,
    shared: BTreeMap<u32, u32>,
    /// The code that initialised it.
    stack: Vec<usize>,
}

impl Holders {
    fn is_held(&self) -> bool {
        self.exclusive.is_some() || !self.shared.is_empty()
    }

    /// Takes it for a thread, if that can be done at once.
    fn take(&mut self, thread: u32, exclusive: bool) -> bool {
        match &mut self.exclusive {
            Some((owner, count)) if *owner == thread => {
                *count += 1;
                return true;
            }
            Some(_) => return false,
            None => {}
        }
        if !exclusive {
            *self.shared.entry(thread).or_insert(0) += 1;
            return true;
        }
        if self.shared.is_empty() {
            self.exclusive = Some((thread, 1));
        }
        self.exclusive.is_some()
    }

    /// Gives it up once; false if the thread does not hold it, else whether it still does.
    fn give(&mut self, thread: u32) -> Option<bool> {
        if let Some((owner, count)) = &mut self.exclusive {
            if *owner != thread {
                return None;
            }
            *count -= 1;
            let still = *count > 0;
            if !still {
                self.exclusive = None;
            }
            return Some(still);
        }
        let count = self.shared.get_mut(&thread)?;
        *count -= 1;
        let still = *count > 0;
        if !still {
            self.shared.remove(&thread);
        }
        Some(still)
    }
}

/// The resources of a machine, by their addresses.
#[derive(Default)]
struct Resources {
    known: Mutex<BTreeMap<usize, Holders>>,
}

fn initialise(c: &Call<'_>, at: *mut u8) {
    memory::fill(at, 0, SIZE);
    let stack = crash::addresses(c.m, c.thread);
    let fresh = Holders {
        stack,
        ..Holders::default()
    };
    lock_order::forget(c.m, at.addr(), SIZE);
    let resources = c.m.state::<Resources>();
    let old = resources.known.lock().insert(at.addr(), fresh);
    if old.is_some() {
        c.violation(
            &resource::INITIALISED_TWICE,
            "it was initialised and not deleted",
        );
    }
}

fn with<R>(c: &Call<'_>, at: usize, body: impl FnOnce(&mut Holders) -> R) -> R {
    let resources = c.m.state::<Resources>();
    let known = resources.known.lock().contains_key(&at);
    if !known {
        let detail = format!("the resource at {at:#x} was not initialised");
        c.violation(&resource::UNINITIALISED, detail);
    }
    body(resources.known.lock().entry(at).or_default())
}

fn acquire(c: &Call<'_>, at: usize, exclusive: bool, wait: bool) -> u8 {
    if !c.thread.holds_apcs_off() {
        c.violation(&resource::APCS, "normal kernel APCs are not disabled");
    }
    let me = c.thread.id();
    if with(c, at, |holders| holders.take(me, exclusive)) {
        lock_order::taken(c.m, c.thread, at);
        return 1;
    }
    if !wait {
        return 0;
    }
    lock_order::taken(c.m, c.thread, at);
    let take = || with(c, at, |holders| holders.take(me, exclusive).then_some(()));
    let taken = c.m.sched().wait_until("a resource", None, take);
    debug_assert!(taken.is_ok(), "a wait without deadline cannot time out");
    1
}

fn release(c: &Call<'_>, at: usize) {
    let me = c.thread.id();
    if with(c, at, |holders| holders.give(me)).is_none() {
        return c.violation(
            &resource::NOT_HELD,
            "the thread does not hold this resource",
        );
    }
    lock_order::released(c.m, c.thread, at);
    c.m.sched().notify();
}

/// Notes that memory goes; a resource in it stays in the kernel's list.
pub(crate) fn memory_gone(m: &Machine, start: usize, size: usize) {
    let resources = m.state::<Resources>();
    let end = start.saturating_add(size);
    let found: Vec<_> = {
        let mut known = resources.known.lock();
        let inside: Vec<usize> = known.range(start..end).map(|(at, _)| *at).collect();
        inside.iter().filter_map(|at| known.remove(at)).collect()
    };
    if let Some(first) = found.first() {
        let stack = m.state::<Images>().describe(&first.stack);
        let detail = format!("{} resources were not deleted; initialised at", found.len());
        verifier::violation_at(&resource::LEFT, detail, stack);
    }
}

/// The same for the memory of an image that goes.
pub(crate) fn image_gone(m: &Machine, image: &Image) {
    memory_gone(m, image.base(), image.size());
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Makes a resource that nobody holds.
    [DISPATCH, 0, "wdm/nf-wdm-exinitializeresourcelite"]
    fn ExInitializeResourceLite(c, resource: *mut u8) -> NTSTATUS {
        initialise(c, resource);
        STATUS_SUCCESS
    }

    /// Takes a resource out of the kernel's list; its memory may go then.
    [DISPATCH, 0, "wdm/nf-wdm-exdeleteresourcelite"]
    fn ExDeleteResourceLite(c, resource: *mut u8) -> NTSTATUS {
        let resources = c.m.state::<Resources>();
        let old = resources.known.lock().remove(&resource.addr());
        match old {
            None => {
                let detail = "the resource was not initialised, or is deleted already";
                c.violation(&resource::UNINITIALISED, detail);
            }
            Some(old) if old.is_held() => {
                c.violation(&resource::DELETED_HELD, "deleted while it is held");
            }
            Some(_) => {}
        }
        STATUS_SUCCESS
    }

    /// Takes it alone; 0 where that cannot be done at once and the caller will not wait.
    [APC, 0, "wdm/nf-wdm-exacquireresourceexclusivelite"]
    fn ExAcquireResourceExclusiveLite(c, resource: *mut u8, wait: u8) -> u8 {
        acquire(c, resource.addr(), true, wait != 0)
    }

    /// Takes it together with others; 0 where that cannot be done at once and the caller will not
    /// wait.
    [APC, 0, "ntddk/nf-ntddk-exacquireresourcesharedlite"]
    fn ExAcquireResourceSharedLite(c, resource: *mut u8, wait: u8) -> u8 {
        acquire(c, resource.addr(), false, wait != 0)
    }

    /// Gives it up once.
    [DISPATCH, 0, "wdm/nf-wdm-exreleaseresourcelite"]
    fn ExReleaseResourceLite(c, resource: *mut u8) {
        release(c, resource.addr());
    }
}

/// The Filter Manager's: they disable normal kernel APCs themselves.
pub mod flt {
    use super::{acquire, release};
    use crate::exports;

    exports! {
        EXPORTS = "fltmgr.sys";

        /// Takes a resource alone.
        [APC, 0, "fltkernel/nf-fltkernel-fltacquireresourceexclusive"]
        fn FltAcquireResourceExclusive(c, resource: *mut u8) {
            c.thread.add_critical_region(1);
            acquire(c, resource.addr(), true, true);
        }

        /// Takes a resource together with others.
        [APC, 0, "fltkernel/nf-fltkernel-fltacquireresourceshared"]
        fn FltAcquireResourceShared(c, resource: *mut u8) {
            c.thread.add_critical_region(1);
            acquire(c, resource.addr(), false, true);
        }

        /// Gives a resource up.
        [APC, 0, "fltkernel/nf-fltkernel-fltreleaseresource"]
        fn FltReleaseResource(c, resource: *mut u8) {
            release(c, resource.addr());
            c.thread.add_critical_region(-1);
        }
    }
}
