//! Kernel objects and references to them.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::crash;
use crate::image::Image;
use crate::machine::{self, Machine};

super::rules! {
    "Kernel objects", "object";

    FREED = "object-use-after-free": "An object is used only while it lives."
        ["ObfReferenceObject function", "wdm/nf-wdm-obfreferenceobject"]
        off: "The run ends with `crash`: freed memory is followed.";
    POINTER = "object-pointer": "What is handed in as an object is one."
        ["ObfReferenceObject function", "wdm/nf-wdm-obfreferenceobject"]
        off: "The run ends with `crash`: something else is taken for an object.";
    TYPE = "object-type": "What is handed in as a thread, process or silo is one."
        ["PsGetProcessId function", "ntddk/nf-ntddk-psgetprocessid"]
        off: "The run ends with `crash`: something else is taken for one.";
    OVER_DEREFERENCE = "object-over-dereference":
        "References are dropped as often as they were taken."
        ["ObfDereferenceObject function", "wdm/nf-wdm-obdereferenceobject"]
        off: "The call does nothing.";
    REFERENCE_LEAK = "object-reference-leak":
        "A driver drops the references to file objects, threads and processes that it took."
        ["ObfDereferenceObject function", "wdm/nf-wdm-obdereferenceobject"]
        off: "The object stays for ever.";
    HANDLE_LEAK = "handle-leak": "A driver closes the kernel handles that it opened."
        ["ZwClose function", "wdm/nf-wdm-zwclose"]
        off: "The handle stays open.";
}

/// References that drivers took: for each object the code that did, newest last.
#[derive(Default)]
pub(crate) struct Taken {
    by_object: Mutex<BTreeMap<usize, Vec<Vec<usize>>>>,
}

/// Kernel handles that drivers opened.
#[derive(Default)]
pub(crate) struct KernelHandles {
    pub taken: Taken,
}

impl Taken {
    /// The driver's call that is being served takes a reference.
    pub(crate) fn took(&self, m: &Machine, object: usize) {
        let code = crash::addresses(m, &machine::current_thread());
        self.by_object.lock().entry(object).or_default().push(code);
    }

    /// A reference is dropped: the newest, as far as that can be told.
    pub(crate) fn dropped(&self, object: usize) {
        let mut by_object = self.by_object.lock();
        if let Some(taken) = by_object.get_mut(&object) {
            taken.pop();
            if taken.is_empty() {
                by_object.remove(&object);
            }
        }
    }

    /// References that code of an image took and nobody dropped.
    pub(crate) fn left_by(&self, image: &Image) -> Vec<(usize, Vec<usize>)> {
        let own = |code: &&Vec<usize>| code.first().is_some_and(|at| image.contains(*at));
        let by_object = self.by_object.lock();
        let left = by_object.iter().flat_map(|(object, taken)| {
            taken.iter().filter(own).map(|code| (*object, code.clone()))
        });
        left.collect()
    }
}
