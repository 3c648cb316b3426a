//! What a minifilter's service key says: its instances, their altitudes, its load order group.
//!
//! Judged when the filter registers, from the registry as it is then. What an INF writes is linted
//! by `crates/inf`; a driver or an installer may have written something else.

super::rules! {
    "Service key", "registry";

    NO_INSTANCE = "registry-instances":
        "A filter's service key defines an instance where this build of Windows looks for it."
        ["FltRegisterFilter function", "fltkernel/nf-fltkernel-fltregisterfilter"]
        off: "The call fails with STATUS_OBJECT_NAME_NOT_FOUND.";
    ALTITUDE = "registry-altitude": "An instance's Altitude is a string, and a decimal number."
        ["Load order groups and altitudes for minifilter drivers",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/load-order-groups-and-altitudes-for-minifilter-drivers"]
        off: "The instance does not count.";
    FLAGS = "registry-flags": "An instance's Flags are a number, and none but the lowest two bits."
        ["Creating an INF file for a minifilter driver",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/creating-an-inf-file-for-a-minifilter-driver"]
        off: "The other bits do nothing; flags that are missing are 0.";
    DEFAULT = "registry-default": "DefaultInstance names one of the instances."
        ["Creating an INF file for a minifilter driver",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/creating-an-inf-file-for-a-minifilter-driver"]
        off: "The filter has no default instance.";
    TAKEN = "altitude-taken": "No two instances of the filters that are loaded have one altitude."
        ["Load order groups and altitudes for minifilter drivers",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/load-order-groups-and-altitudes-for-minifilter-drivers"]
        off: "The later one is not attached to a volume where the other one is.";
    GROUP = "load-order-group": "A service's Group, if it has one, is one of the documented groups."
        ["Load order groups and altitudes for minifilter drivers",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/load-order-groups-and-altitudes-for-minifilter-drivers"]
        off: "Nothing; on Windows the driver is loaded after those of the groups.";
    RANGE = "altitude-range": "An instance's altitude lies in the range of its service's Group."
        ["Load order groups and altitudes for minifilter drivers",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/load-order-groups-and-altitudes-for-minifilter-drivers"]
        off: "The instance is attached where its altitude says.";
    KIND = "service-type":
        "A minifilter's service, where its Type is given, is a file system driver (2)."
        ["Creating an INF file for a minifilter driver",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/creating-an-inf-file-for-a-minifilter-driver"]
        off: "Nothing.";
    DEPENDENCY = "service-dependency":
        "A minifilter's service, where its DependOnService is given, depends on FltMgr."
        ["Creating an INF file for a minifilter driver",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/creating-an-inf-file-for-a-minifilter-driver"]
        off: "Nothing; on Windows the filter manager may not be there yet.";
}
