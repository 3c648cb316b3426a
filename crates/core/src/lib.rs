//! The decisions of siloscan: pure logic without kernel types or I/O.
