//! System threads.

super::rules! {
    "System threads", "thread";

    EXIT = "thread-exit": "A thread ends outside of critical regions and without spin locks."
        ["PsTerminateSystemThread function", "wdm/nf-wdm-psterminatesystemthread"]
        off: "The thread ends.";
    PRIORITY = "thread-priority": "A thread's priority is 1 to 31."
        ["KeSetPriorityThread function", "wdm/nf-wdm-kesetprioritythread"]
        off: "The number is kept.";
    LEFT = "thread-left": "No system thread runs a driver's code when it is unloaded."
        ["PsCreateSystemThread function", "wdm/nf-wdm-pscreatesystemthread"]
        off: "The run ends with `unloaded-code`: the thread meets what was its code.";
}
