//! Spin locks.

super::rules! {
    "Spin locks", "spin_lock";

    RECURSIVE = "spin-lock-recursive": "A thread does not take a spin lock that it holds."
        ["KeAcquireSpinLockRaiseToDpc function", "wdm/nf-wdm-keacquirespinlockraisetodpc"]
        off: "The run ends with `crash`: the thread would spin for ever.";
    OWNER = "spin-lock-owner": "A spin lock is released by the thread that holds it."
        ["KeReleaseSpinLock function", "wdm/nf-wdm-kereleasespinlock"]
        off: "The release does nothing.";
    LEVEL = "spin-lock-level": "Functions that expect DISPATCH_LEVEL are called there."
        ["KeAcquireSpinLockAtDpcLevel function", "wdm/nf-wdm-keacquirespinlockatdpclevel"]
        off: "The lock is taken at the level that it is.";
    LOWERED = "spin-lock-irql": "The level stays at DISPATCH_LEVEL while a spin lock is held."
        ["KeAcquireSpinLock macro", "wdm/nf-wdm-keacquirespinlock"]
        off: "The level is lowered.";
    UNBALANCED = "spin-lock-unbalanced":
        "A callback returns with as many spin locks held as when it was called."
        ["KeReleaseSpinLock function", "wdm/nf-wdm-kereleasespinlock"]
        off: "The lock stays taken for ever.";
}
