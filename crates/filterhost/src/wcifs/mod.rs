//! The container file system filter: layers seen through one scratch volume.
//!
//! A container's files lie in layers, directories on other volumes, and in its scratch volume. An
//! open of a layer's file makes a placeholder in the scratch volume: a file with a reparse point
//! and no bytes of its own, which shows the layer's bytes until it is written. Deleting hides the
//! layer's file for ever. Filters above see neither placeholders nor reparse points, and may ask by
//! the redirection ECP where an open is served from.
//!
//! What may go wrong here on purpose: everything in [`EcpVariant`].

mod answer;
mod filter;
mod overlay;

pub use answer::EcpVariant;
pub use filter::Wcifs;
pub use overlay::{Layer, Overlay, Served, Whiteouts};

/// Where the filter sits (Microsoft's list of allocated altitudes).
pub const ALTITUDE: &str = "189900";
