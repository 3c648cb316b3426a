//! On Windows, lets wdk-build set the linker up as for any WDK driver. Elsewhere nothing: there
//! `cargo xtask build` shapes the headers, calls the compiler and links (docs/hacking.md).

#[cfg(windows)]
fn main() -> Result<(), wdk_build::ConfigError> {
    wdk_build::configure_wdk_binary_build()
}

#[cfg(not(windows))]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
