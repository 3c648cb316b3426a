//! Volumes that Debian's tools make, and the reparse points of `wcifs`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{WORD, run, text};

/// A folder in which a volume is made.
pub struct Bench(tempfile::TempDir);

impl Bench {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An empty volume of `bytes` bytes.
    pub fn volume(&self, bytes: u64) -> PathBuf {
        let path = self.path("volume");
        let file = File::create(&path).expect("a file");
        file.set_len(bytes).expect("its size");
        let geometry = ["-s", "512", "-p", "0", "-H", "255", "-S", "63"];
        let mut arguments = vec!["-F", "-Q", "-q", "-c", "4096"];
        arguments.extend(geometry);
        arguments.push(text(&path));
        run("mkntfs", "ntfs-3g", &arguments);
        path
    }

    /// Writes `bytes` into the volume, `options` before them.
    pub fn put(&self, volume: &Path, options: &[&str], name: &str, bytes: &[u8]) {
        let from = self.path("from");
        fs::write(&from, bytes).expect("a file");
        let mut arguments = vec!["-q"];
        arguments.extend(options);
        arguments.extend([text(volume), text(&from), name]);
        run("ntfscp", "ntfs-3g", &arguments);
    }

    /// The raw disk at `path` as a VHDX.
    pub fn vhdx(&self, path: &Path) -> PathBuf {
        let to = self.path("disk.vhdx");
        let arguments = ["convert", "-f", "raw", "-O", "vhdx", text(path), text(&to)];
        run("qemu-img", "qemu-utils", &arguments);
        to
    }

    /// A volume with an infected file of each kind.
    pub fn filled(&self) -> PathBuf {
        let volume = self.volume(16 << 20);
        self.put(&volume, &[], "small.txt", WORD);
        let mut large = vec![b'x'; 3 << 20];
        large.extend_from_slice(WORD);
        self.put(&volume, &[], "large.bin", &large);
        self.put(&volume, &[], "clean.txt", b"clean");
        self.put(&volume, &["-N", "stream"], "clean.txt", WORD);
        self.put(&volume, &[], "$Extend/below.txt", WORD);
        volume
    }
}

/// The GUID of a layer, as a volume has its bytes.
pub const GUID: [u8; 16] = [
    0x77, 0xf6, 0x64, 0x82, 0xb0, 0x40, 0xa5, 0x4c, 0xbf, 0x9a, 0x94, 0x4a, 0xc2, 0xda, 0x80, 0x87,
];
/// The same as people write it.
pub const GUID_TEXT: &str = "8264f677-40b0-4ca5-bf9a-944ac2da8087";

/// A reparse point: the tag, the length, and the data.
pub fn raw(tag: u32, data: &[u8]) -> Vec<u8> {
    let mut all = tag.to_le_bytes().to_vec();
    all.extend((data.len() as u16).to_le_bytes());
    all.extend([0, 0]);
    all.extend(data);
    all
}

/// The data of `wcifs` in its version 1.
pub fn data(layer: [u8; 16], name: &[u8]) -> Vec<u8> {
    let mut data = vec![1, 0, 0, 0, 0, 0, 0, 0];
    data.extend(layer);
    data.extend((name.len() as u16).to_le_bytes());
    data.extend(name);
    data
}

/// A name in UTF-16.
pub fn utf16(name: &str) -> Vec<u8> {
    name.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A placeholder's reparse point.
pub fn point(tag: u32, layer: [u8; 16], name: &str) -> Vec<u8> {
    raw(tag, &data(layer, &utf16(name)))
}
