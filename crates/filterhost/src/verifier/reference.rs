//! Filters, instances and volumes, and references to them.

super::rules! {
    "Filters, instances, volumes", "reference";

    FILTER = "filter-pointer": "What is handed in as a filter is one that is registered."
        ["FltUnregisterFilter function", "fltkernel/nf-fltkernel-fltunregisterfilter"]
        off: "The run ends with `crash`: something else is taken for one.";
    INSTANCE = "instance-pointer": "What is handed in as an instance is one that lives."
        ["FltGetVolumeFromInstance function", "fltkernel/nf-fltkernel-fltgetvolumefrominstance"]
        off: "The run ends with `crash`: something else is taken for one.";
    VOLUME = "volume-pointer": "What is handed in as a volume is one that lives."
        ["FltGetVolumeName function", "fltkernel/nf-fltkernel-fltgetvolumename"]
        off: "The run ends with `crash`: something else is taken for one.";
    DRIVER = "driver-pointer": "A filter registers with its driver object."
        ["FltRegisterFilter function", "fltkernel/nf-fltkernel-fltregisterfilter"]
        off: "The call fails with STATUS_INVALID_PARAMETER.";
    OBJECT = "flt-object-pointer": "What is referenced is a filter, an instance or a volume."
        ["FltObjectReference function", "fltkernel/nf-fltkernel-fltobjectreference"]
        off: "The call does nothing.";
    UNDERFLOW = "reference-underflow": "References are dropped as often as they were taken."
        ["FltObjectDereference function", "fltkernel/nf-fltkernel-fltobjectdereference"]
        off: "The call does nothing.";
    FILTER_LEAK = "filter-reference-leak": "References to a filter are dropped before it is gone."
        ["FltObjectDereference function", "fltkernel/nf-fltkernel-fltobjectdereference"]
        off: "The filter goes nevertheless; on Windows it waits for ever.";
    INSTANCE_LEAK = "reference-leak": "References to an instance are dropped before it is gone."
        ["FltObjectDereference function", "fltkernel/nf-fltkernel-fltobjectdereference"]
        off: "The filter goes nevertheless; on Windows it waits for ever.";
    VOLUME_LEAK = "volume-reference-leak":
        "References to a volume are dropped before the driver is gone."
        ["FltObjectDereference function", "fltkernel/nf-fltkernel-fltobjectdereference"]
        off: "The volume can never go away.";
}
