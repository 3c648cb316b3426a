//! What an open file's holder can change: size, attributes, names, existence.

use std::sync::Arc;

use super::handle::FileHandle;
use super::open::{CreateRequest, close_without_handle, create_file};
use super::operation::{Path, pointer};
use crate::layout::{
    FILE_DISPOSITION_DELETE, FILE_DISPOSITION_POSIX_SEMANTICS, FILE_OBJECT,
    FILE_RENAME_POSIX_SEMANTICS, FILE_RENAME_REPLACE_IF_EXISTS, FltSetInfo, IRP_MJ_SET_INFORMATION,
    SL_OPEN_TARGET_DIRECTORY,
};
use crate::object::Object;
use crate::status::{NtStatus, STATUS_NOT_SAME_DEVICE};
use crate::volume::name::units;
use crate::volume::share::{DELETE, WRITE_ATTRIBUTES, WRITE_DATA};

impl FileHandle {
    /// Sets an information class.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn set(&self, class: i32, data: &[u8]) -> Result<(), NtStatus> {
        self.set_with(class, data, None, false)
    }

    fn set_with(
        &self,
        class: i32,
        data: &[u8],
        parent: Option<&Arc<Object>>,
        replace: bool,
    ) -> Result<(), NtStatus> {
        self.need(0)?;
        let mut buffer = data.to_vec();
        let parameters = FltSetInfo {
            length: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
            _0: 0,
            class,
            _1: 0,
            parent_of_target: parent.map_or(core::ptr::null_mut(), |parent| {
                parent.pointer().cast::<FILE_OBJECT>()
            }),
            replace_if_exists: u8::from(replace),
            advance_only: 0,
            _2: [0; 6],
            info_buffer: pointer(&mut buffer),
        };
        let function = (IRP_MJ_SET_INFORMATION, 0);
        self.operation(Path::Irp, function)
            .parameters(parameters)
            .system_buffer()
            .run()?;
        Ok(())
    }

    /// Moves the end of file.
    ///
    /// # Errors
    /// `USER_MAPPED_FILE`, or what a filter answers.
    pub fn set_end_of_file(&self, length: u64) -> Result<(), NtStatus> {
        self.need(WRITE_DATA)?;
        self.set(
            crate::layout::FileEndOfFileInformation,
            &length.to_le_bytes(),
        )
    }

    /// Sets space aside; less than the size cuts the file.
    ///
    /// # Errors
    /// As [`FileHandle::set_end_of_file`].
    pub fn set_allocation(&self, bytes: u64) -> Result<(), NtStatus> {
        self.need(WRITE_DATA)?;
        self.set(
            crate::layout::FileAllocationInformation,
            &bytes.to_le_bytes(),
        )
    }

    /// Moves the valid data length.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`, or what a filter answers.
    pub fn set_valid_data_length(&self, length: u64) -> Result<(), NtStatus> {
        self.need(WRITE_DATA)?;
        self.set(
            crate::layout::FileValidDataLengthInformation,
            &length.to_le_bytes(),
        )
    }

    /// Sets attributes.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn set_attributes(&self, attributes: u32) -> Result<(), NtStatus> {
        self.need(WRITE_ATTRIBUTES)?;
        let mut data = [0; 40];
        for (to, from) in data.iter_mut().skip(32).zip(attributes.to_le_bytes()) {
            *to = from;
        }
        self.set(crate::layout::FileBasicInformation, &data)
    }

    /// Marks the file for deletion with its last handle.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn delete(&self) -> Result<(), NtStatus> {
        self.need(DELETE)?;
        self.set(crate::layout::FileDispositionInformation, &[1])
    }

    /// Takes the mark away again.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn undelete(&self) -> Result<(), NtStatus> {
        self.need(DELETE)?;
        self.set(crate::layout::FileDispositionInformation, &[0])
    }

    /// Deletes with POSIX semantics: the name goes with this handle.
    ///
    /// # Errors
    /// What filters and file system answer.
    pub fn delete_posix(&self) -> Result<(), NtStatus> {
        self.need(DELETE)?;
        let flags = FILE_DISPOSITION_DELETE | FILE_DISPOSITION_POSIX_SEMANTICS;
        self.set(
            crate::layout::FileDispositionInformationEx,
            &flags.to_le_bytes(),
        )
    }

    /// Renames.
    ///
    /// # Errors
    /// `NOT_SAME_DEVICE`, or what filters and file system answer.
    pub fn rename(&self, to: &str, replace: bool) -> Result<(), NtStatus> {
        self.need(DELETE)?;
        self.move_to(
            crate::layout::FileRenameInformation,
            u32::from(replace),
            to,
            replace,
        )
    }

    /// Renames with POSIX semantics: a target that is open goes too.
    ///
    /// # Errors
    /// As [`FileHandle::rename`].
    pub fn rename_posix(&self, to: &str) -> Result<(), NtStatus> {
        self.need(DELETE)?;
        let flags = FILE_RENAME_REPLACE_IF_EXISTS | FILE_RENAME_POSIX_SEMANTICS;
        self.move_to(crate::layout::FileRenameInformationEx, flags, to, true)
    }

    /// Gives the file another name.
    ///
    /// # Errors
    /// As [`FileHandle::rename`].
    pub fn hard_link(&self, to: &str, replace: bool) -> Result<(), NtStatus> {
        self.move_to(
            crate::layout::FileLinkInformation,
            u32::from(replace),
            to,
            replace,
        )
    }

    /// Sets the file's 8.3 name; an empty one takes it away.
    ///
    /// # Errors
    /// `OBJECT_NAME_COLLISION`, or what filters and file system answer.
    pub fn set_short_name(&self, name: &str) -> Result<(), NtStatus> {
        self.need(DELETE)?;
        let name = units(name);
        let length = u32::try_from(name.len() * 2).unwrap_or(u32::MAX);
        let mut data = length.to_le_bytes().to_vec();
        data.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
        // The structure ends with one unit of the name and padding.
        data.resize(data.len().max(8), 0);
        self.set(crate::layout::FileShortNameInformation, &data)
    }

    /// What rename and link have in common: a whole path makes the I/O manager open the target's
    /// directory first; a bare name (or `:stream`) stays where the file is.
    fn move_to(&self, class: i32, flags: u32, to: &str, replace: bool) -> Result<(), NtStatus> {
        let mut data = vec![0; 20];
        let name = units(to);
        put(&mut data, 0, &flags.to_le_bytes());
        let length = u32::try_from(name.len() * 2).unwrap_or(u32::MAX);
        put(&mut data, 16, &length.to_le_bytes());
        data.extend(name.iter().flat_map(|unit| unit.to_le_bytes()));
        // The structure ends with one unit of the name and padding.
        data.resize(data.len().max(24), 0);
        if !to.contains('\\') {
            return self.set_with(class, &data, None, replace);
        }
        let place = self.process().resolve(to)?;
        let mut request = CreateRequest::new(&place.volume, &place.name);
        request.operation_flags = SL_OPEN_TARGET_DIRECTORY;
        request.access = WRITE_DATA | crate::volume::share::SYNCHRONIZE;
        request.mode = self.mode();
        let parent = create_file(self.m(), &request)?;
        let result = if Arc::ptr_eq(&parent.volume, self.volume()) {
            self.set_with(class, &data, Some(&parent.object), replace)
        } else {
            Err(STATUS_NOT_SAME_DEVICE)
        };
        close_without_handle(self.m(), &parent);
        result
    }
}

fn put(data: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in data.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}
