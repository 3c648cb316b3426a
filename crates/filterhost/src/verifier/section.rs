//! Sections for data scans.

super::rules! {
    "Sections for data scans", "section";

    LEAK = "section-leak": "A section for a data scan is closed before the filter is gone."
        ["FltCloseSectionForDataScan function",
         "fltkernel/nf-fltkernel-fltclosesectionfordatascan"]
        off: "The section keeps its file; its context is a leak of its own.";
    CONFLICT_STATUS = "section-conflict-status":
        "A section notification callback returns STATUS_SUCCESS."
        ["PFLT_SECTION_CONFLICT_NOTIFICATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_section_conflict_notification_callback"]
        off: "The status is not looked at.";
}
