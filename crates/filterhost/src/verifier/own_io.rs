//! I/O that a filter issues itself.

super::rules! {
    "A filter's own I/O", "own_io";

    FILE = "io-file": "Own I/O goes to a file that is open."
        ["FltReadFile function", "fltkernel/nf-fltkernel-fltreadfile"]
        off: "The run ends with `crash`: a null pointer is followed.";
    CANCELLED = "io-cancelled-file": "Own I/O does not go to a file whose open was cancelled."
        ["FltCancelFileOpen function", "fltkernel/nf-fltkernel-fltcancelfileopen"]
        off: "The file system answers.";
    APCS = "io-apcs-disabled": "Own I/O is done with special kernel APCs enabled."
        ["FltReadFile function", "fltkernel/nf-fltkernel-fltreadfile"]
        off: "The request is sent.";
    LOCK = "io-push-lock": "Own I/O is done with no push lock held."
        ["FltAcquirePushLockExclusive function",
         "fltkernel/nf-fltkernel-fltacquirepushlockexclusive"]
        off: "The request is sent.";
    UNALIGNED = "unaligned-io": "Noncached I/O is aligned to sectors."
        ["FltReadFile function", "fltkernel/nf-fltkernel-fltreadfile"]
        off: "The request is sent.";
}
