//! The siloscan driver. It builds to nothing except for a Windows target.
#![cfg(windows)]
#![no_std]
