//! Contexts that filters set on volumes, instances, files, streams, transactions and sections.

super::rules! {
    "Contexts", "context";

    POINTER = "context-pointer": "What is handed in as a context is one that lives."
        ["FltReleaseContext function", "fltkernel/nf-fltkernel-fltreleasecontext"]
        off: "The run ends with `crash`: freed memory is followed.";
    LEAK = "context-leak": "Each reference to a context is released before the filter is gone."
        ["FltReleaseContext function", "fltkernel/nf-fltkernel-fltreleasecontext"]
        off: "The context is lost.";
    PRE_CREATE = "context-in-pre-create": "No context is set on a file that is not open yet."
        ["FltSetStreamContext function", "fltkernel/nf-fltkernel-fltsetstreamcontext"]
        off: "The call fails with STATUS_NOT_SUPPORTED.";
    SECTION_DELETED = "section-context-deleted":
        "A section context is not deleted with FltDeleteContext."
        ["FltDeleteContext function", "fltkernel/nf-fltkernel-fltdeletecontext"]
        off: "The call does nothing.";
}
