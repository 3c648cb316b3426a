//! Runs Windows minifilter images, as built, in a Linux process.

pub mod layout;
