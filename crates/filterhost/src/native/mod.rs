//! Small filters in Rust that a filter under test has to live beside.

mod antivirus;
mod projected;
mod reissue;

pub use antivirus::OtherAntivirus;
pub use projected::Projected;
pub use reissue::Reissue;
