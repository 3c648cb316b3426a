//! A whole container host built from the filter host and the service: images, layers, containers,
//! the users in them, and the figures of what happened. Tests and the demo share it.

pub mod day;
pub mod events;
pub mod everywhere;
pub mod exclusions;
pub mod gate;
pub mod layer;
pub mod load;
pub mod marked;
pub mod opens;
pub mod puppet;
pub mod report;
pub mod scene;
pub mod sim;
pub mod world;
