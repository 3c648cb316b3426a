//! The redirection ECP: attached or shared before the open, read back once after it.
//!
//! Beside our own redirection ECP lies a private marker. Where the marker is found before the
//! open, the create goes round a second time (after `STATUS_REPARSE`) and the redirection ECP
//! beside it is ours to make fresh again; any other filter's is only read. Once attached, neither
//! is freed or removed: the I/O manager does that, perhaps after this driver is gone, which is
//! why they have no cleanup callback and come from no lookaside list.
#![expect(unsafe_code, reason = "reads and writes extra create parameters")]

use core::ptr;

use siloscan_core::ecp::{self, REDIRECTION_ECP_SIZE, Redirection, Taint};
use siloscan_core::reason::Event;

use crate::kernel::irql;
use crate::kernel::pool::Tag;
use crate::registration::view::Data;
use crate::sys::{self, EcpList, Guid, P};
use crate::trace;

/// `GUID_ECP_CREATE_REDIRECTION`.
static REDIRECTION: Guid = Guid {
    data1: 0x188d_6bd6,
    data2: 0xa126,
    data3: 0x4fa8,
    data4: [0xbd, 0xf2, 0x1c, 0xcd, 0xf8, 0x96, 0xf3, 0xe0],
};

/// `GUID_ECP_PREFETCH_OPEN`.
static PREFETCH: Guid = Guid {
    data1: 0xe177_7b21,
    data2: 0x847e,
    data3: 0x4837,
    data4: [0xaa, 0x45, 0x64, 0x16, 0x1d, 0x28, 0x06, 0x55],
};

/// `GUID_ECP_CSV_DOWN_LEVEL_OPEN`.
static CSV_DOWN_LEVEL: Guid = Guid {
    data1: 0x4248_be44,
    data2: 0x647f,
    data3: 0x488f,
    data4: [0x8b, 0xe5, 0xa0, 0x8a, 0xaf, 0x70, 0xf0, 0x28],
};

/// Our marker: no other filter knows this type.
static MARKER: Guid = Guid {
    data1: 0x9c5e_1f0a,
    data2: 0x3d64,
    data3: 0x4e2b,
    data4: [0x8f, 0x17, 0x51, 0x6b, 0xa4, 0xd2, 0x70, 0xce],
};

/// Bytes of the marker's context; they hold nothing.
const MARKER_SIZE: u32 = 8;

/// What lies on a create whose redirection will be read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    /// Nothing could be attached: the open is not identified.
    Nothing,
    /// Ours, attached in this pass.
    Fresh,
    /// Ours, from an earlier pass of this create, made fresh again.
    Reused,
    /// Another filter's, not answered yet: as good as ours, but only read.
    Shared,
    /// Not to be believed whatever it will say.
    Tainted,
}

/// Which kernel-made opens the list shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Origins {
    /// The prefetcher's.
    pub prefetch: bool,
    /// The hidden side of a cluster volume's.
    pub csv_down_level: bool,
}

/// The list of a create, if it has one.
///
/// # Invariants
/// `list` is the list of the create whose callback we are in, or null.
pub struct List<'a> {
    data: &'a Data<'a>,
    list: EcpList,
    known: bool,
}

impl<'a> List<'a> {
    /// Looks for the list of a create.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    #[must_use]
    pub fn of(data: &'a Data<'a>) -> Self {
        irql::at_most_apc();
        let mut list: EcpList = ptr::null_mut();
        // SAFETY: the callback data is that of the create; the output outlives the call.
        let status = unsafe {
            sys::FltGetEcpListFromCallbackData(data.filter(), data.as_ptr(), &raw mut list)
        };
        core::hint::black_box(());
        let known = status >= 0;
        // INVARIANT: on failure the output is not looked at.
        Self {
            data,
            list: if known { list } else { ptr::null_mut() },
            known,
        }
    }

    /// Which kernel-made opens this is. An ECP from user mode proves nothing.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    #[must_use]
    pub fn origins(&self) -> Origins {
        Origins {
            prefetch: self
                .find(&PREFETCH)
                .is_some_and(|ecp| !ecp.is_from_user_mode()),
            csv_down_level: self
                .find(&CSV_DOWN_LEVEL)
                .is_some_and(|ecp| !ecp.is_from_user_mode()),
        }
    }

    /// Sees to it that the create carries a redirection ECP. On failure the create goes on
    /// without: the open is then not identified, and scanned.
    ///
    /// # IRQL
    /// At most APC_LEVEL.
    pub fn attach(&self) -> Attached {
        if !self.known {
            return Attached::Nothing;
        }
        if self.list.is_null() {
            return self.attach_list();
        }
        let ours = self
            .find(&MARKER)
            .is_some_and(|ecp| !ecp.is_from_user_mode());
        match self.find(&REDIRECTION) {
            Some(ecp) if ours => ecp.renew(),
            Some(ecp) => ecp.share(),
            None => self.insert(self.list, !ours),
        }
    }

    /// Reads the answer, once. `before` is what `attach` said of this create.
    ///
    /// # IRQL
    /// At most APC_LEVEL; not while draining.
    #[must_use]
    pub fn answer(&self, before: Attached) -> Redirection {
        if before == Attached::Nothing {
            return Redirection::Absent;
        }
        let Some(ecp) = self.find(&REDIRECTION) else {
            return Redirection::Absent;
        };
        let taint = Taint {
            from_user_mode: ecp.is_from_user_mode(),
            answered_before: before == Attached::Tainted,
            too_small: (ecp.size as usize) < REDIRECTION_ECP_SIZE,
        };
        let mut image = [0; REDIRECTION_ECP_SIZE];
        let length = ecp.copy(&mut image);
        Redirection::capture(
            image.get(..length).unwrap_or(&[]),
            ecp.is_acknowledged(),
            taint,
        )
    }

    fn find(&self, kind: &'static Guid) -> Option<Ecp<'_>> {
        irql::at_most_apc();
        if self.list.is_null() {
            return None;
        }
        let mut context: P = ptr::null_mut();
        let mut size = 0;
        // SAFETY: the list is the create's (invariant); the outputs outlive the call.
        let status = unsafe {
            sys::FltFindExtraCreateParameter(
                self.data.filter(),
                self.list,
                kind,
                &raw mut context,
                &raw mut size,
            )
        };
        core::hint::black_box(());
        (status >= 0 && !context.is_null()).then_some(Ecp {
            list: self,
            context,
            size,
        })
    }

    /// Makes a list with our two ECPs and gives it to the create.
    fn attach_list(&self) -> Attached {
        let filter = self.data.filter();
        let mut list: EcpList = ptr::null_mut();
        // SAFETY: the filter is registered while its callback runs; the output is ours.
        let status = unsafe { sys::FltAllocateExtraCreateParameterList(filter, 0, &raw mut list) };
        if status < 0 {
            return Attached::Nothing;
        }
        let attached = self.insert(list, true);
        if attached == Attached::Fresh {
            // SAFETY: the list is ours until the create takes it.
            let status =
                unsafe { sys::FltSetEcpListIntoCallbackData(filter, self.data.as_ptr(), list) };
            if status >= 0 {
                core::hint::black_box(());
                return Attached::Fresh;
            }
        }
        // SAFETY: the list was not taken, so it and all that is in it are still ours.
        unsafe { sys::FltFreeExtraCreateParameterList(filter, list) };
        core::hint::black_box(());
        Attached::Nothing
    }

    /// Puts our redirection ECP into a list, and the marker where it is not there. The marker
    /// goes last: beside it there is always a redirection ECP of ours. Where the marker cannot be
    /// had, a second pass takes our ECP for another filter's, and scans.
    fn insert(&self, list: EcpList, with_marker: bool) -> Attached {
        let size = REDIRECTION_ECP_SIZE as u32;
        if !self.insert_one(list, &REDIRECTION, size, Tag::ECP, &ecp::FRESH) {
            return Attached::Nothing;
        }
        if with_marker {
            let _scanned_on_the_second_pass =
                self.insert_one(list, &MARKER, MARKER_SIZE, Tag::MARKER, &[]);
        }
        Attached::Fresh
    }

    /// Allocates one ECP, fills it (zero where `content` ends) and inserts it; frees it where
    /// the list did not take it.
    fn insert_one(
        &self,
        list: EcpList,
        kind: &'static Guid,
        size: u32,
        tag: Tag,
        content: &[u8],
    ) -> bool {
        let filter = self.data.filter();
        let mut context: P = ptr::null_mut();
        // SAFETY: the type is a static; no cleanup callback; the output outlives the call.
        let status = unsafe {
            sys::FltAllocateExtraCreateParameter(
                filter,
                kind,
                size,
                0,
                ptr::null_mut(),
                tag.raw(),
                &raw mut context,
            )
        };
        if status < 0 || context.is_null() {
            return false;
        }
        // SAFETY: the context has `size` bytes that are ours until it is inserted.
        unsafe { ptr::write_bytes(context.cast::<u8>(), 0, size as usize) };
        // SAFETY: initialised above and not shared with anybody yet.
        let bytes = unsafe { core::slice::from_raw_parts_mut(context.cast(), size as usize) };
        for (to, from) in bytes.iter_mut().zip(content) {
            *to = *from;
        }
        // SAFETY: the list is the create's or ours; the context is in no list.
        let status = unsafe { sys::FltInsertExtraCreateParameter(filter, list, context) };
        if status < 0 {
            // SAFETY: the list did not take the context, so it is still ours.
            unsafe { sys::FltFreeExtraCreateParameter(filter, context) };
        }
        core::hint::black_box(());
        status >= 0
    }
}

/// One ECP of a create's list.
///
/// # Invariants
/// `context` has `size` bytes, owned by the list, which lives as long as the create.
struct Ecp<'a> {
    list: &'a List<'a>,
    context: P,
    size: u32,
}

impl Ecp<'_> {
    fn is_acknowledged(&self) -> bool {
        // SAFETY: the context is in the create's list (type invariant).
        let answer = unsafe { sys::FltIsEcpAcknowledged(self.list.data.filter(), self.context) };
        core::hint::black_box(());
        answer != 0
    }

    fn is_from_user_mode(&self) -> bool {
        // SAFETY: the context is in the create's list (type invariant).
        let answer = unsafe { sys::FltIsEcpFromUserMode(self.list.data.filter(), self.context) };
        core::hint::black_box(());
        answer != 0
    }

    /// Copies what is there, at most the size of the image; returns how many bytes.
    fn copy(&self, image: &mut [u8; REDIRECTION_ECP_SIZE]) -> usize {
        let length = REDIRECTION_ECP_SIZE.min(self.size as usize);
        // SAFETY: source and image have at least `length` bytes and do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(self.context.cast::<u8>(), image.as_mut_ptr(), length);
        }
        length
    }

    /// Second pass of our own create: the answer of the first pass must not be read as that of
    /// this one.
    fn renew(&self) -> Attached {
        if (self.size as usize) < REDIRECTION_ECP_SIZE || self.is_from_user_mode() {
            return Attached::Tainted;
        }
        // SAFETY: the context is ours (the marker says so) and has the bytes of the image.
        unsafe {
            ptr::copy_nonoverlapping(
                ecp::FRESH.as_ptr(),
                self.context.cast::<u8>(),
                REDIRECTION_ECP_SIZE,
            );
        }
        // SAFETY: the context is ours and in the create's list.
        unsafe { sys::FltPrepareToReuseEcp(self.list.data.filter(), self.context) };
        core::hint::black_box(());
        Attached::Reused
    }

    /// Another filter's: believed later only if nobody has answered it yet.
    fn share(&self) -> Attached {
        let mut image = [0; REDIRECTION_ECP_SIZE];
        let length = self.copy(&mut image);
        if length < REDIRECTION_ECP_SIZE
            || ecp::has_flags(&image)
            || self.is_acknowledged()
            || self.is_from_user_mode()
        {
            Attached::Tainted
        } else {
            Attached::Shared
        }
    }
}

/// Attaches or shares the redirection ECP, and counts which. Where no list was looked for
/// nothing is attached.
///
/// # IRQL
/// PASSIVE_LEVEL, in a pre-create.
pub fn attach(list: Option<&List<'_>>) -> Attached {
    let attached = list.map_or(Attached::Nothing, List::attach);
    trace::count(match attached {
        Attached::Nothing => Event::EcpFailed,
        Attached::Fresh => Event::EcpAttached,
        Attached::Reused => Event::EcpReused,
        Attached::Shared => Event::EcpShared,
        Attached::Tainted => Event::EcpTainted,
    });
    attached
}
