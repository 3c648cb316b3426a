//! Critical and guarded regions.

super::rules! {
    "Critical and guarded regions", "region";

    CRITICAL = "critical-region": "A critical region is left only by who entered it."
        ["KeLeaveCriticalRegion function", "ntddk/nf-ntddk-keleavecriticalregion"]
        off: "The leave does nothing.";
    GUARDED = "guarded-region": "A guarded region is left only by who entered it."
        ["KeLeaveGuardedRegion function", "wdm/nf-wdm-keleaveguardedregion"]
        off: "The leave does nothing.";
    UNBALANCED = "callback-unbalanced":
        "A callback returns in as many critical and guarded regions as it was called in."
        ["KeEnterCriticalRegion function", "ntddk/nf-ntddk-keentercriticalregion"]
        off: "The depths are set back.";
}
