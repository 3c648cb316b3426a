//! From callback data to the operation and back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::MemFs;
use super::control::Control;
use super::create::CreateParams;
use super::directory::{ListQuery, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY};
use super::io::IoMode;
use super::open::{Open, OpenKind, lock_owner};
use super::outcome::{Done, Outcome, Stop};
use super::set::{Destination, word};
use crate::layout::{
    FILE_NO_INTERMEDIATE_BUFFERING, FO_CACHE_SUPPORTED, FO_CLEANUP_COMPLETE, FO_DELETE_ON_CLOSE,
    FO_FILE_OPEN, FO_NO_INTERMEDIATE_BUFFERING, FO_SYNCHRONOUS_IO, FO_VOLUME_OPEN,
    FSCTL_DUPLICATE_EXTENTS_TO_FILE, FltCreate, IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION,
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_DIRECTORY_CONTROL,
    IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_LOCK_CONTROL,
    IRP_MJ_MDL_WRITE_COMPLETE, IRP_MJ_PREPARE_MDL_WRITE, IRP_MJ_QUERY_INFORMATION,
    IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION,
    IRP_MJ_SET_INFORMATION, IRP_MJ_VOLUME_DISMOUNT, IRP_MJ_WRITE, IRP_MN_QUERY_DIRECTORY,
    IRP_NOCACHE, IRP_PAGING_IO, PVOID,
};
use crate::machine::Machine;
use crate::memory;
use crate::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_CANCELLED, STATUS_FILE_CLOSED,
    STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_PARAMETER, STATUS_MEDIA_WRITE_PROTECTED,
    STATUS_REPARSE, STATUS_USER_MAPPED_FILE, STATUS_VOLUME_DISMOUNTED,
};
use crate::volume::request::{FileRef, Request, copy_in, copy_out, string_units};
use crate::volume::stream::Stream;
use crate::volume::{Volume, stack};

/// How long a change of size waits for a scan to let go of its section, once told.
const CONFLICT_WAIT: Duration = Duration::from_secs(5);
/// Offset that means: at the end of file.
const WRITE_TO_END_OF_FILE: i64 = -1;
/// Offset that means: at the file object's own position.
const USE_FILE_POINTER: i64 = -2;

impl MemFs {
    /// Carries out one operation for `volume` and sets its status.
    pub(crate) fn dispatch(&self, m: &Arc<Machine>, volume: &Volume, request: Request) -> NtStatus {
        let mut told = false;
        loop {
            let result = self.attempt(m, volume, request);
            let (status, information) = match result {
                Ok(done) => (done.status, done.information),
                Err(Stop::Failed(status)) => (status, 0),
                Err(Stop::Reparse { reparse, unparsed }) => {
                    stack::attach_reparse(m, request, &reparse, unparsed);
                    let tag = usize::try_from(reparse.tag).unwrap_or(0);
                    (STATUS_REPARSE, tag)
                }
                Err(Stop::Oplock(stream)) if wait_for_oplock(m, &stream) => continue,
                Err(Stop::Oplock(_)) => (STATUS_CANCELLED, 0),
                Err(Stop::Conflict(stream)) if stream.scb().sections.through > 0 => {
                    (STATUS_USER_MAPPED_FILE, 0)
                }
                Err(Stop::Conflict(stream)) if told => {
                    if wait_for_scan(m, &stream) {
                        continue;
                    }
                    (STATUS_USER_MAPPED_FILE, 0)
                }
                Err(Stop::Conflict(stream)) => {
                    stack::section_conflict(m, &stream, request.raw());
                    told = true;
                    continue;
                }
            };
            return request.finish(status, information);
        }
    }

    fn attempt(&self, m: &Arc<Machine>, volume: &Volume, request: Request) -> Outcome<()> {
        let iopb = request.iopb();
        if iopb.major_function == IRP_MJ_VOLUME_DISMOUNT {
            return Ok(Done::new((), 0));
        }
        let file = request.file()?;
        if iopb.major_function == IRP_MJ_CREATE {
            return self.perform_create(m, volume, request, file);
        }
        let open = self.open_of(file).ok_or(STATUS_FILE_CLOSED)?;
        let ending = matches!(iopb.major_function, IRP_MJ_CLEANUP | IRP_MJ_CLOSE);
        if self.is_dismounted() && !ending {
            return Err(STATUS_VOLUME_DISMOUNTED.into());
        }
        if matches!(
            iopb.major_function,
            IRP_MJ_WRITE | IRP_MJ_SET_INFORMATION | IRP_MJ_FILE_SYSTEM_CONTROL
        ) {
            self.check_active(&open)?;
        }
        let now = m.sched().system_time();
        match iopb.major_function {
            IRP_MJ_READ => self.perform_read(m, request, file, &open),
            IRP_MJ_WRITE => self.perform_write(m, request, file, &open, now),
            IRP_MJ_SET_INFORMATION => self.perform_set(request, file, &open, now),
            IRP_MJ_QUERY_INFORMATION => {
                let asked = request.query_info();
                let room = usize::try_from(asked.length).unwrap_or(0);
                let position = file.get().current_byte_offset;
                deliver(
                    self.query(&open, asked.class, room, position)?,
                    asked.buffer,
                )
            }
            IRP_MJ_QUERY_VOLUME_INFORMATION => {
                let asked = request.query_info();
                let room = usize::try_from(asked.length).unwrap_or(0);
                deliver(self.query_volume(asked.class, room)?, asked.buffer)
            }
            IRP_MJ_DIRECTORY_CONTROL => self.perform_list(request, &open),
            IRP_MJ_FILE_SYSTEM_CONTROL => self.perform_control(m, request, file, &open, now),
            IRP_MJ_LOCK_CONTROL => self.perform_lock(m, request, file, &open),
            IRP_MJ_FLUSH_BUFFERS if self.is_read_only() => Err(STATUS_MEDIA_WRITE_PROTECTED.into()),
            IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION
            | IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION
            | IRP_MJ_FLUSH_BUFFERS => Ok(Done::new((), 0)),
            IRP_MJ_PREPARE_MDL_WRITE => {
                self.prepare_mdl_write(&open, request.mdl(), file.address())
            }
            IRP_MJ_MDL_WRITE_COMPLETE => {
                self.complete_mdl_write(&open, request.mdl_write_complete(), now)
            }
            IRP_MJ_CLEANUP => {
                self.cleanup(&open, file.address(), now)?;
                file.set_flags(FO_CLEANUP_COMPLETE);
                m.sched().notify();
                Ok(Done::new((), 0))
            }
            IRP_MJ_CLOSE => {
                self.opens.lock().remove(&file.get().fs_context2.addr());
                if let Some(fs_context) = self.close(&open) {
                    stack::stream_closed(m, volume, open.node, fs_context);
                }
                Ok(Done::new((), 0))
            }
            _ => Err(STATUS_INVALID_DEVICE_REQUEST.into()),
        }
    }

    fn perform_create(
        &self,
        m: &Arc<Machine>,
        volume: &Volume,
        request: Request,
        file: FileRef,
    ) -> Outcome<()> {
        if self.is_dismounted() {
            return Err(STATUS_VOLUME_DISMOUNTED.into());
        }
        if self.is_locked() {
            return Err(STATUS_ACCESS_DENIED.into());
        }
        let create = request.create();
        let security = request.security().ok_or(STATUS_INVALID_PARAMETER)?;
        let params = CreateParams {
            name: file.name_bytes(),
            related: file.related().and_then(|related| self.open_of(related)),
            disposition: create.options >> 24,
            options: create.options & 0x00ff_ffff,
            operation_flags: request.iopb().operation_flags,
            access: security.desired_access,
            share: create.share_access,
            attributes: u32::from(create.file_attributes),
            allocation: u64::try_from(create.allocation_size).unwrap_or(0),
            file: file.address(),
            transaction: stack::transaction_of(m, file),
        };
        if file.related().is_some() && params.related.is_none() {
            return Err(STATUS_INVALID_PARAMETER.into());
        }
        let done = self.create(&params, m.sched().system_time())?;
        self.fill_file_object(volume, file, &done.value, create);
        request.grant(done.value.access);
        Ok(Done {
            value: (),
            status: done.status,
            information: done.information,
        })
    }

    /// What the file system writes into a file object when its open succeeds.
    fn fill_file_object(
        &self,
        volume: &Volume,
        file: FileRef,
        open: &Arc<Open>,
        create: FltCreate,
    ) {
        let number = self.next_open.fetch_add(1, Ordering::Relaxed);
        // Not an address: a number that no driver can follow, unlike any pointer.
        let cookie = usize::try_from(number).unwrap_or(0) << 4 | 1;
        let block = open.stream.scb().block.clone();
        let (context, sections) = block.map_or((0, 0), |block| {
            (block.fs_context(), block.section_pointers())
        });
        let mut flags = FO_FILE_OPEN;
        match open.kind {
            OpenKind::Volume => flags |= FO_VOLUME_OPEN,
            OpenKind::Directory => {}
            OpenKind::Stream => flags |= FO_CACHE_SUPPORTED,
        }
        if create.options & FILE_NO_INTERMEDIATE_BUFFERING != 0 {
            flags |= FO_NO_INTERMEDIATE_BUFFERING;
        }
        if open.state().delete_on_close {
            flags |= FO_DELETE_ON_CLOSE;
        }
        let sharing = open.sharing;
        file.update(|fields| {
            fields.device_object = volume.device_pointer();
            fields.fs_context = core::ptr::without_provenance_mut(context);
            fields.fs_context2 = core::ptr::without_provenance_mut(cookie);
            fields.section_object_pointer = core::ptr::with_exposed_provenance_mut(sections);
            fields.flags |= flags;
            fields.read_access = u8::from(sharing.read);
            fields.write_access = u8::from(sharing.write);
            fields.delete_access = u8::from(sharing.delete);
            fields.shared_read = u8::from(sharing.share_read);
            fields.shared_write = u8::from(sharing.share_write);
            fields.shared_delete = u8::from(sharing.share_delete);
        });
        self.opens.lock().insert(cookie, Arc::clone(open));
    }

    fn perform_read(
        &self,
        m: &Arc<Machine>,
        request: Request,
        file: FileRef,
        open: &Arc<Open>,
    ) -> Outcome<()> {
        let asked = request.read_write();
        let offset = start_of(asked.byte_offset, file, open)?;
        let length = usize::try_from(asked.length).unwrap_or(0);
        let mode = io_mode(m, request, file, asked.key);
        let done = self.read(open, mode, offset, length)?;
        copy_out(request.data_address(), &done.value)?;
        advance(file, mode, offset, done.information);
        Ok(Done::new((), done.information))
    }

    fn perform_write(
        &self,
        m: &Arc<Machine>,
        request: Request,
        file: FileRef,
        open: &Arc<Open>,
        now: i64,
    ) -> Outcome<()> {
        let asked = request.read_write();
        let offset = start_of(asked.byte_offset, file, open)?;
        let length = usize::try_from(asked.length).unwrap_or(0);
        let data = copy_in(request.data_address(), length)?;
        let mode = io_mode(m, request, file, asked.key);
        let done = self.write(open, mode, offset, &data, now)?;
        advance(file, mode, offset, done.information);
        m.sched().notify();
        Ok(done)
    }

    fn perform_set(
        &self,
        request: Request,
        file: FileRef,
        open: &Arc<Open>,
        now: i64,
    ) -> Outcome<()> {
        let asked = request.set_info();
        let length = usize::try_from(asked.length).unwrap_or(0);
        let buffer = copy_in(asked.info_buffer, length)?;
        let parent = match FileRef::new(asked.parent_of_target) {
            None => None,
            Some(parent) => {
                let parent = self
                    .open_of(parent)
                    .ok_or(crate::status::STATUS_NOT_SAME_DEVICE)?;
                Some(parent.node)
            }
        };
        let to = Destination {
            parent,
            replace: asked.replace_if_exists != 0,
            advance_only: asked.advance_only != 0,
        };
        if asked.class == crate::layout::FilePositionInformation {
            file.set_position(super::set::long(&buffer, 0)?);
        }
        let done = self.set(open, asked.class, &buffer, &to, now)?;
        if let Some(pending) = super::set::deletion(asked.class, &buffer) {
            file.update(|file| file.delete_pending = u8::from(pending));
        }
        Ok(done)
    }

    fn perform_list(&self, request: Request, open: &Arc<Open>) -> Outcome<()> {
        let iopb = request.iopb();
        if iopb.minor_function != IRP_MN_QUERY_DIRECTORY {
            return Err(STATUS_INVALID_DEVICE_REQUEST.into());
        }
        let asked = request.query_directory();
        let query = ListQuery {
            class: asked.class,
            room: usize::try_from(asked.length).unwrap_or(0),
            pattern: Some(string_units(asked.file_name)),
            restart: iopb.operation_flags & SL_RESTART_SCAN != 0,
            single: iopb.operation_flags & SL_RETURN_SINGLE_ENTRY != 0,
        };
        deliver(self.list(open, &query)?, asked.directory_buffer)
    }

    fn perform_control(
        &self,
        m: &Arc<Machine>,
        request: Request,
        file: FileRef,
        open: &Arc<Open>,
        now: i64,
    ) -> Outcome<()> {
        let asked = request.fs_control();
        let input = copy_in(
            asked.input_buffer,
            usize::try_from(asked.input_buffer_length).unwrap_or(0),
        )?;
        let clones = matches!(
            asked.code,
            FSCTL_DUPLICATE_EXTENTS_TO_FILE | super::control::FSCTL_DUPLICATE_EXTENTS_TO_FILE_EX
        );
        let source = if clones {
            self.clone_source(m, asked.code, &input)
        } else {
            None
        };
        let control = Control {
            code: asked.code,
            input: &input,
            room: usize::try_from(asked.output_buffer_length).unwrap_or(0),
            file: file.address(),
            source,
        };
        let done = self.control(open, &control, now)?;
        m.sched().notify();
        let target = if asked.output_buffer.is_null() {
            asked.input_buffer
        } else {
            asked.output_buffer
        };
        deliver(done, target)
    }

    /// The open behind the handle in DUPLICATE_EXTENTS_DATA, if it is on this volume.
    fn clone_source(&self, m: &Arc<Machine>, code: u32, input: &[u8]) -> Option<Arc<Open>> {
        let at = if code == FSCTL_DUPLICATE_EXTENTS_TO_FILE {
            0
        } else {
            8
        };
        let low = word(input, at).ok()?;
        let process = crate::machine::current_thread().process();
        let handle = usize::try_from(low).ok()?;
        let kind = Some(crate::object::Kind::File);
        let object = m.objects().by_handle(m, &process, handle, kind, 1).ok()?;
        self.open_of(FileRef::new(object.pointer().cast())?)
    }

    fn perform_lock(
        &self,
        m: &Arc<Machine>,
        request: Request,
        file: FileRef,
        open: &Arc<Open>,
    ) -> Outcome<()> {
        let asked = request.lock_control();
        let length = if asked.length.is_null() {
            0
        } else {
            memory::read(asked.length)
        };
        let unsigned = |value: i64| u64::try_from(value).map_err(|_| STATUS_INVALID_PARAMETER);
        let range = (unsigned(asked.byte_offset)?, unsigned(length)?);
        let owner = lock_owner(file.address(), asked.process_id.addr(), asked.key);
        let exclusive = asked.exclusive_lock != 0;
        let minor = request.iopb().minor_function;
        loop {
            let result = self.lock(open, minor, range, exclusive, owner);
            let refused = matches!(
                result,
                Err(Stop::Failed(crate::status::STATUS_LOCK_NOT_GRANTED))
            );
            if !refused || asked.fail_immediately != 0 {
                m.sched().notify();
                return result;
            }
            let free = || {
                open.stream
                    .scb()
                    .locks
                    .any()
                    .then_some(())
                    .is_none()
                    .then_some(())
            };
            let soon = Some(m.sched().now().after(Duration::from_millis(10)));
            // Time-out or not: the lock is asked for again either way.
            let _woken = m.sched().wait_until("a byte-range lock", soon, free);
        }
    }
}

fn deliver(done: Done<Vec<u8>>, buffer: PVOID) -> Outcome<()> {
    copy_out(buffer, &done.value)?;
    Ok(Done {
        value: (),
        status: done.status,
        information: done.information,
    })
}

fn io_mode(m: &Arc<Machine>, request: Request, file: FileRef, key: u32) -> IoMode {
    let flags = request.iopb().irp_flags;
    let process = m
        .objects()
        .host::<crate::sched::SimThread, _>(request.thread())
        .map_or(0, |thread| thread.owner().address());
    IoMode {
        noncached: flags & IRP_NOCACHE != 0,
        paging: flags & IRP_PAGING_IO != 0,
        owner: lock_owner(file.address(), process, key),
    }
}

/// The first byte of a transfer; two negative offsets have a meaning.
fn start_of(offset: i64, file: FileRef, open: &Arc<Open>) -> Result<u64, NtStatus> {
    let start = match offset {
        WRITE_TO_END_OF_FILE => return Ok(open.stream.bytes.length()),
        USE_FILE_POINTER => file.get().current_byte_offset,
        other => other,
    };
    u64::try_from(start).map_err(|_| STATUS_INVALID_PARAMETER)
}

/// Moves the file object's position, which only synchronous file objects have.
fn advance(file: FileRef, mode: IoMode, offset: u64, count: usize) {
    if !mode.paging && file.has(FO_SYNCHRONOUS_IO) {
        let end = offset.saturating_add(count as u64);
        file.set_position(i64::try_from(end).unwrap_or(i64::MAX));
    }
}

/// Waits for the holder of an oplock to give way; false if the waiting thread is to end instead.
fn wait_for_oplock(m: &Arc<Machine>, stream: &Arc<Stream>) -> bool {
    let thread = crate::machine::current_thread();
    // The holder may wait for the break.
    m.sched().notify();
    let free = || {
        let free = !stream.scb().oplock.is_breaking();
        let given_up = thread.is_terminating() || stack::is_cancel_asked(m, thread.id());
        (free || given_up).then_some(free)
    };
    m.sched()
        .wait_until("an oplock break", None, free)
        .unwrap_or(false)
}

/// True once no section for a data scan is left.
fn wait_for_scan(m: &Arc<Machine>, stream: &Arc<Stream>) -> bool {
    let until = m.sched().now().after(CONFLICT_WAIT);
    let gone = || (stream.scb().sections.scan == 0).then_some(());
    m.sched()
        .wait_until("a scan's section", Some(until), gone)
        .is_ok()
}
