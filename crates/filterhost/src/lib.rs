//! Runs Windows minifilter images, as built, in a Linux process.

pub mod layout;
#[cfg(unix)]
pub mod remote;
