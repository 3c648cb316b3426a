//! What `ntoskrnl.exe` and `hal.dll` export, one file for each family.

pub mod apc;
pub mod crt;
pub mod data;
pub mod debug;
pub mod dispatcher;
pub mod etw;
pub mod event;
pub mod file;
pub mod format;
pub mod guid;
pub mod handles;
pub mod irp;
pub mod key;
pub mod level;
pub mod mdl;
pub mod notify;
pub mod pool;
pub mod resource;
pub mod rundown;
pub mod silo;
pub mod spinlock;
pub mod string;
pub mod system;
pub mod thread;
pub mod time;
pub(crate) mod user;
pub mod wait;

use crate::exports;
use crate::machine::Machine;

/// The address that a driver's import of `module!name` is bound to on this machine.
#[must_use]
pub fn resolve(m: &Machine, module: &str, name: &str) -> Option<usize> {
    if !m.has_export(name) {
        return None;
    }
    let function = exports::find(module, name, m.build_number()).map(exports::address);
    function.or_else(|| data::address(m, module, name))
}
