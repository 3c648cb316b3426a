//! What a user process can do: open, read, write, map, rename, delete, list.
//!
//! Each call builds the operations that the I/O manager would, in its order, and sends them
//! through the whole filter stack. Calls must come from a simulated thread of that process;
//! [`Process::run`] and [`Process::spawn`] see to it.

mod attributes;
pub mod cache;
mod change;
pub mod file_object;
pub mod handle;
pub mod image;
mod listing;
pub mod mdl;
pub mod open;
pub mod operation;
pub mod options;
pub mod path;
pub mod port;
pub mod process;
pub mod reparse;
pub mod section;

pub use handle::{FileHandle, FileInfo};
pub use image::{NewProcess, NotifyAt, Program, notify_at};
pub use listing::DirListing;
pub use mdl::MdlWrite;
pub use open::EcpSpec;
pub use options::OpenOptions;
pub use port::{PortHandle, PortMessage};
pub use process::{Process, Task};
pub use section::{Section, View, section_bytes};
