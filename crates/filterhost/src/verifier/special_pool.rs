//! Special pool: pages that cannot be touched behind blocks and in place of freed ones.

super::rules! {
    "Special pool", "special_pool";

    FREED = "special-pool-freed": "Nothing touches a freed block."
        ["Special Pool", "https://learn.microsoft.com/windows-hardware/drivers/devtest/special-pool"]
        off: "The run ends with `access-violation`: the page is not mapped.";
    BEFORE_START = "special-pool-before-start": "Nothing touches the bytes before a block."
        ["Special Pool", "https://learn.microsoft.com/windows-hardware/drivers/devtest/special-pool"]
        off: "The run ends with `access-violation`: the page is not mapped.";
    PAST_END = "special-pool-past-end": "Nothing touches the bytes behind a block."
        ["Special Pool", "https://learn.microsoft.com/windows-hardware/drivers/devtest/special-pool"]
        off: "The run ends with `access-violation`: the page is not mapped.";
}
