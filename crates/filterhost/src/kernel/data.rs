//! Exported variables: object types, the build number.

use crate::machine::Machine;
use crate::memory::{self, Block};
use crate::object::Kind;

/// Exported variables that point to an object type, and the kind of object.
const TYPES: &[(&str, Kind)] = &[
    ("CmKeyObjectType", Kind::Key),
    ("ExEventObjectType", Kind::Event),
    ("IoDeviceObjectType", Kind::Device),
    ("IoDriverObjectType", Kind::Driver),
    ("IoFileObjectType", Kind::File),
    ("MmSectionObjectType", Kind::Section),
    ("PsJobType", Kind::Silo),
    ("PsProcessType", Kind::Process),
    ("PsThreadType", Kind::Thread),
];
/// Offset of `NtBuildNumber` in the block.
const BUILD_NUMBER: usize = 0x800;
/// Offset of the variables that point to types.
const POINTERS: usize = 0x400;
/// Bytes for each type object; their content is not documented and stays zero.
const TYPE_SIZE: usize = 0x40;

/// The variables of one machine.
struct Variables(Block);

impl Default for Variables {
    fn default() -> Self {
        let block = Block::zeroed(0x1000);
        for index in 0..TYPES.len() {
            let variable = block
                .pointer::<usize>()
                .wrapping_byte_add(POINTERS + index * 8);
            memory::write(variable, block.address() + index * TYPE_SIZE);
        }
        Self(block)
    }
}

/// Address of the exported variable `name` of `ntoskrnl.exe`.
#[must_use]
pub fn address(m: &Machine, module: &str, name: &str) -> Option<usize> {
    if !module.eq_ignore_ascii_case("ntoskrnl.exe") {
        return None;
    }
    let variables = m.state::<Variables>();
    if name == "NtBuildNumber" {
        let variable = variables.0.pointer::<u32>().wrapping_byte_add(BUILD_NUMBER);
        // The high nibble says that it is a free (not checked) build.
        memory::write(variable, m.build_number() | 0xf000_0000);
        return Some(variable.addr());
    }
    let index = TYPES.iter().position(|(own, _)| *own == name)?;
    Some(variables.0.address() + POINTERS + index * 8)
}

/// The kind of object that a type object stands for (`*PsProcessType`, say).
#[must_use]
pub fn kind_of_type(m: &Machine, object_type: usize) -> Option<Kind> {
    let variables = m.state::<Variables>();
    let offset = object_type.checked_sub(variables.0.address())?;
    let (_, kind) = TYPES.get(offset / TYPE_SIZE)?;
    offset.is_multiple_of(TYPE_SIZE).then_some(*kind)
}

/// Module and name of each exported variable.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let types = TYPES.iter().map(|(name, _)| ("ntoskrnl.exe", *name));
    types.chain([("ntoskrnl.exe", "NtBuildNumber")])
}
