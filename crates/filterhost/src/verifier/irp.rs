//! Requests to devices that a driver builds itself.

super::rules! {
    "Device requests", "irp";

    DEVICE = "device-pointer": "What is handed in as a device object is one."
        ["IoBuildDeviceIoControlRequest function", "wdm/nf-wdm-iobuilddeviceiocontrolrequest"]
        off: "The run ends with `crash`: something else is taken for one.";
    BUFFER = "irp-buffer": "A buffer's length is 0 where there is no buffer."
        ["IoBuildDeviceIoControlRequest function", "wdm/nf-wdm-iobuilddeviceiocontrolrequest"]
        off: "The request is built without a buffer.";
    STATUS_BLOCK = "irp-status-block": "A request has a status block to be completed into."
        ["IoBuildDeviceIoControlRequest function", "wdm/nf-wdm-iobuilddeviceiocontrolrequest"]
        off: "Nothing is told of its completion.";
    POINTER = "irp-pointer": "A request is sent once, and only one that was built."
        ["IofCallDriver function", "wdm/nf-wdm-iofcalldriver"]
        off: "The run ends with `crash`: freed memory is followed.";
    OTHER_DEVICE = "irp-other-device": "A request is sent to the device that it was built for."
        ["IofCallDriver function", "wdm/nf-wdm-iofcalldriver"]
        off: "The device that it was built for answers.";
    LEAK = "irp-leak": "A request that was built is sent."
        ["IoBuildDeviceIoControlRequest function", "wdm/nf-wdm-iobuilddeviceiocontrolrequest"]
        off: "The memory is lost.";
}
