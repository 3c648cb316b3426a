//! Builds the driver here; demo, tests, benches, package.
fn main() {}
