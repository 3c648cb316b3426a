//! Names of files and folders on Windows, from the volume on: what a key is called now. Not yet run
//! on Windows.
#![expect(
    unsafe_code,
    reason = "files are opened by id and named by system calls on raw handles"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::ptr;

use siloscan_core::key::Key;
use windows_sys::Win32::Foundation::INVALID_HANDLE_VALUE;
use windows_sys::Win32::Storage::FileSystem::{
    ExtendedFileIdType, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_NO_RECALL,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_ID_128, FILE_ID_DESCRIPTOR, FILE_ID_DESCRIPTOR_0,
    FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
    GetFinalPathNameByHandleW, OpenFileById, VOLUME_NAME_GUID,
};

use crate::job::guid_text;

/// No path of the system is longer.
const NAME_UNITS: usize = 32_768;
const SHARE_ALL: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// The name of a folder. Links on the way to it are followed, now and not again.
pub(super) fn name_of_folder(folder: &str) -> io::Result<String> {
    let opened = attributes_of(folder)?;
    if !opened.metadata()?.is_dir() {
        return Err(io::Error::other("it is no folder"));
    }
    name_of(&opened)
}

/// The name of a key's file: one that the file system chooses, where it has several.
pub(super) fn name_of_file(key: &Key) -> io::Result<String> {
    let guid = guid_text(&key.volume.to_bytes()).unwrap_or_default();
    let volume = attributes_of(&format!(r"\\?\Volume{{{guid}}}\"))?;
    let id = FILE_ID_DESCRIPTOR {
        dwSize: size_of::<FILE_ID_DESCRIPTOR>() as u32,
        Type: ExtendedFileIdType,
        Anonymous: FILE_ID_DESCRIPTOR_0 {
            ExtendedFileId: FILE_ID_128 {
                Identifier: key.file.to_bytes(),
            },
        },
    };
    // SAFETY: the volume is open, the descriptor is whole and of the size that it names.
    let file = unsafe {
        OpenFileById(
            volume.as_raw_handle(),
            &raw const id,
            FILE_READ_ATTRIBUTES,
            SHARE_ALL,
            ptr::null(),
            FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_OPEN_NO_RECALL,
        )
    };
    if file == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made a moment ago and belongs to nobody else.
    let file = unsafe { File::from_raw_handle(file) };
    name_of(&file)
}

/// Opens a folder for its attributes, which disturbs nobody.
fn attributes_of(folder: &str) -> io::Result<File> {
    OpenOptions::new()
        .access_mode(FILE_READ_ATTRIBUTES)
        .share_mode(SHARE_ALL)
        .custom_flags(FILE_FLAG_BACKUP_SEMANTICS)
        .open(folder)
}

/// The name of an open file, as it is written on the volume.
fn name_of(file: &File) -> io::Result<String> {
    let mut name = vec![0_u16; NAME_UNITS];
    // SAFETY: the file is open, the buffer has the length given.
    let units = unsafe {
        GetFinalPathNameByHandleW(
            file.as_raw_handle(),
            name.as_mut_ptr(),
            NAME_UNITS as u32,
            VOLUME_NAME_GUID,
        )
    };
    match name.get(..units as usize) {
        Some(name) if units != 0 => {
            String::from_utf16(name).map_err(|_| io::Error::other("its name is no text"))
        }
        _ => Err(io::Error::last_os_error()),
    }
}
