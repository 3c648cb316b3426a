//! Push locks.

super::rules! {
    "Push locks", "push_lock";

    UNINITIALISED = "push-lock-uninitialised": "A push lock is initialised before it is used."
        ["FltInitializePushLock function", "fltkernel/nf-fltkernel-fltinitializepushlock"]
        off: "The lock counts as free.";
    INITIALISED_HELD = "push-lock-initialised-held": "Nobody initialises a push lock that is held."
        ["FltAcquirePushLockExclusive function",
         "fltkernel/nf-fltkernel-fltacquirepushlockexclusive"]
        off: "The lock is free from then on.";
    DELETED_HELD = "push-lock-deleted-held": "Nobody deletes a push lock that is held."
        ["FltAcquirePushLockExclusive function",
         "fltkernel/nf-fltkernel-fltacquirepushlockexclusive"]
        off: "The lock is gone.";
    RECURSIVE = "push-lock-recursive": "A thread does not take a push lock that it holds."
        ["FltAcquirePushLockExclusive function",
         "fltkernel/nf-fltkernel-fltacquirepushlockexclusive"]
        off: "The run ends with `crash`: the thread would wait for itself.";
    NOT_HELD = "push-lock-not-held": "A push lock is released by a thread that holds it."
        ["FltReleasePushLock function", "fltkernel/nf-fltkernel-fltreleasepushlock"]
        off: "The release does nothing.";
    LEFT = "push-lock-left": "No push lock of a driver is held when it is unloaded."
        ["FltAcquirePushLockExclusive function",
         "fltkernel/nf-fltkernel-fltacquirepushlockexclusive"]
        off: "The lock goes with its memory.";
}
