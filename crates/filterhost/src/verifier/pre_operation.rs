//! What a pre-operation callback returns and leaves in the callback data.

super::rules! {
    "Pre-operation callbacks", "pre_operation";

    UNKNOWN = "pre-status": "A pre-operation callback returns a status that exists."
        ["PFLT_PRE_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_pre_operation_callback"]
        off: "The operation goes down without a post-operation callback.";
    CONTEXT_WITHOUT_POST = "completion-context-without-post":
        "A completion context is given only where a post-operation callback is to come."
        ["Returning FLT_PREOP_SUCCESS_NO_CALLBACK",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/returning-flt-preop-success-no-callback"]
        off: "Nobody ever sees the context.";
    NO_POST = "post-not-registered":
        "A post-operation callback is asked for only where one is registered and can come."
        ["Returning FLT_PREOP_SUCCESS_WITH_CALLBACK",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/returning-flt-preop-success-with-callback"]
        off: "None is called.";
    PENDING = "pending-not-irp": "Only an IRP can be pended."
        ["PFLT_PRE_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_pre_operation_callback"]
        off: "The operation waits for its completion.";
    DISALLOW_FAST_IO = "disallow-not-fast-io": "Only fast I/O can be disallowed as such."
        ["PFLT_PRE_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_pre_operation_callback"]
        off: "The operation goes down without a post-operation callback.";
    DISALLOW_QUERY = "disallow-not-query-open":
        "FLT_PREOP_DISALLOW_FSFILTER_IO is for a query-open."
        ["PFLT_PRE_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_pre_operation_callback"]
        off: "The operation goes down without a post-operation callback.";
    COMPLETED_PENDING = "completed-with-pending": "No operation is completed with STATUS_PENDING."
        ["PFLT_PRE_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_pre_operation_callback"]
        off: "The operation ends with that status.";
    COMPLETED_DISALLOWED = "completed-with-disallow":
        "No operation is completed with STATUS_FLT_DISALLOW_FAST_IO."
        ["PFLT_PRE_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_pre_operation_callback"]
        off: "The operation ends with that status.";
    CLOSE_FAILED = "close-failed": "Cleanup and close are not failed."
        ["PFLT_PRE_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_pre_operation_callback"]
        off: "The operation ends with that status.";
    FIXED_FIELDS = "callback-data-fields":
        "A filter changes only those fields of callback data that are its to change."
        ["FLT_CALLBACK_DATA structure", "fltkernel/ns-fltkernel-_flt_callback_data"]
        off: "The change stays.";
    NOT_DIRTY = "callback-data-not-dirty":
        "Changed parameters are announced with FltSetCallbackDataDirty."
        ["FltSetCallbackDataDirty function", "fltkernel/nf-fltkernel-fltsetcallbackdatadirty"]
        off: "The change is taken as announced.";
    TARGET = "target-instance":
        "A new target instance is one of the same filter at the same altitude."
        ["FLT_IO_PARAMETER_BLOCK structure", "fltkernel/ns-fltkernel-_flt_io_parameter_block"]
        off: "The operation goes on where it was.";
    PENDED_STATUS = "pended-status":
        "A pended operation goes on with a status that its function takes."
        ["FltCompletePendedPreOperation function",
         "fltkernel/nf-fltkernel-fltcompletependedpreoperation"]
        off: "The status is judged as a pre-operation callback's.";
    COMPLETED_TWICE = "completed-twice": "A pended operation is completed once."
        ["FltCompletePendedPreOperation function",
         "fltkernel/nf-fltkernel-fltcompletependedpreoperation"]
        off: "The second call does nothing.";
    WRONG_COMPLETION = "pended-completed-otherwise":
        "A pended operation is completed by the function for its direction."
        ["FltCompletePendedPostOperation function",
         "fltkernel/nf-fltkernel-fltcompletependedpostoperation"]
        off: "It is completed.";
}
