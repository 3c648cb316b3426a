//! Volumes: an in-memory file system that looks to a filter like those of Windows.
//!
//! [`name`] to [`namespace`] are plain data structures; [`fs`] is the file system that answers
//! callback data at the bottom of the filter stack; [`Volume`] is what the Filter Manager attaches
//! instances to.

pub mod bytes;
pub mod disk;
mod filtered;
pub mod fs;
pub mod ids;
pub mod import;
pub mod kind;
pub mod locks;
mod memfd;
pub mod name;
pub mod namespace;
pub mod node;
pub mod oplock;
pub mod request;
pub mod scb;
pub mod section;
pub mod share;
mod short;
pub mod stack;
pub mod stream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

pub use self::disk::Disk;
pub use self::fs::{FsOptions, MemFs};
pub use self::import::{ImportError, Imported};
pub use self::kind::FsKind;
pub use self::request::{FileRef, Request};
pub use self::section::SectionBytes;
pub use self::stream::Stream;
pub use memfd::raise_file_limit;

use crate::layout::{FLT_CALLBACK_DATA, GUID, PVOID};
use crate::machine::Machine;
use crate::object::{KernelObject, Kind, Object};
use crate::status::NtStatus;

/// How a volume is to be.
#[derive(Clone, Debug)]
pub struct VolumeOptions {
    /// Its file system.
    pub kind: FsKind,
    /// The volume GUID; none is a volume that the mount manager does not know (yet).
    pub guid: Option<GUID>,
    /// Write-protected, whatever the kind.
    pub read_only: bool,
    /// Mapped writes do not pass the I/O stack.
    pub dax: bool,
}

/// A mounted volume.
pub struct Volume {
    number: u32,
    device_name: String,
    guid: Mutex<Option<GUID>>,
    fs: MemFs,
    device: Arc<Object>,
    disk: Option<(Arc<Object>, Arc<Disk>)>,
    data_scan: AtomicBool,
    tells_dismount: AtomicBool,
}

/// The device object of a volume.
struct VolumeDevice;

impl KernelObject for VolumeDevice {
    fn kind(&self) -> Kind {
        Kind::Device
    }
}

/// All volumes of one machine.
#[derive(Default)]
pub struct Volumes {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    mounted: Vec<Arc<Volume>>,
    /// The same by the addresses of their device objects: asked for at each open.
    by_device: BTreeMap<usize, Arc<Volume>>,
    next: u32,
}

impl Volume {
    /// Mounts an empty volume.
    pub fn mount(m: &Arc<Machine>, options: &VolumeOptions) -> Arc<Self> {
        let volumes = m.state::<Volumes>();
        let fs = MemFs::new(FsOptions {
            kind: options.kind,
            serial: m.sched().random() | 1,
            read_only: options.read_only,
            dax: options.dax,
            now: m.sched().system_time(),
        });
        let device = m
            .objects()
            .create(Kind::Device.body_size(), Arc::new(VolumeDevice));
        let disk = (!options.kind.is_network()).then(|| {
            let disk = Arc::new(Disk::default());
            let object = m.objects().create(Kind::Device.body_size(), disk.clone());
            (object, disk)
        });
        let mut list = volumes.list.lock();
        list.next += 1;
        let number = list.next;
        let device_name = if options.kind.is_network() {
            "\\Device\\Mup".to_owned()
        } else {
            format!("\\Device\\HarddiskVolume{number}")
        };
        let guid = Mutex::new(options.guid);
        let tells_dismount = AtomicBool::new(fs.serial() & 4 != 0);
        let volume = Arc::new(Self {
            number,
            device_name,
            guid,
            fs,
            device,
            disk,
            data_scan: AtomicBool::new(options.kind.data_scan()),
            tells_dismount,
        });
        list.mounted.push(Arc::clone(&volume));
        list.by_device
            .insert(volume.device.address(), Arc::clone(&volume));
        volume
    }

    /// Mounts a volume with a GUID from the machine's random numbers and the usual properties.
    pub fn mount_kind(m: &Arc<Machine>, kind: FsKind) -> Arc<Self> {
        let guid = random_guid(m);
        let guid = (!kind.is_network()).then_some(guid);
        Self::mount(
            m,
            &VolumeOptions {
                kind,
                guid,
                read_only: false,
                dax: false,
            },
        )
    }

    /// Carries out an operation at the bottom of the stack; sets and gives its status.
    pub fn perform(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> NtStatus {
        self.fs.dispatch(m, self, Request::new(data))
    }

    /// The file system.
    #[must_use]
    pub fn fs(&self) -> &MemFs {
        &self.fs
    }

    /// The kind of file system.
    #[must_use]
    pub fn kind(&self) -> FsKind {
        self.fs.fs_kind()
    }

    /// Number of the volume, counted from 1 in the order of mounting.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The name of its device, such as `\Device\HarddiskVolume3`.
    #[must_use]
    pub fn device_name(&self) -> &str {
        &self.device_name
    }

    /// The volume GUID, if the mount manager knows the volume.
    #[must_use]
    pub fn guid(&self) -> Option<GUID> {
        *self.guid.lock()
    }

    /// The mount manager gets to know the volume, or forgets it.
    pub fn set_guid(&self, guid: Option<GUID>) {
        *self.guid.lock() = guid;
    }

    /// The volume serial number.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.fs.serial()
    }

    /// True for volumes that live on another machine.
    #[must_use]
    pub fn is_network(&self) -> bool {
        self.kind().is_network()
    }

    /// True if nothing can be written.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.fs.is_read_only()
    }

    /// True if mapped writes do not pass the I/O stack.
    #[must_use]
    pub fn is_dax(&self) -> bool {
        self.fs.is_dax()
    }

    /// True if sections for a data scan can be made.
    #[must_use]
    pub fn supports_data_scan(&self) -> bool {
        self.data_scan.load(Ordering::Relaxed)
    }

    /// The Filter Manager does not support data scans for this volume. No page says which volumes
    /// that are, so any may be one; said before the volume is used first.
    pub fn refuse_data_scan(&self) {
        self.data_scan.store(false, Ordering::Relaxed);
    }

    /// Whether filters get `IRP_MJ_VOLUME_DISMOUNT` before their instances are torn down. Pages
    /// name the operation and say no more, so a volume does either, as its serial number has it.
    /// <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/ns-fltkernel-_flt_parameters>
    #[must_use]
    pub fn tells_dismount(&self) -> bool {
        self.tells_dismount.load(Ordering::Relaxed)
    }

    /// Says whether filters get it.
    pub fn tell_dismount(&self, tell: bool) {
        self.tells_dismount.store(tell, Ordering::Relaxed);
    }

    /// The device object.
    #[must_use]
    pub fn device_object(&self) -> &Arc<Object> {
        &self.device
    }

    /// The device object of the disk below; none for a volume of another machine.
    #[must_use]
    pub fn disk_object(&self) -> Option<&Arc<Object>> {
        self.disk.as_ref().map(|(object, _)| object)
    }

    /// The disk below.
    #[must_use]
    pub fn disk(&self) -> Option<&Disk> {
        self.disk.as_ref().map(|(_, disk)| &**disk)
    }

    /// The device object as drivers see it.
    #[must_use]
    pub fn device_pointer(&self) -> PVOID {
        self.device.pointer()
    }

    /// The stream that a file object of this volume has open.
    #[must_use]
    pub fn stream_of(&self, file: FileRef) -> Option<Arc<Stream>> {
        self.fs.open_of(file).map(|open| Arc::clone(&open.stream))
    }

    /// Fills the directory `at` (made if need be) from a host folder, copy-on-write.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub fn import_folder(&self, at: &str, folder: &Path) -> Result<Imported, ImportError> {
        self.fs.import(at, folder)
    }
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Volume({} {:?})", self.device_name, self.kind())
    }
}

impl Volumes {
    /// All mounted volumes, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Volume>> {
        self.list.lock().mounted.clone()
    }

    /// The volume with this GUID, oldest first if there are several.
    #[must_use]
    pub fn by_guid(&self, guid: GUID) -> Option<Arc<Volume>> {
        self.all()
            .into_iter()
            .find(|volume| volume.guid() == Some(guid))
    }

    /// The volume with this device name, compared without case.
    #[must_use]
    pub fn by_device_name(&self, name: &str) -> Option<Arc<Volume>> {
        self.all()
            .into_iter()
            .find(|volume| volume.device_name.eq_ignore_ascii_case(name))
    }

    /// The volume whose device object is at `address`.
    #[must_use]
    pub fn by_device(&self, address: usize) -> Option<Arc<Volume>> {
        self.list.lock().by_device.get(&address).cloned()
    }

    /// The volume that an opened file object belongs to.
    #[must_use]
    pub fn of_file(&self, file: FileRef) -> Option<Arc<Volume>> {
        self.by_device(file.get().device_object.addr())
    }

    /// The stream whose file objects have this `SectionObjectPointer`, if one is open.
    #[must_use]
    pub fn stream_of_sections(&self, section_pointers: usize) -> Option<Arc<Stream>> {
        let of = |volume: Arc<Volume>| volume.fs().stream_of_sections(section_pointers);
        self.all().into_iter().find_map(of)
    }

    pub(crate) fn remove(&self, volume: &Arc<Volume>) {
        let mut list = self.list.lock();
        list.mounted.retain(|other| !Arc::ptr_eq(other, volume));
        list.by_device.remove(&volume.device.address());
    }
}

/// A GUID from the machine's random numbers, of version 4.
pub fn random_guid(m: &Arc<Machine>) -> GUID {
    let (high, low) = (m.sched().random(), m.sched().random());
    let value = u128::from(high) << 64 | u128::from(low);
    let version = value & !(0xf << 76) | 4 << 76;
    GUID::from_u128(version & !(3 << 62) | 2 << 62)
}

#[cfg(test)]
mod model_test;
