//! Registry keys by handle.

use std::sync::Arc;

use super::handles::give_handle;
use super::string::text;
use crate::driver::Driver;
use crate::exports;
use crate::exports::Call;
use crate::layout::{OBJECT_ATTRIBUTES, UNICODE_STRING};
use crate::memory;
use crate::object::{Handle, Kind};
use crate::registry::{Key, Value};
use crate::status::{
    NTSTATUS, NtStatus, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_INVALID_PARAMETER,
    STATUS_OBJECT_NAME_INVALID, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_PATH_SYNTAX_BAD,
    STATUS_SUCCESS,
};

/// `KEY_QUERY_VALUE`.
const QUERY_VALUE: u32 = 1;
/// `KEY_SET_VALUE`.
const SET_VALUE: u32 = 2;
/// `KEY_ALL_ACCESS`: what generic rights and `MAXIMUM_ALLOWED` come to.
const ALL_ACCESS: u32 = 0xf_003f;
/// `KEY_READ`.
const READ: u32 = 0x2_0019;
/// Generic rights and `MAXIMUM_ALLOWED`, all of which are granted in full.
const BROAD: u32 = 0x5200_0000;
const GENERIC_READ: u32 = 0x8000_0000;

fn granted(access: u32) -> u32 {
    let broad = if access & BROAD != 0 { ALL_ACCESS } else { 0 };
    let read = if access & GENERIC_READ != 0 { READ } else { 0 };
    access | broad | read
}

/// Finds (or makes) the key that object attributes name.
fn find(
    c: &Call<'_>,
    attributes: *const OBJECT_ATTRIBUTES,
    create: bool,
) -> Result<(Arc<Key>, bool), NtStatus> {
    if attributes.is_null() {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let attributes = memory::read(attributes);
    if attributes.length as usize != size_of::<OBJECT_ATTRIBUTES>() {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let path = text(attributes.object_name);
    let root = attributes.root_directory.addr();
    let start = if root == 0 {
        if !path.starts_with('\\') {
            return Err(STATUS_OBJECT_PATH_SYNTAX_BAD);
        }
        c.m.registry().find("")
    } else {
        if path.starts_with('\\') {
            return Err(STATUS_OBJECT_PATH_SYNTAX_BAD);
        }
        Some(by_handle(c, root, 0)?)
    };
    let start = start.ok_or(STATUS_OBJECT_NAME_NOT_FOUND)?;
    if path.contains('\0') {
        return Err(STATUS_OBJECT_NAME_INVALID);
    }
    match start.find(&path) {
        Some(key) => Ok((key, false)),
        None if create => Ok((start.create(&path), true)),
        None => Err(STATUS_OBJECT_NAME_NOT_FOUND),
    }
}

fn by_handle(c: &Call<'_>, handle: Handle, access: u32) -> Result<Arc<Key>, NtStatus> {
    let process = c.thread.process();
    let object =
        c.m.objects()
            .by_handle(c.m, &process, handle, Some(Kind::Key), access)?;
    object
        .host::<OpenKey>()
        .map(|open| open.0.clone())
        .ok_or(STATUS_INVALID_HANDLE)
}

/// A key as a handle names it: a new object for each open.
struct OpenKey(Arc<Key>);

impl crate::object::KernelObject for OpenKey {
    fn kind(&self) -> Kind {
        Kind::Key
    }
}

fn open(
    c: &Call<'_>,
    out: *mut Handle,
    attributes: *const OBJECT_ATTRIBUTES,
    key: Arc<Key>,
    access: u32,
) -> NtStatus {
    let object =
        c.m.objects()
            .create(Kind::Key.body_size(), Arc::new(OpenKey(key)));
    let status = give_handle(c, out, attributes, &object, granted(access));
    object.dereference(c.m);
    status
}

/// The fixed part of an information class, and the variable part that follows it.
fn information(class: i32, name: &str, value: &Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let kind = value.kind.to_le_bytes();
    let length = u32::try_from(value.data.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes();
    let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let name_length = u32::try_from(units.len()).unwrap_or(u32::MAX).to_le_bytes();
    let none = [0_u8; 4];
    match class {
        // KeyValueBasicInformation: index, type, name length, name.
        0 => Some(([none, kind, name_length].concat(), units)),
        // KeyValueFullInformation: index, type, data offset, data length, name length, name, data.
        1 => {
            let offset = (20 + units.len()).next_multiple_of(8);
            let place = u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes();
            let mut rest = units;
            rest.resize(offset - 20, 0);
            rest.extend(&value.data);
            Some(([none, kind, place, length, name_length].concat(), rest))
        }
        // KeyValuePartialInformation: index, type, data length, data.
        2 => Some(([none, kind, length].concat(), value.data.clone())),
        _ => None,
    }
}

/// Writes as much as fits, as the information classes of the registry do.
fn give(parts: (Vec<u8>, Vec<u8>), buffer: *mut u8, length: u32, result: *mut u32) -> NtStatus {
    let (fixed, rest) = parts;
    let total = fixed.len().saturating_add(rest.len());
    memory::write(result, u32::try_from(total).unwrap_or(u32::MAX));
    let room = length as usize;
    if room < fixed.len() {
        return STATUS_BUFFER_TOO_SMALL;
    }
    memory::write_bytes(buffer, &fixed);
    let fits = rest.len().min(room - fixed.len());
    memory::write_bytes(
        buffer.wrapping_add(fixed.len()),
        rest.get(..fits).unwrap_or_default(),
    );
    if fits < rest.len() {
        STATUS_BUFFER_OVERFLOW
    } else {
        STATUS_SUCCESS
    }
}

fn service_key(c: &Call<'_>, driver: *const core::ffi::c_void, sub: &str) -> Option<Arc<Key>> {
    let driver = c.m.objects().host::<Driver, _>(driver)?;
    Some(c.m.registry().service(driver.service()).create(sub))
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Opens a key that exists.
    [PASSIVE, 0, "wdm/nf-wdm-zwopenkey", fails STATUS_INSUFFICIENT_RESOURCES]
    fn ZwOpenKey(
        c, out: *mut Handle, access: u32, attributes: *const OBJECT_ATTRIBUTES,
    ) -> NTSTATUS {
        match find(c, attributes, false) {
            Ok((key, _)) => open(c, out, attributes, key, access),
            Err(status) => status,
        }
    }

    /// Opens a key, made where it is missing.
    [PASSIVE, 0, "wdm/nf-wdm-zwcreatekey", fails STATUS_INSUFFICIENT_RESOURCES]
    fn ZwCreateKey(
        c, out: *mut Handle, access: u32, attributes: *const OBJECT_ATTRIBUTES, _index: u32,
        _class: *const UNICODE_STRING, _options: u32, disposition: *mut u32,
    ) -> NTSTATUS {
        let (key, created) = match find(c, attributes, true) {
            Ok(found) => found,
            Err(status) => return status,
        };
        if !disposition.is_null() {
            // REG_CREATED_NEW_KEY or REG_OPENED_EXISTING_KEY.
            memory::write(disposition, if created { 1 } else { 2 });
        }
        open(c, out, attributes, key, access)
    }

    /// Reads a value in one of its forms.
    [PASSIVE, 0, "wdm/nf-wdm-zwqueryvaluekey", fails STATUS_INSUFFICIENT_RESOURCES]
    fn ZwQueryValueKey(
        c, handle: Handle, name: *const UNICODE_STRING, class: i32, buffer: *mut u8, length: u32,
        result: *mut u32,
    ) -> NTSTATUS {
        let key = match by_handle(c, handle, QUERY_VALUE) {
            Ok(key) => key,
            Err(status) => return status,
        };
        let name = text(name);
        let Some(value) = key.value(&name) else { return STATUS_OBJECT_NAME_NOT_FOUND };
        match information(class, &name, &value) {
            Some(parts) => give(parts, buffer, length, result),
            None => STATUS_INVALID_PARAMETER,
        }
    }

    /// Sets a value.
    [PASSIVE, 0, "wdm/nf-wdm-zwsetvaluekey", fails STATUS_INSUFFICIENT_RESOURCES]
    fn ZwSetValueKey(
        c, handle: Handle, name: *const UNICODE_STRING, _index: u32, kind: u32, data: *const u8,
        size: u32,
    ) -> NTSTATUS {
        match by_handle(c, handle, SET_VALUE) {
            Ok(key) => {
                let data = memory::read_bytes(data, size as usize);
                key.set(&text(name), Value { kind, data });
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Opens a driver's own key: 0 `Parameters`, 1 its persistent state.
    [PASSIVE, 17134, "wdm/nf-wdm-ioopendriverregistrykey", fails STATUS_INSUFFICIENT_RESOURCES]
    fn IoOpenDriverRegistryKey(
        c, driver: *const core::ffi::c_void, kind: i32, access: u32, flags: u32, out: *mut Handle,
    ) -> NTSTATUS {
        if flags != 0 {
            return STATUS_INVALID_PARAMETER;
        }
        let sub = match kind {
            0 => "Parameters",
            1 => r"Persistent\State",
            _ => return STATUS_INVALID_PARAMETER,
        };
        let Some(key) = service_key(c, driver, sub) else { return STATUS_INVALID_PARAMETER };
        let object = c.m.objects().create(Kind::Key.body_size(), Arc::new(OpenKey(key)));
        let process = c.thread.process();
        let attributes = crate::object::OBJ_KERNEL_HANDLE;
        let access = granted(access);
        let handle = c.m.objects().open_handle(c.m, &process, &object, access, attributes);
        memory::write(out, handle);
        object.dereference(c.m);
        STATUS_SUCCESS
    }
}
