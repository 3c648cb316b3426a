//! Communication ports and their messages.

super::rules! {
    "Communication ports", "port";

    SERVER = "port-pointer": "What is closed as a server port is one."
        ["FltCloseCommunicationPort function", "fltkernel/nf-fltkernel-fltclosecommunicationport"]
        off: "The call does nothing.";
    CLIENT = "client-port-pointer": "What is handed in as a client port is one that lives."
        ["FltSendMessage function", "fltkernel/nf-fltkernel-fltsendmessage"]
        off: "The call does nothing, or finds the port disconnected.";
    CLOSED_TWICE = "port-closed-twice": "A client port is closed once."
        ["FltCloseClientPort function", "fltkernel/nf-fltkernel-fltcloseclientport"]
        off: "The second call does nothing.";
    NOT_CLOSED = "port-not-closed": "A filter closes its server port before it unregisters."
        ["FltCloseCommunicationPort function", "fltkernel/nf-fltkernel-fltclosecommunicationport"]
        off: "The port is closed for it; on Windows FltUnregisterFilter waits for ever.";
    CLIENT_NOT_CLOSED = "client-port-not-closed": "A disconnect callback closes its client port."
        ["FltCloseClientPort function", "fltkernel/nf-fltkernel-fltcloseclientport"]
        off: "The port is closed for it.";
    EMPTY_MESSAGE = "message-empty": "A message has a buffer."
        ["FltSendMessage function", "fltkernel/nf-fltkernel-fltsendmessage"]
        off: "The client gets a message of no bytes.";
    OUTPUT_LENGTH = "message-output-length":
        "A message callback returns no more bytes than the client has room for."
        ["PFLT_MESSAGE_NOTIFY callback function", "fltkernel/nc-fltkernel-pflt_message_notify"]
        off: "The client gets as many as it has room for.";
    USER_ADDRESS = "user-address":
        "A client's raw buffers are not touched without a handler for exceptions."
        ["PFLT_MESSAGE_NOTIFY callback function", "fltkernel/nc-fltkernel-pflt_message_notify"]
        off: "The buffer is where it should be this time.";
}
