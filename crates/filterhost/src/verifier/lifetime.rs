//! Registration and unloading: what may not outlive a driver.

super::rules! {
    "Registration and unloading", "lifetime";

    UNREGISTER_TWICE = "unregister-twice": "A filter unregisters once."
        ["FltUnregisterFilter function", "fltkernel/nf-fltkernel-fltunregisterfilter"]
        off: "The second call does nothing.";
    REFUSED_LATE = "unload-refused-late":
        "An unload is refused before the filter unregisters, not after."
        ["PFLT_FILTER_UNLOAD_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_filter_unload_callback"]
        off: "The unload fails.";
    STILL_REGISTERED = "unload-still-registered":
        "An unload callback that agrees has called FltUnregisterFilter."
        ["PFLT_FILTER_UNLOAD_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_filter_unload_callback"]
        off: "The image goes, and operations meet what was its code.";
    UNLOADED_CODE = "unloaded-code": "Nothing calls a driver's code after its unload."
        ["FltUnregisterFilter function", "fltkernel/nf-fltkernel-fltunregisterfilter"]
        off: "The run ends with `access-violation`: the code is not mapped.";
    NOTIFY_LEFT = "process-notify-left":
        "A process-notify routine is removed before its driver is unloaded."
        ["PsSetCreateProcessNotifyRoutineEx function",
         "ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex"]
        off: "The next process that starts meets what was its code.";
    NOTIFY_INSIDE = "process-notify-inside":
        "No routine is added or removed from within a process-notify routine."
        ["PsSetCreateProcessNotifyRoutineEx function",
         "ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex"]
        off: "A routine is added; a removal of the running one waits for ever.";
    PROVIDER_LEFT = "etw-left": "An event provider is unregistered before its driver is unloaded."
        ["EtwRegister function", "wdm/nf-wdm-etwregister"]
        off: "The provider stays registered.";
    TEXT_LENGTH = "string-length": "A counted string's text is shorter than 64 KiB."
        ["RtlInitUnicodeString function", "wdm/nf-wdm-rtlinitunicodestring"]
        off: "The string stays as it was.";
}
