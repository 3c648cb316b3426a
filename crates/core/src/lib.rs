//! The decisions of siloscan: pure logic without kernel types or I/O.
//!
//! Everything that siloscan decides or remembers is here, so that it can be run, enumerated and
//! model-checked on any machine; the driver adds only what must touch the kernel. The crate is
//! `no_std`, allocates nothing (memory is handed in once), holds no unsafe code and never panics.
//!
//! One open meets the modules in this order: [`route`] says what to do with it (from [`ecp`] and
//! the open's facts), [`ledger`] knows or does not know the verdict of a [`key`], [`flight`] makes
//! many opens share one scan, [`verdict`] turns the end of that scan into allow, deny or retry,
//! and [`reason`] counts each of these steps by name. [`trace`] lists what a session is told.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(any(test, loom))]
extern crate std;

pub mod cache;
pub mod change;
pub mod ecp;
mod epoch;
pub mod exclusion;
pub mod flight;
pub mod hash;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod operation;
pub mod reason;
pub mod route;
pub mod start;
pub mod stream;
pub mod sync;
pub mod tally;
pub mod trace;
pub mod verdict;
pub mod volume;
pub mod watch;
pub mod wire;
