//! What a post-operation callback returns and leaves in the callback data.

super::rules! {
    "Post-operation callbacks", "post_operation";

    UNKNOWN = "post-status": "A post-operation callback returns a status that fits."
        ["PFLT_POST_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_post_operation_callback"]
        off: "The operation goes on.";
    PENDING = "post-set-pending": "A post-operation callback does not set STATUS_PENDING."
        ["PFLT_POST_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_post_operation_callback"]
        off: "The operation ends with that status.";
    MORE_PROCESSING = "more-processing-not-irp": "Only an IRP can be held up on its way back."
        ["PFLT_POST_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_post_operation_callback"]
        off: "The operation waits for its completion.";
    FAILED_OPEN = "create-failed-in-post":
        "A create that has succeeded is failed with FltCancelFileOpen."
        ["FltCancelFileOpen function", "fltkernel/nf-fltkernel-fltcancelfileopen"]
        off: "The user gets the error, and the file stays open below.";
    CANCELLED_SUCCEEDS = "create-cancelled-succeeds":
        "A create that was cancelled ends with an error."
        ["FltCancelFileOpen function", "fltkernel/nf-fltkernel-fltcancelfileopen"]
        off: "The user gets a handle to a file that is closed.";
    REVIVED = "create-revived": "A create that has failed is not turned into a success."
        ["PFLT_POST_OPERATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_post_operation_callback"]
        off: "The user gets a handle to a file that was never opened.";
    CANCEL_ELSEWHERE = "cancel-file-open":
        "FltCancelFileOpen is called in the post-create callback of its file."
        ["FltCancelFileOpen function", "fltkernel/nf-fltkernel-fltcancelfileopen"]
        off: "The call does nothing.";
    CANCEL_TWICE = "cancel-file-open-twice": "FltCancelFileOpen is called once for a create."
        ["FltCancelFileOpen function", "fltkernel/nf-fltkernel-fltcancelfileopen"]
        off: "The second call does nothing.";
    WHEN_SAFE = "when-safe-post-create":
        "FltDoCompletionProcessingWhenSafe is called for creates at PASSIVE_LEVEL."
        ["FltDoCompletionProcessingWhenSafe function",
         "fltkernel/nf-fltkernel-fltdocompletionprocessingwhensafe"]
        off: "The completion is processed.";
}
