//! siloscand: the scan service as a program.

fn main() {}
