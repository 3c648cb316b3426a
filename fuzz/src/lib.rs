//! What each target of the fuzzer does with its bytes; those of `cache` and `ledger` are histories,
//! which the worlds of core's own tests play.

#[cfg(feature = "host")]
mod host;
mod image;
// The reader of images alone: the whole filter host takes minutes to build with instrumentation.
#[path = "../../crates/filterhost/src/image/parse.rs"]
pub mod parse;
mod targets;

#[cfg(feature = "host")]
pub use host::scenario;
pub use image::image;
pub use targets::{configuration, ecp, inf, parameters, reply};
