//! Waits: where, for what, and with what held.

super::rules! {
    "Waits", "wait";

    IRQL = "wait-irql": "A wait that can block is made at APC_LEVEL or below."
        ["KeWaitForSingleObject function", "wdm/nf-wdm-kewaitforsingleobject"]
        off: "The thread waits.";
    COUNT = "wait-count": "A wait is for at least one object and at most 64."
        ["KeWaitForMultipleObjects function", "wdm/nf-wdm-kewaitformultipleobjects"]
        off: "The thread waits for them.";
    BLOCKS = "wait-blocks": "A wait for more than three objects brings its wait blocks."
        ["KeWaitForMultipleObjects function", "wdm/nf-wdm-kewaitformultipleobjects"]
        off: "The thread waits for them.";
    OBJECT = "wait-object": "What is signaled or waited for is a dispatcher object."
        ["KeWaitForSingleObject function", "wdm/nf-wdm-kewaitforsingleobject"]
        off: "The words there are taken for an object's.";
    FREED = "wait-freed": "What is signaled or waited for was not freed."
        ["KeWaitForSingleObject function", "wdm/nf-wdm-kewaitforsingleobject"]
        off: "The run ends with `crash`: freed memory is followed.";
    APCS = "wait-apcs-disabled": "A cancellable wait is made with special kernel APCs enabled."
        ["FltCancellableWaitForSingleObject function",
         "fltkernel/nf-fltkernel-fltcancellablewaitforsingleobject"]
        off: "The thread waits.";
}
