//! Pageable memory at `DISPATCH_LEVEL`, where a page fault cannot be served.
//!
//! Seen in seeded runs: [`crate::paging`] takes the memory away there.

super::rules! {
    "Pageable memory", "paging";

    POOL = "paged-pool-touched": "Paged pool is not touched at DISPATCH_LEVEL."
        ["Force IRQL checking",
         "https://learn.microsoft.com/windows-hardware/drivers/devtest/force-irql-checking"]
        off: "The page is in memory this time.";
    SECTION = "paged-section-touched":
        "Code and data in pageable sections are not touched at DISPATCH_LEVEL."
        ["Detecting Code That Can Be Pageable",
         "https://learn.microsoft.com/windows-hardware/drivers/kernel/detecting-code-that-can-be-pageable"]
        off: "The page is in memory this time.";
}
