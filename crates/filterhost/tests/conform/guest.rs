//! The conformance image as the test program sees it: its exports, and what it reports.
#![expect(
    unsafe_code,
    reason = "exported functions of the loaded image are called here"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use filterhost::driver::DriverHandle;
use filterhost::memory::Block;
use filterhost::{Machine, exports, memory};
use object::{File, Object as _};

/// Offsets in the harness's record `ARMED`.
const CASE: usize = 0x00;
const MAJOR: usize = 0x08;
const MOMENT: usize = 0x0c;
const RAN: usize = 0x10;
const LINE: usize = 0x14;
const GOT: usize = 0x18;
const CLEANUPS: usize = 0x1c;

/// When an armed case runs; the numbers are the harness's `MOMENT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// In the pre-operation callback of the operation with this major code.
    Pre(u8),
    /// In its post-operation callback.
    Post(u8),
    /// In the instance setup callback.
    Setup,
    /// In the callback that starts an instance's teardown.
    Teardown,
    /// After the filter was unregistered.
    Unloaded,
}

/// The exports of an image, as distances from its start.
pub struct Symbols(BTreeMap<String, usize>);

impl Symbols {
    /// Reads the export table of the image file.
    pub fn read(image: &Path) -> Self {
        let bytes = std::fs::read(image).expect("a built image");
        let file = File::parse(bytes.as_slice()).expect("a PE image");
        let base = file.relative_address_base();
        let exports = file.exports().expect("an export table");
        let entry = |export: &object::Export<'_>| {
            let name = String::from_utf8(export.name().to_vec()).ok()?;
            let distance = usize::try_from(export.address() - base).ok()?;
            Some((name, distance))
        };
        Self(exports.iter().filter_map(entry).collect())
    }

    /// Distance of an export, if the image has it.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }
}

/// The loaded image.
pub struct Guest {
    base: usize,
    symbols: Symbols,
    /// The record `ARMED`, outside of the image, so that it outlives an unload.
    record: Block,
    /// How it is unloaded.
    pub driver: DriverHandle,
}

impl Guest {
    /// Takes over a loaded driver.
    pub fn new(driver: DriverHandle, symbols: Symbols) -> Self {
        let guest = Self {
            base: driver.image().base(),
            symbols,
            record: Block::zeroed(0x40),
            driver,
        };
        let inside: usize = memory::read(guest.at("ArmedAt", 0));
        let inside = std::ptr::with_exposed_provenance::<[u32; 8]>(inside);
        memory::write(guest.record.pointer(), memory::read(inside));
        guest.set_pointer("ArmedAt", guest.record.address());
        guest
    }

    fn at<T>(&self, name: &str, offset: usize) -> *mut T {
        let distance = self.symbols.find(name).expect("an export of the harness");
        std::ptr::with_exposed_provenance_mut(self.base + distance + offset)
    }

    fn armed<T>(&self, offset: usize) -> *mut T {
        self.record.pointer::<u8>().wrapping_add(offset).cast()
    }

    /// Sets one of the harness's switches.
    pub fn set_switch(&self, name: &str, value: u32) {
        memory::write(self.at(name, 0), value);
    }

    /// Sets one of the harness's pointers.
    pub fn set_pointer(&self, name: &str, value: usize) {
        memory::write(self.at(name, 0), value);
    }

    /// Has `case` run at `moment`.
    pub fn arm(&self, case: &str, moment: Moment) {
        let (kind, major) = match moment {
            Moment::Pre(major) => (1_u32, major),
            Moment::Post(major) => (2, major),
            Moment::Setup => (3, 0),
            Moment::Teardown => (4, 0),
            Moment::Unloaded => (6, 0),
        };
        memory::write(self.armed(RAN), 0_u32);
        memory::write(self.armed(CLEANUPS), 0_u32);
        memory::write(self.armed(MAJOR), u32::from(major));
        memory::write(self.armed(MOMENT), kind);
        memory::write(self.armed(CASE), self.at::<()>(case, 0).addr());
    }

    /// Runs `case` on the calling thread.
    pub fn run_here(&self, case: &str) {
        type RunHere = extern "win64" fn(*mut ());
        memory::write(self.armed(RAN), 0_u32);
        memory::write(self.armed(CLEANUPS), 0_u32);
        let run = self.at::<()>("RunHere", 0);
        // SAFETY: the harness exports this function with exactly this signature.
        let run = unsafe { std::mem::transmute::<*mut (), RunHere>(run) };
        exports::callback("RunHere", || run(self.at(case, 0)));
    }

    /// What came of the case.
    pub fn outcome(&self) -> Result<(), String> {
        let read = |offset| memory::read::<u32>(self.armed(offset));
        let (ran, line, got) = (read(RAN), read(LINE), read(GOT));
        match (ran, line) {
            (0, _) => Err("the case did not run".to_owned()),
            (_, 0) => Ok(()),
            _ => Err(format!("line {line} failed; status {got:#010x}")),
        }
    }

    /// Runs a helper of the case, if the image has one: `role__Function__RESULT`.
    pub fn run_helper(&self, name: &str) -> Result<bool, String> {
        if self.symbols.find(name).is_none() {
            return Ok(false);
        }
        self.run_here(name);
        self.outcome().map_err(|said| format!("{name}: {said}"))?;
        Ok(true)
    }

    /// Unloads the driver; what it left behind ends the run.
    pub fn unload(&self, m: &Arc<Machine>) -> Result<(), String> {
        assert!(!m.is_over());
        let status = self.driver.unload();
        status.map_err(|status| format!("unload was refused with {status}"))
    }
}
