//! What mingw's linker needs for Windows: among it the table of messages that the viewer of the
//! Event Log asks `siloscand.exe` for.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Numbers of messages: `event_log::ID_MAX`.
const LAST: u32 = 63;
/// Each message is the entry's first text; the second one is for programs.
const MESSAGE: &str = "%1\r\n";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("CARGO_CFG_TARGET_OS") != "windows" || variable("CARGO_CFG_TARGET_ENV") != "gnu" {
        return;
    }
    let folder = PathBuf::from(variable("OUT_DIR"));
    // `tracelogging` asks for an import library of the Windows SDK that mingw has not. Its
    // functions are advapi32's, too, which is linked anyway: an empty archive will do.
    if std::fs::write(folder.join("libOneCore_apiset.a"), b"!<arch>\n").is_ok() {
        println!("cargo:rustc-link-search=native={}", folder.display());
    }
    if let Err(cause) = resource(&folder) {
        // What is only checked is not linked, and needs no tool for it.
        println!("cargo:warning=siloscand.exe gets no table of messages: {cause}");
        return;
    }
    let object = folder.join("messages.o");
    println!("cargo:rustc-link-arg-bin=siloscand={}", object.display());
}

fn resource(folder: &Path) -> Result<(), String> {
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.join(name), bytes).map_err(|cause| format!("{name}: {cause}"))
    };
    write("messages.bin", &table())?;
    // 11 is RT_MESSAGETABLE.
    write("messages.rc", b"1 11 \"messages.bin\"\n")?;
    let mut windres = Command::new("x86_64-w64-mingw32-windres");
    windres
        .args(["messages.rc", "messages.o"])
        .current_dir(folder);
    match windres.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("windres: {status}")),
        Err(cause) => Err(format!(
            "windres: {cause}; it is in Debian's binutils-mingw-w64-x86-64"
        )),
    }
}

/// MESSAGE_RESOURCE_DATA of one block
/// (<https://learn.microsoft.com/en-us/windows/win32/api/winnt/ns-winnt-message_resource_data>).
fn table() -> Vec<u8> {
    let mut text: Vec<u8> = MESSAGE
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    text.resize(text.len().next_multiple_of(4), 0);
    let length = u16::try_from(text.len() + 4).unwrap_or(u16::MAX);
    let mut all = Vec::new();
    // One block: its first and last number, and where its entries begin.
    for word in [1, 1, LAST, 16] {
        all.extend(u32::to_le_bytes(word));
    }
    for _ in 1..=LAST {
        all.extend(length.to_le_bytes());
        // MESSAGE_RESOURCE_UNICODE
        all.extend(1_u16.to_le_bytes());
        all.extend(&text);
    }
    all
}
