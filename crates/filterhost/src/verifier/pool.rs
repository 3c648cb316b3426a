//! Pool memory: tags, guards, leaks.

super::rules! {
    "Pool", "pool";

    TAG_ZERO = "pool-tag-zero": "A pool tag is not zero."
        ["ExAllocatePoolWithTag function", "wdm/nf-wdm-exallocatepoolwithtag"]
        off: "The block has the tag 0.";
    TAG = "pool-tag": "A block is freed with the tag that it was allocated with."
        ["ExFreePoolWithTag function", "wdm/nf-wdm-exfreepoolwithtag"]
        off: "The block is freed.";
    SIZE = "pool-size": "A block has at least one byte."
        ["ExAllocatePoolWithTag function", "wdm/nf-wdm-exallocatepoolwithtag"]
        off: "A block of the least size is given.";
    BAD_FREE = "pool-bad-free": "What is freed is the start of a block in use."
        ["ExFreePoolWithTag function", "wdm/nf-wdm-exfreepoolwithtag"]
        off: "Nothing is freed.";
    DOUBLE_FREE = "pool-double-free": "A block is freed once."
        ["ExFreePoolWithTag function", "wdm/nf-wdm-exfreepoolwithtag"]
        off: "Nothing is freed.";
    UNDER_RUN = "pool-under-run": "Nothing is written before a block."
        ["Special Pool", "https://learn.microsoft.com/windows-hardware/drivers/devtest/special-pool"]
        off: "The block is freed.";
    OVER_RUN = "pool-over-run": "Nothing is written behind a block."
        ["Special Pool", "https://learn.microsoft.com/windows-hardware/drivers/devtest/special-pool"]
        off: "The block is freed.";
    LATE_WRITE = "pool-use-after-free": "Nothing is written to a freed block."
        ["Special Pool", "https://learn.microsoft.com/windows-hardware/drivers/devtest/special-pool"]
        off: "Nobody looks.";
    LEAK = "pool-leak": "A driver frees its pool blocks before it is unloaded."
        ["ExFreePoolWithTag function", "wdm/nf-wdm-exfreepoolwithtag"]
        off: "The blocks are lost.";
}
