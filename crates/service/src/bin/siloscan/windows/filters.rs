//! What the Filter Manager's library tells, as bytes that [`crate::doctor::filters`] reads, and the
//! room on a disk. Not yet run on Windows.
#![expect(
    unsafe_code,
    reason = "filters and free bytes are asked for by system calls"
)]

use std::ffi::{OsStr, c_void};
use std::io;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_NO_MORE_ITEMS, HANDLE};
use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;
use windows_sys::Win32::Storage::InstallableFileSystems::{
    FilterAggregateStandardInformation, FilterFindClose, FilterFindFirst, FilterFindNext,
    FilterInstanceFindClose, FilterInstanceFindFirst, FilterInstanceFindNext,
    InstanceAggregateStandardInformation,
};

use super::wide;

/// No answer of one filter or instance is longer, in bytes.
const ANSWER_BYTES: usize = 64 << 10;
/// More filters, or instances of one, are not asked for.
const ANSWERS_MAX: usize = 4_096;

/// Aligned as the structures in it.
struct Answer(Vec<u64>);

impl Answer {
    fn new() -> Self {
        Self(vec![0; ANSWER_BYTES / size_of::<u64>()])
    }

    fn place(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }

    fn bytes(&self, length: u32) -> Vec<u8> {
        let bytes = self.0.iter().flat_map(|word| word.to_ne_bytes());
        bytes.take(length as usize).collect()
    }
}

fn error(result: i32) -> io::Error {
    // Of FACILITY_WIN32 the low word is the system's own code.
    match result.cast_unsigned() {
        code if code >> 16 == 0x8007 => io::Error::from_raw_os_error((code & 0xffff) as i32),
        code => io::Error::other(format!("0x{code:08x}")),
    }
}

fn is_end(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(ERROR_NO_MORE_ITEMS.cast_signed())
}

/// The answers of a first call and of those after it, until there are no more.
fn all(mut next: impl FnMut(&mut Answer, &mut u32) -> i32) -> io::Result<Vec<Vec<u8>>> {
    let (mut answers, mut answer) = (Vec::new(), Answer::new());
    while answers.len() < ANSWERS_MAX {
        let mut length = 0;
        let result = next(&mut answer, &mut length);
        if result < 0 {
            match error(result) {
                cause if is_end(&cause) => break,
                cause => return Err(cause),
            }
        }
        answers.push(answer.bytes(length));
    }
    Ok(answers)
}

/// All filters.
pub fn filters() -> io::Result<Vec<Vec<u8>>> {
    let mut find: HANDLE = ptr::null_mut();
    let (class, size) = (FilterAggregateStandardInformation, ANSWER_BYTES as u32);
    let answers = all(|answer, length| match find.is_null() {
        // SAFETY: the buffer has the length given, the places of length and handle are ours.
        true => unsafe { FilterFindFirst(class, answer.place(), size, length, &raw mut find) },
        // SAFETY: the search is open, the buffer has the length given.
        false => unsafe { FilterFindNext(find, class, answer.place(), size, length) },
    });
    if !find.is_null() {
        // SAFETY: the search is open, and nobody uses it any more.
        unsafe { FilterFindClose(find) };
    }
    answers
}

/// All instances of a filter.
pub fn instances(filter: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut find: HANDLE = ptr::null_mut();
    let filter = wide(OsStr::new(filter));
    let (class, size) = (InstanceAggregateStandardInformation, ANSWER_BYTES as u32);
    let answers = all(|answer, length| match find.is_null() {
        // SAFETY: the name ends in zero, the buffer has the length given, the rest is ours.
        true => unsafe {
            let name = filter.as_ptr();
            FilterInstanceFindFirst(name, class, answer.place(), size, length, &raw mut find)
        },
        // SAFETY: the search is open, the buffer has the length given.
        false => unsafe { FilterInstanceFindNext(find, class, answer.place(), size, length) },
    });
    if !find.is_null() {
        // SAFETY: the search is open, and nobody uses it any more.
        unsafe { FilterInstanceFindClose(find) };
    }
    answers
}

/// Bytes that this user can still write on the volume of a folder.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let (folder, mut free) = (wide(folder.as_os_str()), 0_u64);
    // SAFETY: the name ends in zero, the place of the number is ours, the rest may be null.
    let done = unsafe {
        GetDiskFreeSpaceExW(
            folder.as_ptr(),
            &raw mut free,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    match done {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(free),
    }
}
