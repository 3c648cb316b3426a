//! File name information.

super::rules! {
    "File name information", "name";

    POINTER = "name-pointer": "What is handed in as name information is some that lives."
        ["FltReleaseFileNameInformation function",
         "fltkernel/nf-fltkernel-fltreleasefilenameinformation"]
        off: "The run ends with `crash`: freed memory is followed.";
    LEAK = "name-leak": "Each reference to name information is released."
        ["FltReleaseFileNameInformation function",
         "fltkernel/nf-fltkernel-fltreleasefilenameinformation"]
        off: "The memory is lost.";
}
