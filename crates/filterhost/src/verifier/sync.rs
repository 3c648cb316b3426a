//! Events, semaphores, mutexes and rundown protection.

super::rules! {
    "Events, semaphores, mutexes, rundown", "sync";

    EVENT_TYPE = "event-type": "An event is a notification event or a synchronization event."
        ["KeInitializeEvent function", "wdm/nf-wdm-keinitializeevent"]
        off: "A synchronization event is made.";
    SEMAPHORE_COUNT = "semaphore-count":
        "A semaphore begins with a count from 0 to its limit."
        ["KeInitializeSemaphore function", "wdm/nf-wdm-keinitializesemaphore"]
        off: "The semaphore is made so.";
    SEMAPHORE_LIMIT = "semaphore-limit": "A release keeps a semaphore within its limit."
        ["KeReleaseSemaphore function", "wdm/nf-wdm-kereleasesemaphore"]
        off: "The run ends with `crash`: nobody handles the exception.";
    MUTEX_OWNER = "mutex-owner": "A mutex is released by the thread that holds it."
        ["KeReleaseMutex function", "wdm/nf-wdm-kereleasemutex"]
        off: "The run ends with `crash`: nobody handles the exception.";
    RUNDOWN = "rundown-underflow": "Rundown protection is released as often as it was acquired."
        ["ExReleaseRundownProtection function", "wdm/nf-wdm-exreleaserundownprotection"]
        off: "The release does nothing.";
    RUNDOWN_REUSED = "rundown-reused": "Rundown protection is made usable again after its rundown."
        ["ExReInitializeRundownProtection function",
         "wdm/nf-wdm-exreinitializerundownprotection"]
        off: "The references are forgotten.";
}
