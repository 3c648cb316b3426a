//! Driver images: checked, mapped, bound to the host's functions, unwound and symbolised.

mod map;
mod parse;
mod ranges;
mod symbols;
mod unwind;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

pub(crate) use map::Mapping;
pub use parse::{ImageError, Import, Plan, Protection, Section};
pub(crate) use ranges::{in_armed_image, is_in_image};
pub(crate) use symbols::{code_of, functions, writes_of};
pub use unwind::Registers;
pub(crate) use unwind::walk;

use crate::coverage;
use crate::verifier::Frame;

/// Why an image could not be made ready to run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The image is damaged or not for this host.
    #[error("{image}: {cause}")]
    Image {
        /// Name of the image.
        image: String,
        /// What is wrong.
        cause: ImageError,
    },
    /// The host does not provide all that the image imports.
    #[error("{image} imports what the host does not provide: {}", missing.join(", "))]
    Missing {
        /// Name of the image.
        image: String,
        /// All missing names, each as `module!function`.
        missing: Vec<String>,
    },
    /// The system gave no memory, or refused a protection.
    #[error("cannot map {image}: {cause}")]
    Memory {
        /// Name of the image.
        image: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The driver's own entry point failed.
    #[error("DriverEntry of {image} returned {status}")]
    Entry {
        /// Name of the image.
        image: String,
        /// What it returned.
        status: crate::status::NtStatus,
    },
}

/// An image that is mapped and bound.
pub struct Image {
    name: String,
    plan: Plan,
    mapping: Mapping,
    pdb: Option<PathBuf>,
    unloaded: AtomicBool,
    _range: ranges::Registered,
}

impl Image {
    /// Maps the image in `data` and binds its imports to the addresses that `resolve` gives.
    ///
    /// # Errors
    /// [`LoadError`]; when names are missing, all of them are listed.
    pub fn load(
        name: &str,
        data: &[u8],
        pdb: Option<PathBuf>,
        mut resolve: impl FnMut(&str, &str) -> Option<usize>,
    ) -> Result<Self, LoadError> {
        let image = || name.to_owned();
        let plan = Plan::parse(data).map_err(|cause| LoadError::Image {
            image: image(),
            cause,
        })?;
        let mut missing = Vec::new();
        let mut bound = Vec::new();
        for import in &plan.imports {
            match resolve(&import.module, &import.name) {
                Some(address) => bound.push((import.slot, address)),
                None => missing.push(format!("{}!{}", import.module, import.name)),
            }
        }
        if !missing.is_empty() {
            missing.sort();
            return Err(LoadError::Missing {
                image: image(),
                missing,
            });
        }
        let memory = |cause| LoadError::Memory {
            image: image(),
            cause,
        };
        let mapping = Mapping::new(&plan, data).map_err(memory)?;
        for (slot, address) in bound {
            mapping.write(slot, &address.to_le_bytes());
        }
        if let Some(cookie) = plan.cookie {
            mapping.write(cookie, &0x0000_5eed_c001_d00d_u64.to_le_bytes());
        }
        let armed = coverage::arm(&mapping, data);
        mapping.protect(&plan).map_err(memory)?;
        let range = ranges::register(mapping.address(), mapping.size(), armed);
        Ok(Self {
            name: name.to_owned(),
            plan,
            mapping,
            pdb,
            unloaded: AtomicBool::new(false),
            _range: range,
        })
    }

    /// The image's file name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mapped.
    #[must_use]
    pub fn base(&self) -> usize {
        self.mapping.address()
    }

    /// Its size in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.mapping.size()
    }

    /// Address of its entry point.
    #[must_use]
    pub fn entry(&self) -> usize {
        self.base().wrapping_add(self.plan.entry as usize)
    }

    /// How it was mapped.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// True when `address` is inside.
    #[must_use]
    pub fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.base()) < self.size()
    }

    /// True once the driver was unloaded.
    #[must_use]
    pub fn is_unloaded(&self) -> bool {
        self.unloaded.load(Ordering::Acquire)
    }

    /// Takes the pageable sections away, or gives them back; false once the image is unloaded.
    pub(crate) fn set_paged_out(&self, out: bool) -> bool {
        if self.is_unloaded() {
            return false;
        }
        for section in self
            .plan
            .sections
            .iter()
            .filter(|section| section.is_pageable())
        {
            let done = self.mapping.set_paged_out(section, out);
            debug_assert!(done.is_ok(), "the section was protected before");
        }
        true
    }

    /// Takes all access away, so that a late call into the image faults. The addresses stay
    /// reserved until the machine ends.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn retire(&self) -> std::io::Result<()> {
        self.unloaded.store(true, Ordering::Release);
        self.mapping.close()
    }

    pub(crate) fn bytes(&self, rva: u32, size: usize) -> &[u8] {
        self.mapping.bytes(rva, size)
    }

    /// Functions and lines of addresses inside, inlined functions first.
    #[must_use]
    pub fn frames(&self, addresses: &[usize]) -> Vec<Vec<Frame>> {
        let pdb = self.pdb.as_deref().unwrap_or(Path::new(""));
        symbols::frames(&self.name, self.base(), pdb, addresses)
    }
}

/// The images of one machine, unloaded ones included.
#[derive(Default)]
pub struct Images {
    list: Mutex<Vec<Arc<Image>>>,
}

impl Images {
    pub(crate) fn add(&self, image: Arc<Image>) {
        self.list.lock().push(image);
    }

    /// The image that holds `address`, loaded or not.
    #[must_use]
    pub fn at(&self, address: usize) -> Option<Arc<Image>> {
        self.list
            .lock()
            .iter()
            .find(|image| image.contains(address))
            .cloned()
    }

    /// Whether `address` is in a pageable section of an image.
    pub(crate) fn is_paged(&self, address: usize) -> bool {
        let image = self.at(address);
        image.is_some_and(|image| {
            let rva = address - image.base();
            let holds = |it: &&Section| rva.wrapping_sub(it.rva as usize) < it.size as usize;
            let section = image.plan.sections.iter().find(holds);
            section.is_some_and(Section::is_pageable)
        })
    }

    /// All images, in order of loading.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Image>> {
        self.list.lock().clone()
    }

    /// Turns addresses into frames: symbolised where they are in an image.
    #[must_use]
    pub fn describe(&self, addresses: &[usize]) -> Vec<Frame> {
        let mut frames = Vec::new();
        for address in addresses {
            match self.at(*address) {
                Some(image) => {
                    frames.extend(image.frames(&[*address]).into_iter().flatten());
                }
                None => frames.push(Frame {
                    module: "?".to_owned(),
                    address: *address,
                    function: None,
                    line: None,
                }),
            }
        }
        frames
    }
}
