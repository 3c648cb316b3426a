//! Files on Windows, by their keys: what one is called now, and how an infected one is deleted. Not
//! yet run on Windows.
#![expect(
    unsafe_code,
    reason = "files are opened by id and named by system calls on raw handles"
)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{AsRawHandle, FromRawHandle};
use std::ptr;

use siloscan_core::key::Key;
use windows_sys::Win32::Foundation::{
    ERROR_DELETE_PENDING, ERROR_FILE_NOT_FOUND, ERROR_INVALID_PARAMETER, ERROR_PATH_NOT_FOUND,
    ERROR_SHARING_VIOLATION, ERROR_USER_MAPPED_FILE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, ExtendedFileIdType, FILE_DISPOSITION_INFO, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_NO_RECALL, FILE_FLAG_OPEN_REPARSE_POINT, FILE_ID_128, FILE_ID_DESCRIPTOR,
    FILE_ID_DESCRIPTOR_0, FILE_READ_ATTRIBUTES, FILE_READ_DATA, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, FileDispositionInfo, GetFinalPathNameByHandleW, OpenFileById, SYNCHRONIZE,
    SetFileInformationByHandle, VOLUME_NAME_GUID,
};

use super::RemoveError;
use super::remove::compare;
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
    name_of(&open_by_id(key, FILE_READ_ATTRIBUTES, SHARE_ALL)?)
}

/// Deletes the file of a key, if it still has exactly these bytes.
pub(super) fn remove_file(key: &Key, content: &[u8]) -> Result<(), RemoveError> {
    let access = FILE_READ_DATA | DELETE | SYNCHRONIZE;
    let file =
        open_by_id(key, access, FILE_SHARE_READ | FILE_SHARE_DELETE).map_err(remove_error)?;
    compare(content, |offset, length| {
        let mut part = vec![0; length];
        let read = file.seek_read(&mut part, offset).map_err(remove_error)?;
        part.truncate(read);
        Ok(part)
    })?;
    let gone = FILE_DISPOSITION_INFO { DeleteFile: true };
    // SAFETY: the file is open with the right to delete, the structure is whole and of this size.
    let marked = unsafe {
        SetFileInformationByHandle(
            file.as_raw_handle(),
            FileDispositionInfo,
            (&raw const gone).cast(),
            size_of::<FILE_DISPOSITION_INFO>() as u32,
        )
    };
    if marked == 0 {
        return Err(remove_error(io::Error::last_os_error()));
    }
    Ok(())
}

fn remove_error(cause: io::Error) -> RemoveError {
    match cause.raw_os_error().map(i32::cast_unsigned) {
        // By an id that no file has NTFS opens nothing, with "invalid parameter".
        Some(
            ERROR_FILE_NOT_FOUND
            | ERROR_PATH_NOT_FOUND
            | ERROR_INVALID_PARAMETER
            | ERROR_DELETE_PENDING,
        ) => RemoveError::Gone,
        Some(ERROR_SHARING_VIOLATION | ERROR_USER_MAPPED_FILE) => RemoveError::InUse,
        _ => RemoveError::Failed(cause.to_string()),
    }
}

fn open_by_id(key: &Key, access: u32, share: u32) -> io::Result<File> {
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
            access,
            share,
            ptr::null(),
            FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_OPEN_NO_RECALL,
        )
    };
    if file == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was made a moment ago and belongs to nobody else.
    Ok(unsafe { File::from_raw_handle(file) })
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
