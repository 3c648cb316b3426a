//! The scan service in user mode: engines, rules, the driver's port.
