//! Maps an image into this process: memory of its own, protected section by section.
#![expect(
    unsafe_code,
    reason = "memory for driver code is mapped and protected here"
)]

use std::io;
use std::ptr::{null_mut, with_exposed_provenance_mut};

use super::parse::{Plan, Protection, Section};

/// Memory of one image; unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    address: usize,
    size: usize,
}

impl Mapping {
    /// Maps the sections of `data` as `plan` says, writable for now, and applies relocations.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn new(plan: &Plan, data: &[u8]) -> io::Result<Self> {
        let size = plan.size as usize;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the system's choice touches nothing.
        let memory = unsafe { libc::mmap(null_mut(), size, access, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = Self {
            address: memory.expose_provenance(),
            size,
        };
        mapping.write(0, data.get(..plan.headers).unwrap_or_default());
        for section in &plan.sections {
            mapping.write(
                section.rva,
                data.get(section.file.clone()).unwrap_or_default(),
            );
        }
        let delta = (mapping.address as u64).wrapping_sub(plan.base);
        for rva in &plan.relocations {
            let word = mapping.read(*rva, 8).try_into().unwrap_or_default();
            let moved = u64::from_le_bytes(word).wrapping_add(delta);
            mapping.write(*rva, &moved.to_le_bytes());
        }
        Ok(mapping)
    }

    /// Where the image starts.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// Its size in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Copies bytes to an offset; what would lie outside is left out.
    pub fn write(&self, rva: u32, bytes: &[u8]) {
        let length = bytes.len().min(self.size.saturating_sub(rva as usize));
        let to = with_exposed_provenance_mut::<u8>(self.address.wrapping_add(rva as usize));
        // SAFETY: the range was cut to the mapping, which is writable until `protect`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, length) };
    }

    /// Copies bytes from an offset; shorter where the image ends.
    #[must_use]
    pub fn read(&self, rva: u32, size: usize) -> Vec<u8> {
        self.bytes(rva, size).to_vec()
    }

    /// Bytes at an offset; shorter where the image ends. Meant for parts that are read only.
    #[must_use]
    pub fn bytes(&self, rva: u32, size: usize) -> &[u8] {
        let length = size.min(self.size.saturating_sub(rva as usize));
        let from = with_exposed_provenance_mut::<u8>(self.address.wrapping_add(rva as usize));
        // SAFETY: the range was cut to the mapping, which lives as long as the borrow.
        unsafe { std::slice::from_raw_parts(from, length) }
    }

    /// Gives headers and sections their final protection.
    ///
    /// # Errors
    /// When the system refuses a change.
    pub fn protect(&self, plan: &Plan) -> io::Result<()> {
        self.protect_range(0, self.size, libc::PROT_READ)?;
        for section in &plan.sections {
            self.protect_section(section)?;
        }
        Ok(())
    }

    /// Takes all access away and keeps the addresses.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn close(&self) -> io::Result<()> {
        self.protect_range(0, self.size, libc::PROT_NONE)
    }

    /// Takes a section's access away, or gives it back.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_paged_out(&self, section: &Section, out: bool) -> io::Result<()> {
        if !out {
            return self.protect_section(section);
        }
        let size = (section.size as usize).next_multiple_of(0x1000);
        self.protect_range(section.rva as usize, size, libc::PROT_NONE)
    }

    fn protect_section(&self, section: &Section) -> io::Result<()> {
        let access = match section.protection {
            Protection::Read => libc::PROT_READ,
            Protection::Write => libc::PROT_READ | libc::PROT_WRITE,
            Protection::Execute => libc::PROT_READ | libc::PROT_EXEC,
        };
        let size = (section.size as usize).next_multiple_of(0x1000);
        self.protect_range(section.rva as usize, size, access)
    }

    fn protect_range(&self, offset: usize, size: usize, access: i32) -> io::Result<()> {
        let size = size.min(self.size.saturating_sub(offset));
        let start = with_exposed_provenance_mut(self.address.wrapping_add(offset));
        // SAFETY: the range is page-aligned and inside the mapping, which is ours alone.
        let result = unsafe { libc::mprotect(start, size, access) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start = with_exposed_provenance_mut(self.address);
        // SAFETY: mapped in `new` with this size, unmapped once, and nothing borrows it.
        unsafe { libc::munmap(start, self.size) };
    }
}
