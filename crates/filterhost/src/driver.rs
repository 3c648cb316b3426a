//! Drivers: an image is loaded, its `DriverEntry` is called, and later it is unloaded.
#![expect(
    unsafe_code,
    reason = "entry point and unload routine of a driver are called here"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::image::{Image, Images, LoadError};
use crate::irql;
use crate::layout::{DRIVER_OBJECT, UNICODE_STRING};
use crate::machine::{self, Machine};
use crate::memory::{self, Block};
use crate::object::{KernelObject, Kind, Object};
use crate::registry::{SERVICES, Value};
use crate::status::{NtStatus, STATUS_INVALID_DEVICE_REQUEST, STATUS_SUCCESS};
use crate::{exports, kernel, record, verifier};

/// `IO_TYPE_DRIVER`.
const DRIVER_TYPE: i16 = 4;

/// What to load and how its service is set up.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The image file; its PDB is looked for beside it.
    pub image: PathBuf,
    /// Name of the service, which names the registry key too.
    pub service: String,
    /// Registry values: key relative to the service key (empty for itself), name, value.
    pub values: Vec<(String, String, Value)>,
}

impl LoadOptions {
    /// The image at `image` as the service `service`, without values of its own.
    #[must_use]
    pub fn new(image: impl Into<PathBuf>, service: &str) -> Self {
        Self {
            image: image.into(),
            service: service.to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds a registry value below the service key.
    #[must_use]
    pub fn value(mut self, key: &str, name: &str, value: Value) -> Self {
        self.values.push((key.to_owned(), name.to_owned(), value));
        self
    }

    /// Adds what an INF sets up for a minifilter's only instance: `Instances` with its default,
    /// altitude and flags. The same keys go under `Parameters`, where newer builds look.
    #[must_use]
    pub fn instance(mut self, name: &str, altitude: &str) -> Self {
        for top in ["", r"Parameters\"] {
            let key = format!("{top}Instances");
            let own = format!(r"{key}\{name}");
            self = self
                .value(&key, "DefaultInstance", Value::string(name))
                .value(&own, "Altitude", Value::string(altitude))
                .value(&own, "Flags", Value::dword(0));
        }
        self
    }

    /// Adds what an INF's service section sets up for a minifilter of this load order group.
    #[must_use]
    pub fn group(self, group: &str) -> Self {
        self.value("", "Type", Value::dword(2))
            .value("", "Group", Value::string(group))
            .value("", "DependOnService", Value::strings(&["FltMgr"]))
    }
}

/// Called instead of the driver's own unload routine; an error refuses the unload.
pub type UnloadHook = Arc<dyn Fn(&Arc<Machine>) -> NtStatus + Send + Sync>;

/// A driver that was loaded.
pub struct Driver {
    service: String,
    image: Arc<Image>,
    object: OnceLock<usize>,
    pool_mark: u64,
    strings: Block,
    unload_hook: Mutex<Option<UnloadHook>>,
    unloaded: Mutex<bool>,
}

/// How tests hold a loaded driver.
pub type DriverHandle = Arc<Driver>;

impl KernelObject for Driver {
    fn kind(&self) -> Kind {
        Kind::Driver
    }
}

/// The drivers of one machine, in order of loading.
#[derive(Default)]
pub struct Drivers {
    list: Mutex<Vec<Arc<Driver>>>,
}

impl Drivers {
    /// All drivers that are loaded.
    #[must_use]
    pub fn loaded(&self) -> Vec<Arc<Driver>> {
        let list = self.list.lock();
        list.iter()
            .filter(|driver| !driver.is_unloaded())
            .cloned()
            .collect()
    }

    /// The loaded driver whose image holds `address`.
    #[must_use]
    pub fn at(&self, address: usize) -> Option<Arc<Driver>> {
        let list = self.list.lock();
        list.iter()
            .find(|driver| driver.image.contains(address))
            .cloned()
    }
}

impl Machine {
    /// Loads a driver and calls its `DriverEntry` on the calling simulated thread.
    ///
    /// # Errors
    /// [`LoadError`]: file, image, missing imports (all of them), or what `DriverEntry` returned.
    pub fn load_driver(self: &Arc<Self>, options: &LoadOptions) -> Result<DriverHandle, LoadError> {
        let key = self.registry().service(&options.service);
        for (path, name, value) in &options.values {
            key.create(path).set(name, value.clone());
        }
        let image = Arc::new(self.load_image(&options.image)?);
        self.state::<Images>().add(image.clone());
        self.paging().add(&image);
        record::watch(self, &image, &options.image);
        let driver = Driver::new(self, options, image.clone());
        self.state::<Drivers>().list.lock().push(driver.clone());
        let status = driver.call_entry(self);
        if status.is_success() {
            return Ok(driver);
        }
        driver.finish(self);
        Err(LoadError::Entry {
            image: image.name().to_owned(),
            status,
        })
    }

    fn load_image(&self, path: &Path) -> Result<Image, LoadError> {
        let data = std::fs::read(path).map_err(|cause| LoadError::File {
            path: path.to_owned(),
            cause,
        })?;
        let name = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let pdb = Some(path.with_extension("pdb")).filter(|pdb| pdb.is_file());
        Image::load(&name, &data, pdb, |module, name| {
            kernel::resolve(self, module, name)
        })
    }
}

impl Driver {
    fn new(m: &Arc<Machine>, options: &LoadOptions, image: Arc<Image>) -> Arc<Self> {
        let service = &options.service;
        let texts = [
            format!(r"{SERVICES}\{service}"),
            format!(r"\FileSystem\{service}"),
            service.clone(),
        ];
        let strings = Block::zeroed(0x200 + texts.iter().map(|text| text.len() * 2).sum::<usize>());
        let mut at = strings.address() + 0x100;
        for (index, text) in texts.iter().enumerate() {
            let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let length = u16::try_from(units.len()).unwrap_or(u16::MAX);
            let buffer = std::ptr::with_exposed_provenance_mut::<u16>(at);
            memory::write_bytes(buffer.cast(), &units);
            let string = UNICODE_STRING {
                length,
                maximum_length: length,
                buffer,
            };
            memory::write(
                strings.pointer::<UNICODE_STRING>().wrapping_add(index),
                string,
            );
            at += units.len().next_multiple_of(16);
        }
        let driver = Arc::new(Self {
            service: service.clone(),
            image,
            object: OnceLock::new(),
            pool_mark: m.pool().mark(),
            strings,
            unload_hook: Mutex::new(None),
            unloaded: Mutex::new(false),
        });
        driver.make_object(m);
        driver
    }

    fn make_object(self: &Arc<Self>, m: &Arc<Machine>) {
        /// Offset of the `DRIVER_EXTENSION` in the strings' block.
        const EXTENSION: usize = 0x80;
        let string = |index: usize| self.strings.pointer::<UNICODE_STRING>().wrapping_add(index);
        let object = m.objects().create(Kind::Driver.body_size(), self.clone());
        let body = object.pointer().cast::<DRIVER_OBJECT>();
        let mut fields = memory::read(body);
        fields.kind = DRIVER_TYPE;
        fields.size = 0x150;
        fields.driver_start = std::ptr::with_exposed_provenance_mut(self.image.base());
        fields.driver_size = u32::try_from(self.image.size()).unwrap_or(0);
        fields.driver_init = std::ptr::with_exposed_provenance_mut(self.image.entry());
        fields.driver_name = memory::read(string(1));
        let extension = self.strings.pointer::<u8>().wrapping_add(EXTENSION);
        fields.driver_extension = extension.cast();
        memory::write(body, fields);
        // DRIVER_EXTENSION: the driver object, AddDevice, Count, ServiceKeyName.
        memory::write(extension.cast::<usize>(), object.address());
        memory::write(extension.wrapping_add(0x18).cast(), memory::read(string(2)));
        self.object.get_or_init(|| object.address());
    }

    fn call_entry(&self, m: &Arc<Machine>) -> NtStatus {
        type Entry = extern "win64" fn(*mut DRIVER_OBJECT, *mut UNICODE_STRING) -> NtStatus;
        let object: *mut DRIVER_OBJECT =
            std::ptr::with_exposed_provenance_mut(self.object_address());
        // SAFETY: the entry point lies in an executable section of a mapped driver image.
        let entry = unsafe { std::mem::transmute::<usize, Entry>(self.image.entry()) };
        debug_assert!(!m.is_over());
        exports::callback("DriverEntry", || entry(object, self.strings.pointer()))
    }

    /// Name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Address of the `DRIVER_OBJECT`.
    #[must_use]
    pub fn object_address(&self) -> usize {
        self.object.get().copied().unwrap_or(0)
    }

    /// The driver object.
    #[must_use]
    pub fn object(&self, m: &Machine) -> Option<Arc<Object>> {
        m.objects().find(self.object_address())
    }

    /// Makes `hook` stand for the driver's unload routine, as `FltRegisterFilter` does.
    pub fn set_unload_hook(&self, hook: Option<UnloadHook>) {
        *self.unload_hook.lock() = hook;
    }

    /// True once the driver is gone.
    #[must_use]
    pub fn is_unloaded(&self) -> bool {
        *self.unloaded.lock()
    }

    /// Unloads the driver on the calling simulated thread, and checks that it left nothing.
    ///
    /// # Errors
    /// The status with which it refused; `STATUS_INVALID_DEVICE_REQUEST` when it has no unload
    /// routine.
    pub fn unload(&self) -> Result<(), NtStatus> {
        type Unload = extern "win64" fn(*mut DRIVER_OBJECT);
        let m = machine::current();
        let hook = self.unload_hook.lock().clone();
        if let Some(hook) = hook {
            hook(&m).ok()?;
        } else {
            let object: *mut DRIVER_OBJECT =
                std::ptr::with_exposed_provenance_mut(self.object_address());
            let routine = memory::read(object).driver_unload;
            if routine.is_null() {
                return Err(STATUS_INVALID_DEVICE_REQUEST);
            }
            // SAFETY: the driver stored this address as its unload routine.
            let unload = unsafe { std::mem::transmute::<*mut core::ffi::c_void, Unload>(routine) };
            exports::callback("DriverUnload", || unload(object));
        }
        self.finish(&m);
        STATUS_SUCCESS.ok()
    }

    /// Checks what the driver left behind and takes its image away.
    fn finish(&self, m: &Arc<Machine>) {
        *self.unloaded.lock() = true;
        verifier::unload::check(m, &self.image, self.pool_mark);
        if let Some(object) = self.object(m) {
            object.dereference(m);
        }
        debug_assert!(machine::current_thread().irql() <= irql::DISPATCH);
        if let Err(cause) = self.image.retire() {
            verifier::stop(
                "host-unmap",
                format!("cannot unmap {}: {cause}", self.image.name()),
            );
        }
    }
}
