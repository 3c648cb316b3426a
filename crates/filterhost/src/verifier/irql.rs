//! Interrupt request levels: of calls, of callbacks, of what is done to memory and objects.

super::rules! {
    "Interrupt request level", "irql";

    CALL = "irql": "A function is called at a level that its page allows."
        ["Managing Hardware Priorities",
         "https://learn.microsoft.com/windows-hardware/drivers/kernel/managing-hardware-priorities"]
        off: "The function does its work at that level.";
    UNBALANCED = "irql-unbalanced": "A callback returns at the level that it was called at."
        ["IrqlReturn rule (wdm)",
         "https://learn.microsoft.com/windows-hardware/drivers/devtest/wdm-irqlreturn"]
        off: "The thread goes on at the level that it had before.";
    RAISE = "irql-raise": "Raising goes to the same or a higher level."
        ["KeRaiseIrql macro", "wdm/nf-wdm-keraiseirql"]
        off: "The level is lowered.";
    LOWER = "irql-lower": "Lowering goes to the same or a lower level."
        ["KeLowerIrql function", "wdm/nf-wdm-kelowerirql"]
        off: "The level is raised.";
    CODE = "irql-code":
        "Code that is written for DISPATCH_LEVEL, as whoever built the machine says, is run there."
        ["IRQL annotations for drivers",
         "https://learn.microsoft.com/windows-hardware/drivers/devtest/irql-annotations-for-drivers"]
        off: "The code runs, and may be preempted.";
    PAGED_POOL = "irql-paged-pool": "Paged pool is allocated and freed at APC_LEVEL or below."
        ["ExAllocatePoolWithTag function", "wdm/nf-wdm-exallocatepoolwithtag"]
        off: "The pool serves the call.";
    SET_AND_WAIT = "irql-set-and-wait": "Wait is TRUE only at APC_LEVEL or below."
        ["KeSetEvent function", "wdm/nf-wdm-kesetevent"]
        off: "The object is signaled.";
    LAST_REFERENCE = "irql-last-reference":
        "An object is deleted, and so its last reference dropped, at PASSIVE_LEVEL."
        ["ObDereferenceObjectDeferDelete function", "wdm/nf-wdm-obdereferenceobjectdeferdelete"]
        off: "The object is deleted there.";
    CONTEXT_RELEASE = "irql-context-release":
        "A context in paged pool is released at APC_LEVEL or below."
        ["FltReleaseContext function", "fltkernel/nf-fltkernel-fltreleasecontext"]
        off: "The context is released.";
    CANCELLABLE_WAIT = "irql-cancellable-wait":
        "A cancellable wait with callback data is made at PASSIVE_LEVEL."
        ["FltCancellableWaitForSingleObject function",
         "fltkernel/nf-fltkernel-fltcancellablewaitforsingleobject"]
        off: "The thread waits.";
}
