//! The filter itself: what it does on the way down and up.
#![expect(
    non_upper_case_globals,
    reason = "information classes keep their Windows names"
)]

use std::any::Any;
use std::sync::Arc;

use super::ALTITUDE;
use super::answer::{EcpVariant, answer, answer_stale};
use super::overlay::{Overlay, Served, split};
use crate::fltmgr::ecp;
use crate::fltmgr::{NativeFilter, Pre};
use crate::layout::{
    FILE_OPEN_BY_FILE_ID, FILE_OPEN_REPARSE_POINT, FILE_OVERWRITE, FILE_OVERWRITE_IF,
    FILE_SUPERSEDE, FLT_CALLBACK_DATA, FSCTL_DUPLICATE_EXTENTS_TO_FILE, FSCTL_SET_REPARSE_POINT,
    FSCTL_SET_ZERO_DATA, FileAllInformation, FileAttributeTagInformation, FileBasicInformation,
    FileNetworkOpenInformation, GUID, IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION, IRP_MJ_CLEANUP,
    IRP_MJ_CREATE, IRP_MJ_DIRECTORY_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_QUERY_INFORMATION,
    IRP_MJ_SET_INFORMATION, IRP_MJ_WRITE, IRP_MN_QUERY_DIRECTORY, IRP_PAGING_IO,
    PAGE_EXECUTE_READWRITE, PAGE_READWRITE, SL_OPEN_TARGET_DIRECTORY,
};
use crate::machine::Machine;
use crate::memory;
use crate::status::{NtStatus, STATUS_REPARSE};
use crate::user::file_object::FileHost;
use crate::user::reparse::TAG_WCI_1;
use crate::volume::fs::directory::{
    ListQuery, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY, list_entries,
};
use crate::volume::fs::open::{Open, OpenKind};
use crate::volume::name::{StreamName, parse};
use crate::volume::node::NodeId;
use crate::volume::request::{FileRef, Request, copy_out, string_units};
use crate::volume::share::{APPEND_DATA, WRITE_DATA, map_generic};

/// Marks a create that was sent round once already.
const SECOND_PASS: GUID = GUID::from_u128(0x6b1f_0a4e_2d39_4c60_9f1c_7a52_08d3_ee41);

/// One container's filter instance on its scratch volume.
pub struct Wcifs {
    overlay: Overlay,
    variant: EcpVariant,
}

/// What a create's way up needs.
struct Created {
    /// The name led to a stream other than the unnamed one.
    named_stream: bool,
    by_id: bool,
    empties: bool,
}

/// What a cleanup or rename leaves hidden.
struct Hides(Vec<Vec<u16>>);

/// A query whose reply may show a placeholder.
struct Shows;

impl Wcifs {
    /// A filter for this overlay.
    #[must_use]
    pub fn new(overlay: Overlay, variant: EcpVariant) -> Self {
        let on_layers = variant.contains(EcpVariant::SECTIONS_OF_LAYER);
        Self {
            overlay: overlay.counting_sections_on_layers(on_layers),
            variant,
        }
    }

    /// The overlay.
    #[must_use]
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    fn has(&self, variant: EcpVariant) -> bool {
        self.variant.contains(variant)
    }

    fn open_of(&self, request: Request) -> Option<Arc<Open>> {
        let file = request.file().ok()?;
        self.overlay
            .scratch()
            .fs()
            .open_of(file)
            .filter(|open| open.kind != OpenKind::Volume)
    }

    fn pre_create(&self, m: &Arc<Machine>, request: Request) -> Result<Pre, NtStatus> {
        let file = request.file()?;
        let mut create = request.create();
        let by_id = create.options & FILE_OPEN_BY_FILE_ID != 0;
        let related = file.related();
        if !by_id && file.name_bytes().is_empty() && related.is_none() {
            return Ok(Pre::NoCallback);
        }
        let (path, named_stream) = if by_id {
            (Vec::new(), false)
        } else {
            self.whole_path(file, related)
        };
        let now = m.sched().system_time();
        self.overlay.materialize(&path, now)?;
        if self.has(EcpVariant::REPARSE) && !by_id && self.send_round(m, request, file, &path) {
            return Ok(Pre::Complete);
        }
        let disposition = create.options >> 24;
        let empties = matches!(
            disposition,
            FILE_SUPERSEDE | FILE_OVERWRITE | FILE_OVERWRITE_IF
        );
        let placeholder = by_id || self.is_placeholder(&path);
        if placeholder && create.options & FILE_OPEN_REPARSE_POINT == 0 {
            create.options |= FILE_OPEN_REPARSE_POINT;
            request.set_create(create);
        }
        Ok(Pre::WithCallback(Box::new(Created {
            named_stream,
            by_id,
            empties,
        })))
    }

    /// Names from the root to the file, and whether a named stream of it is meant.
    fn whole_path(&self, file: FileRef, related: Option<FileRef>) -> (Vec<Vec<u16>>, bool) {
        let fs = self.overlay.scratch().fs();
        let mut path = Vec::new();
        if let Some(open) = related.and_then(|related| fs.open_of(related)) {
            path = split(&fs.space().path(open.node, open.link()));
        }
        let Ok(parsed) = parse(&file.name()) else {
            return (Vec::new(), false);
        };
        path.extend(parsed.components);
        (path, matches!(parsed.stream, StreamName::Named(_)))
    }

    fn is_placeholder(&self, path: &[Vec<u16>]) -> bool {
        let mut whole = Vec::new();
        for name in path {
            whole.push(u16::from(b'\\'));
            whole.extend_from_slice(name);
        }
        let node = self
            .overlay
            .scratch()
            .fs()
            .find(&String::from_utf16_lossy(&whole));
        node.is_ok_and(|node| self.overlay.served(node) != Served::Scratch)
    }

    /// Sends the create round, once: the same name, from the top. True if it did.
    fn send_round(
        &self,
        m: &Arc<Machine>,
        request: Request,
        file: FileRef,
        path: &[Vec<u16>],
    ) -> bool {
        let Some(packet) = ecp::of_data(m, request.raw()) else {
            return false;
        };
        if packet.find(m, SECOND_PASS).is_some() || !self.is_placeholder(path) {
            return false;
        }
        let object = m.objects().find(file.address());
        let host = object.as_ref().and_then(|object| object.host::<FileHost>());
        let Some((object, host)) = object.as_ref().zip(host) else {
            return false;
        };
        // Without memory for the mark the create just goes on.
        if packet.add(m, SECOND_PASS, &[1; 8], false).is_none() {
            return false;
        }
        if self.has(EcpVariant::STALE_ANSWER) {
            answer_stale(m, &packet, self.variant);
        }
        let mut name: Vec<u16> = self
            .overlay
            .scratch()
            .device_name()
            .encode_utf16()
            .collect();
        if file.related().is_some() {
            for part in path {
                name.push(u16::from(b'\\'));
                name.extend_from_slice(part);
            }
        } else {
            name.extend_from_slice(&file.name());
        }
        host.set_name(object, &name);
        // Information 0 is IO_REPARSE: the name in the file object is to be opened.
        request.finish(STATUS_REPARSE, 0);
        true
    }

    fn post_create(&self, m: &Arc<Machine>, request: Request, created: &Created) {
        let (status, _) = request.status();
        let packet = ecp::of_data(m, request.raw());
        if !status.is_success() || status == STATUS_REPARSE {
            if self.has(EcpVariant::FAILED_TOO)
                && let Some(packet) = packet
            {
                answer(m, &packet, &self.overlay, self.variant, &Served::Scratch);
            }
            return;
        }
        let Some(open) = self.open_of(request) else {
            return;
        };
        self.own_what_is_written(&open, created);
        let unanswered = self.has(EcpVariant::SILENT)
            || (open.kind == OpenKind::Directory && self.has(EcpVariant::NO_DIRECTORIES))
            || (created.by_id && self.has(EcpVariant::NO_IDS_OPENS));
        let Some(packet) = packet.filter(|_| !unanswered) else {
            return;
        };
        let like_file = !created.named_stream || self.has(EcpVariant::STREAMS_LIKE_FILE);
        let served = if like_file {
            self.overlay.served(open.node)
        } else {
            Served::Scratch
        };
        answer(m, &packet, &self.overlay, self.variant, &served);
    }

    /// A placeholder that was emptied, or is copied as soon as somebody may write it, is none.
    fn own_what_is_written(&self, open: &Arc<Open>, created: &Created) {
        if created.named_stream {
            return;
        }
        let writes = map_generic(open.access) & (WRITE_DATA | APPEND_DATA) != 0;
        // A file that vanished meanwhile needs no copy; a failed one shows at the first write.
        let _done = if created.empties {
            self.overlay.detach(open.node)
        } else if writes && self.has(EcpVariant::COPY_AT_OPEN) {
            self.overlay.copy_up(open.node)
        } else {
            Ok(())
        };
    }

    /// Before bytes, sizes or names of a placeholder change, the file becomes the container's own.
    fn copy_before(&self, request: Request) -> Result<Pre, NtStatus> {
        let Some(open) = self.open_of(request) else {
            return Ok(Pre::NoCallback);
        };
        if open.stream.name.is_empty() && open.kind == OpenKind::Stream {
            self.overlay.copy_up(open.node)?;
        }
        Ok(Pre::NoCallback)
    }

    fn pre_set(&self, request: Request) -> Result<Pre, NtStatus> {
        let class = request.set_info().class;
        let renames = matches!(class, 0x0a | 0x41 | 0x38 | 0x42);
        let links = matches!(class, 0x0b | 0x48 | 0x39 | 0x49);
        let sizes = matches!(class, 0x13 | 0x14 | 0x27);
        let Some(open) = self.open_of(request) else {
            return Ok(Pre::NoCallback);
        };
        if !(renames || links || sizes) || !open.stream.name.is_empty() {
            return Ok(Pre::NoCallback);
        }
        let path = self.path_of(&open);
        if renames && open.kind == OpenKind::Directory && self.overlay.shows(&path) {
            // A merged directory cannot move: its files are in several layers.
            return Err(crate::status::STATUS_NOT_SAME_DEVICE);
        }
        if open.kind == OpenKind::Stream {
            self.overlay.copy_up(open.node)?;
        }
        if renames && self.overlay.shows(&path) {
            return Ok(Pre::WithCallback(Box::new(Hides(path))));
        }
        Ok(Pre::NoCallback)
    }

    fn path_of(&self, open: &Arc<Open>) -> Vec<Vec<u16>> {
        let fs = self.overlay.scratch().fs();
        split(&fs.space().path(open.node, open.link()))
    }

    /// A cleanup may delete: then what layers have at that path must not come back.
    fn pre_cleanup(&self, request: Request) -> Pre {
        let Some(open) = self.open_of(request) else {
            return Pre::NoCallback;
        };
        let path = self.path_of(&open);
        if path.is_empty() || !self.overlay.shows(&path) {
            return Pre::NoCallback;
        }
        Pre::WithCallback(Box::new(Hides(path)))
    }

    fn post_hides(&self, request: Request, path: &[Vec<u16>]) {
        if !request.status().0.is_success() {
            return;
        }
        let fs = self.overlay.scratch().fs();
        let mut whole = Vec::new();
        for name in path {
            whole.push(u16::from(b'\\'));
            whole.extend_from_slice(name);
        }
        let there = fs.find(&String::from_utf16_lossy(&whole));
        if there.is_err() {
            self.overlay.hide(path);
        }
    }

    fn list(&self, request: Request) -> Pre {
        let iopb = request.iopb();
        let open = self
            .open_of(request)
            .filter(|open| open.kind == OpenKind::Directory);
        let Some(open) = open.filter(|_| iopb.minor_function == IRP_MN_QUERY_DIRECTORY) else {
            return Pre::NoCallback;
        };
        let asked = request.query_directory();
        let query = ListQuery {
            class: asked.class,
            room: usize::try_from(asked.length).unwrap_or(0),
            pattern: Some(string_units(asked.file_name)),
            restart: iopb.operation_flags & SL_RESTART_SCAN != 0,
            single: iopb.operation_flags & SL_RETURN_SINGLE_ENTRY != 0,
        };
        let listed = self.overlay.merged(open.node).map_err(Into::into);
        let result = listed.and_then(|entries| list_entries(&open, &query, &entries));
        let (status, information) = match result {
            Ok(done) => match copy_out(asked.directory_buffer, &done.value) {
                Ok(()) => (done.status, done.information),
                Err(status) => (status, 0),
            },
            Err(crate::volume::fs::outcome::Stop::Failed(status)) => (status, 0),
            Err(_) => (crate::status::STATUS_INTERNAL_ERROR, 0),
        };
        request.finish(status, information);
        Pre::Complete
    }

    /// Takes the reparse point out of a reply about a placeholder.
    fn post_query(&self, request: Request) {
        let (status, count) = request.status();
        let Some(open) = self.open_of(request) else {
            return;
        };
        if !status.is_success() || !self.is_node_placeholder(open.node) {
            return;
        }
        let asked = request.query_info();
        let (attributes_at, tag_at) = match asked.class {
            FileBasicInformation | FileAllInformation => (0x20, None),
            FileNetworkOpenInformation => (0x30, None),
            FileAttributeTagInformation => (0, Some(4)),
            _ => return,
        };
        let place = asked.buffer.wrapping_byte_add(attributes_at).cast::<u32>();
        if asked.buffer.is_null() || attributes_at + 4 > count {
            return;
        }
        let told: u32 = memory::read(place);
        let shown = told & !crate::volume::node::REPARSE_POINT;
        let shown = if shown == 0 {
            crate::volume::node::NORMAL
        } else {
            shown
        };
        memory::write(place, shown);
        if let Some(at) = tag_at.filter(|at| at + 4 <= count) {
            memory::write(asked.buffer.wrapping_byte_add(at).cast(), 0u32);
        }
    }

    fn is_node_placeholder(&self, node: NodeId) -> bool {
        let space = self.overlay.scratch().fs().space();
        space
            .node(node)
            .is_ok_and(|node| node.reparse_tag() == TAG_WCI_1)
    }

    fn decide(&self, m: &Arc<Machine>, request: Request) -> Result<Pre, NtStatus> {
        let iopb = request.iopb();
        match iopb.major_function {
            IRP_MJ_CREATE if iopb.operation_flags & SL_OPEN_TARGET_DIRECTORY != 0 => {
                let file = request.file()?;
                let (mut path, _) = self.whole_path(file, file.related());
                let whole = path.clone();
                path.pop();
                self.overlay.materialize(&path, m.sched().system_time())?;
                // A target that layers show is a collision, so it has to be there.
                self.overlay.materialize(&whole, m.sched().system_time())?;
                Ok(Pre::NoCallback)
            }
            IRP_MJ_CREATE => self.pre_create(m, request),
            IRP_MJ_WRITE if iopb.irp_flags & IRP_PAGING_IO == 0 => self.copy_before(request),
            IRP_MJ_SET_INFORMATION => self.pre_set(request),
            IRP_MJ_FILE_SYSTEM_CONTROL => {
                let code = request.fs_control().code;
                let changes = matches!(
                    code,
                    FSCTL_SET_ZERO_DATA | FSCTL_DUPLICATE_EXTENTS_TO_FILE | FSCTL_SET_REPARSE_POINT
                );
                if changes {
                    self.copy_before(request)
                } else {
                    Ok(Pre::NoCallback)
                }
            }
            IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION => {
                let protection = request.acquire_for_section().page_protection & 0xff;
                let writes = matches!(protection, PAGE_READWRITE | PAGE_EXECUTE_READWRITE);
                if writes {
                    self.copy_before(request)
                } else {
                    Ok(Pre::NoCallback)
                }
            }
            IRP_MJ_CLEANUP => Ok(self.pre_cleanup(request)),
            IRP_MJ_DIRECTORY_CONTROL => Ok(self.list(request)),
            IRP_MJ_QUERY_INFORMATION => Ok(Pre::WithCallback(Box::new(Shows))),
            _ => Ok(Pre::NoCallback),
        }
    }
}

impl NativeFilter for Wcifs {
    fn altitude(&self) -> &str {
        ALTITUDE
    }

    fn name(&self) -> &str {
        "wcifs"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        let request = Request::new(data);
        match self.decide(m, request) {
            Ok(pre) => pre,
            Err(status) => {
                request.finish(status, 0);
                Pre::Complete
            }
        }
    }

    fn post(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA, context: Box<dyn Any + Send>) {
        let request = Request::new(data);
        if let Some(created) = context.downcast_ref::<Created>() {
            self.post_create(m, request, created);
        } else if let Some(Hides(path)) = context.downcast_ref::<Hides>() {
            self.post_hides(request, path);
        } else {
            self.post_query(request);
        }
    }
}
