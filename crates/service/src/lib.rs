//! The scan service in user mode: engines, rules, the driver's port.
//!
//! The driver asks, the service answers. [`service::Service`] is generic over
//! [`platform::Platform`], so the same code runs as a Windows service, as a Linux process beside a
//! filter host, and as simulated threads in a seeded world. [`engine`] looks at bytes; [`rules`]
//! turns a folder into an engine; what happened goes to an [`events::EventSink`].

pub mod at_rest;
mod configured;
#[cfg(windows)]
mod controller;
pub mod engine;
pub mod event_log;
pub mod events;
pub mod exclusions;
mod job;
mod kept;
pub mod latency;
mod memory;
pub mod metrics;
mod pieces;
pub mod platform;
pub mod policy;
pub mod proactive;
pub mod program;
pub mod remedy;
pub mod rules;
pub mod runtime;
mod scan;
pub mod scans;
pub mod service;
mod session;
pub mod settings;
pub mod stats;
pub mod warm;
pub mod why;
pub mod worker;
