//! Draining: an instance goes away while operations are still below it.

super::rules! {
    "Draining", "draining";

    STATUS = "draining-status": "A draining post-operation callback finishes its processing."
        ["PFLT_POST_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_post_operation_callback"]
        off: "The status is not looked at.";
    DATA = "draining-data": "No parameters are looked for in callback data that is a copy."
        ["PFLT_POST_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_post_operation_callback"]
        off: "The copy has none.";
    WHEN_SAFE = "draining-when-safe":
        "A draining callback does not ask for completion processing when it is safe."
        ["FltDoCompletionProcessingWhenSafe function",
         "fltkernel/nf-fltkernel-fltdocompletionprocessingwhensafe"]
        off: "The completion is processed.";
    IGNORED = "draining-ignored":
        "A draining callback frees what its pre-operation callback left for it."
        ["Performing Completion Processing for an I/O Operation",
         "https://learn.microsoft.com/windows-hardware/drivers/ifs/performing-completion-processing-for-an-i-o-operation"]
        off: "The memory is lost.";
}
