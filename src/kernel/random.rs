//! Secret words, once per load: what outsiders can choose (file ids) is hashed with them.
#![expect(unsafe_code, reason = "calls a routine whose address was looked up")]

use super::{irql, routine};
use crate::sys::{Guid, NTSTATUS};

type CreateUuid = unsafe extern "system" fn(*mut Guid) -> NTSTATUS;

/// Four words of the system's random numbers. Where the system does not give them hashes can be
/// guessed, which costs speed under attack and no correctness. The clock is not mixed in: this
/// runs before the filter is registered, when nothing may be called that Wine lacks.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn words() -> [u64; 4] {
    irql::passive();
    let [a, b] = uuid();
    let [c, d] = uuid();
    [a, b, c, d]
}

fn uuid() -> [u64; 2] {
    let Some(address) = routine::kernel(routine::name!("ExUuidCreate")) else {
        return [0; 2];
    };
    // SAFETY: the kernel exports a routine of this name with this signature only.
    let routine: CreateUuid = unsafe { core::mem::transmute(address) };
    let mut uuid = Guid {
        data1: 0,
        data2: 0,
        data3: 0,
        data4: [0; 8],
    };
    // SAFETY: the output outlives the call; the level is PASSIVE_LEVEL.
    let _local_ones_serve_as_well = unsafe { routine(&raw mut uuid) };
    let value = u128::from_le_bytes(uuid.to_bytes());
    [value as u64, (value >> 64) as u64]
}
