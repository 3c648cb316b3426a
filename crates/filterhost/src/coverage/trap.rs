//! The breakpoints: put into an image as it is mapped, taken away by whoever meets one first.
#![expect(
    unsafe_code,
    reason = "maps the file of marks, and reads a signal's context"
)]

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use super::VARIABLE;
use super::marks::{HEADER, Marks};
use crate::image::{Mapping, in_armed_image};

/// `SI_KERNEL`, which a breakpoint instruction's signal has.
const SI_KERNEL: libc::c_int = 0x80;
/// The breakpoint instruction.
const BREAKPOINT: u8 = 0xcc;
static SHARED: OnceLock<Option<Shared>> = OnceLock::new();

/// The file of marks, in memory that all processes share.
struct Shared {
    marks: Marks<'static>,
    /// The whole file: places are marked through it.
    bytes: &'static [AtomicU8],
    /// This process's own memory, which code can be written through.
    memory: File,
}

/// Maps the file that the environment names. Without one, or with one that is none, nothing is
/// marked: the report tells.
fn shared() -> Option<&'static Shared> {
    let map = || {
        let path = std::env::var_os(VARIABLE)?;
        let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
        let size = usize::try_from(file.metadata().ok()?.len()).ok()?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the system's choice touches nothing else.
        let start = unsafe {
            libc::mmap(
                null_mut(),
                size,
                access,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: the mapping has this size and is never unmapped; an atomic byte has a byte's
        // size, and all accesses to what changes are made through these.
        let bytes: &'static [AtomicU8] = unsafe { std::slice::from_raw_parts(start.cast(), size) };
        let header: Vec<u8> = bytes
            .iter()
            .take(HEADER)
            .map(|byte| byte.load(Ordering::Relaxed))
            .collect();
        let fixed = Marks::fixed(&header, size).ok()?;
        // SAFETY: a part of the mapping, as `fixed` found, to which nobody writes.
        let fixed: &'static [u8] = unsafe { std::slice::from_raw_parts(start.cast(), fixed) };
        Some(Shared {
            marks: Marks::view(fixed).ok()?,
            bytes,
            memory: OpenOptions::new().write(true).open("/proc/self/mem").ok()?,
        })
    };
    SHARED.get_or_init(map).as_ref()
}

/// Puts breakpoints into an image that is mapped and not protected yet, where nobody has been.
/// False where the image is not the one that marks are made for.
pub(crate) fn arm(mapping: &Mapping, data: &[u8]) -> bool {
    let Some(shared) = shared() else {
        return false;
    };
    let Ok(marks) = shared.marks.of(data) else {
        return false;
    };
    for (index, (rva, byte)) in marks.places().enumerate() {
        let run = shared.bytes.get(marks.offset(index));
        let run = run.is_none_or(|mark| mark.load(Ordering::Relaxed) != 0);
        if !run && mapping.bytes(rva, 1) == [byte] {
            mapping.write(rva, &[BREAKPOINT]);
        }
    }
    true
}

/// Whether a signal is that of one of these breakpoints; then the place is marked, and the
/// instruction that was there is run. Safe in a signal handler.
pub(crate) fn is_ours(
    signal: libc::c_int,
    info: &libc::siginfo_t,
    context: &mut libc::ucontext_t,
) -> bool {
    if signal != libc::SIGTRAP || info.si_code != SI_KERNEL {
        return false;
    }
    let Some(shared) = SHARED.get().and_then(Option::as_ref) else {
        return false;
    };
    let general = &mut context.uc_mcontext.gregs;
    let at = (general[libc::REG_RIP as usize].cast_unsigned() as usize).wrapping_sub(1);
    let found = in_armed_image(at).and_then(|rva| shared.marks.find(rva));
    let Some((index, byte)) = found else {
        return false;
    };
    // SAFETY: writes one byte of this process's memory, code of a mapped image, from a live one.
    let written = unsafe {
        libc::pwrite(
            shared.memory.as_raw_fd(),
            (&raw const byte).cast(),
            1,
            at as libc::off_t,
        )
    };
    if written != 1 {
        return false;
    }
    if let Some(mark) = shared.bytes.get(shared.marks.offset(index)) {
        mark.store(1, Ordering::Relaxed);
    }
    general[libc::REG_RIP as usize] = at as i64;
    true
}
