//! Runs Windows minifilter images, as built, in a Linux process.

pub mod container;
pub mod coverage;
pub mod crash;
pub mod driver;
pub mod exports;
pub mod faults;
pub mod fltmgr;
pub mod image;
pub mod irql;
pub mod kernel;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod native;
pub mod object;
pub(crate) mod paging;
pub mod pool;
pub mod process;
pub mod record;
pub mod registry;
#[cfg(unix)]
pub mod remote;
pub mod scenario;
pub mod sched;
pub mod silo;
pub mod status;
pub mod user;
pub mod verifier;
pub mod volume;
pub mod wcifs;

pub use container::{Container, ContainerOptions};
pub use driver::{DriverHandle, LoadOptions};
pub use image::LoadError;
pub use machine::{Machine, MachineBuilder, Outcome, Stats};
pub use scenario::Scenario;
pub use sched::{Mode, SimThread, ThreadRef, Time};
pub use verifier::Report;
