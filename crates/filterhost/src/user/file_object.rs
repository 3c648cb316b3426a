//! File objects: what the I/O manager keeps for one open, from create to the last reference.

use std::sync::Arc;

use parking_lot::Mutex;

use super::operation::{Operation, Path};
use crate::layout::{
    FILE_OBJECT, FO_CLEANUP_COMPLETE, FO_FILE_OPEN, FO_FILE_OPEN_CANCELLED,
    IO_FOEXT_SILO_PARAMETERS, IRP_MJ_CLEANUP, IRP_MJ_CLOSE, UNICODE_STRING, Zeroed,
};
use crate::machine::Machine;
use crate::memory::{self, Block};
use crate::object::{KernelObject, Kind, Object};
use crate::volume::stack::{self, InstanceRef};
use crate::volume::{FileRef, Volume};

/// IO_TYPE_FILE.
const TYPE_FILE: i16 = 5;

/// The host's side of a file object.
pub struct FileHost {
    volume: Arc<Volume>,
    below: Option<InstanceRef>,
    /// Keeps the text of `FileName`, and of names that it had before.
    names: Mutex<Vec<Block>>,
    silo: Option<Block>,
    related: Mutex<Option<Arc<Object>>>,
}

impl FileHost {
    /// Makes a file object that is not open yet, with one reference.
    pub fn create(
        m: &Arc<Machine>,
        volume: &Arc<Volume>,
        name: &[u8],
        related: Option<&Arc<Object>>,
        below: Option<InstanceRef>,
        flags: u32,
    ) -> Arc<Object> {
        let block = Block::zeroed(name.len().max(2));
        memory::write_bytes(block.pointer(), name);
        let silo = crate::silo::of_current_thread().map(|silo| {
            let parameters = IO_FOEXT_SILO_PARAMETERS {
                length: 0x10,
                flags: 1,
                silo_context: silo.pointer(),
            };
            let block = Block::zeroed(size_of::<IO_FOEXT_SILO_PARAMETERS>());
            memory::write(block.pointer(), parameters);
            block
        });
        let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let mut fields = FILE_OBJECT::zeroed();
        fields.kind = TYPE_FILE;
        fields.size = 0xd8;
        fields.device_object = volume.device_pointer();
        fields.flags = flags;
        fields.file_name = UNICODE_STRING {
            length,
            maximum_length: length,
            buffer: block.pointer(),
        };
        if let Some(related) = related {
            fields.related_file_object = related.pointer().cast();
        }
        if let Some(silo) = &silo {
            fields.file_object_extension = silo.pointer();
        }
        let host = Self {
            volume: Arc::clone(volume),
            below,
            names: Mutex::new(vec![block]),
            silo,
            related: Mutex::new(related.cloned()),
        };
        let object = m.objects().create(Kind::File.body_size(), Arc::new(host));
        memory::write(object.pointer().cast(), fields);
        object
    }

    /// The volume that the file object was opened on.
    #[must_use]
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// The instance below which its operations start, for a filter's own opens.
    #[must_use]
    pub fn below(&self) -> Option<&InstanceRef> {
        self.below.as_ref()
    }

    /// Address of its silo parameters (`IoGetSiloParameters`), if a silo's thread opened it.
    #[must_use]
    pub fn silo_parameters(&self) -> Option<usize> {
        self.silo.as_ref().map(Block::address)
    }

    /// Replaces `FileName`, as a filter does before it answers STATUS_REPARSE.
    pub fn set_name(&self, object: &Arc<Object>, name: &[u16]) {
        let bytes: Vec<u8> = name.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let block = Block::zeroed(bytes.len().max(2));
        memory::write_bytes(block.pointer(), &bytes);
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let text = UNICODE_STRING {
            length,
            maximum_length: length,
            buffer: block.pointer(),
        };
        if let Some(file) = file_ref(object) {
            file.update(|fields| fields.file_name = text);
        }
        self.names.lock().push(block);
    }

    /// The create is over: the related file object is not looked at any more.
    pub(super) fn create_is_over(&self, object: &Arc<Object>) {
        self.related.lock().take();
        if let Some(file) = file_ref(object) {
            file.update(|fields| fields.related_file_object = core::ptr::null_mut());
        }
    }

    fn send(&self, m: &Arc<Machine>, object: &Arc<Object>, major: u8) {
        let below = self.below.clone();
        let operation = Operation::new(m, &self.volume, below, Path::Irp, (major, 0), object);
        // Cleanup and close cannot fail: there is nobody to tell.
        let _status = operation.send();
    }
}

impl KernelObject for FileHost {
    fn kind(&self) -> Kind {
        Kind::File
    }

    fn handle_closed(&self, m: &Arc<Machine>, object: &Arc<Object>, last_of_all: bool) {
        let open = file_ref(object)
            .is_some_and(|file| file.has(FO_FILE_OPEN) && !file.has(FO_CLEANUP_COMPLETE));
        if last_of_all && open && !is_cancelled(object) {
            self.send(m, object, IRP_MJ_CLEANUP);
        }
    }

    fn deleted(&self, m: &Arc<Machine>, object: &Arc<Object>) {
        let open = file_ref(object).is_some_and(|file| file.has(FO_FILE_OPEN));
        if open && !is_cancelled(object) {
            self.send(m, object, IRP_MJ_CLOSE);
        }
        stack::file_object_gone(m, object);
    }
}

/// The fields of a file object.
#[must_use]
pub fn file_ref(object: &Arc<Object>) -> Option<FileRef> {
    FileRef::new(object.pointer().cast())
}

fn is_cancelled(object: &Arc<Object>) -> bool {
    file_ref(object).is_some_and(|file| file.has(FO_FILE_OPEN_CANCELLED))
}
