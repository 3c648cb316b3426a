//! Executive resources.

super::rules! {
    "Resources", "resource";

    UNINITIALISED = "resource-uninitialised":
        "A resource is initialised before it is used, and deleted once."
        ["ExInitializeResourceLite function", "wdm/nf-wdm-exinitializeresourcelite"]
        off: "The resource counts as free.";
    INITIALISED_TWICE = "resource-initialised-twice":
        "A resource is not initialised again before it is deleted."
        ["ExInitializeResourceLite function", "wdm/nf-wdm-exinitializeresourcelite"]
        off: "The resource is free from then on.";
    APCS = "resource-apcs": "Normal kernel APCs are disabled while a resource is acquired."
        ["ExAcquireResourceExclusiveLite function", "wdm/nf-wdm-exacquireresourceexclusivelite"]
        off: "Nothing, until the thread is suspended with the resource.";
    NOT_HELD = "resource-not-held": "A resource is released by a thread that holds it."
        ["ExReleaseResourceLite function", "wdm/nf-wdm-exreleaseresourcelite"]
        off: "The release does nothing.";
    DELETED_HELD = "resource-deleted-held": "Nobody deletes a resource that is held."
        ["ExDeleteResourceLite function", "wdm/nf-wdm-exdeleteresourcelite"]
        off: "The resource is gone.";
    LEFT = "resource-left": "A resource is deleted before its memory goes."
        ["ExDeleteResourceLite function", "wdm/nf-wdm-exdeleteresourcelite"]
        off: "The kernel's list leads into memory that is somebody else's.";
}
