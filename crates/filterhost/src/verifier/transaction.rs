//! Notifications of transactions.

super::rules! {
    "Transactions", "transaction";

    STATUS = "transaction-status":
        "A transaction notification callback returns STATUS_SUCCESS or STATUS_PENDING."
        ["PFLT_TRANSACTION_NOTIFICATION_CALLBACK callback function",
         "fltkernel/nc-fltkernel-pflt_transaction_notification_callback"]
        off: "The transaction goes on.";
}
