//! Work items.

super::rules! {
    "Work items", "work_item";

    POINTER = "work-item-pointer": "What is handed in as a work item is one of that kind."
        ["FltFreeGenericWorkItem function", "fltkernel/nf-fltkernel-fltfreegenericworkitem"]
        off: "The call does nothing.";
    QUEUED_TWICE = "work-item-queued-twice": "A work item is queued when it is not in a queue."
        ["FltQueueGenericWorkItem function", "fltkernel/nf-fltkernel-fltqueuegenericworkitem"]
        off: "The item is queued once.";
    FREED_QUEUED = "work-item-freed-queued": "A work item is freed when it is not in a queue."
        ["FltFreeGenericWorkItem function", "fltkernel/nf-fltkernel-fltfreegenericworkitem"]
        off: "The call does nothing.";
    QUEUE = "work-queue": "The queue exists."
        ["FltQueueGenericWorkItem function", "fltkernel/nf-fltkernel-fltqueuegenericworkitem"]
        off: "The item is queued.";
    LEAK = "work-item-leak": "Work items are done and freed before the filter is gone."
        ["FltFreeGenericWorkItem function", "fltkernel/nf-fltkernel-fltfreegenericworkitem"]
        off: "The item is lost.";
}
