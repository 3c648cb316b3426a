//! GUIDs as text.

use crate::exports;
use crate::layout::{GUID, UNICODE_STRING};
use crate::memory;
use crate::status::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

use super::string::{allocate_string, units};

/// Length of `{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}`.
const TEXT_LENGTH: usize = 38;

/// Reads `{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}`; nothing may follow it.
#[must_use]
pub fn parse(text: &[u16]) -> Option<GUID> {
    let text: Vec<u8> = text
        .iter()
        .map(|unit| u8::try_from(*unit).unwrap_or(0))
        .collect();
    if text.len() != TEXT_LENGTH {
        return None;
    }
    let mut value = 0_u128;
    for (index, byte) in text.iter().enumerate() {
        let fixed = match index {
            0 => Some(b'{'),
            9 | 14 | 19 | 24 => Some(b'-'),
            37 => Some(b'}'),
            _ => None,
        };
        match fixed {
            Some(wanted) if wanted == *byte => {}
            Some(_) => return None,
            None => value = value << 4 | u128::from(char::from(*byte).to_digit(16)?),
        }
    }
    Some(GUID::from_u128(value))
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Reads a GUID from its text in braces.
    [PASSIVE, 0, "wdm/nf-wdm-rtlguidfromstring"]
    fn RtlGUIDFromString(_c, text: *const UNICODE_STRING, guid: *mut GUID) -> NTSTATUS {
        match parse(&units(text)) {
            Some(value) => {
                memory::write(guid, value);
                STATUS_SUCCESS
            }
            None => STATUS_INVALID_PARAMETER,
        }
    }

    /// Writes a GUID as text into a buffer that the caller frees with `RtlFreeUnicodeString`.
    [PASSIVE, 0, "wdm/nf-wdm-rtlstringfromguid", fails STATUS_INSUFFICIENT_RESOURCES]
    fn RtlStringFromGUID(c, guid: *const GUID, text: *mut UNICODE_STRING) -> NTSTATUS {
        let written = memory::read(guid).to_string().to_uppercase();
        let written: Vec<u16> = written.encode_utf16().collect();
        match allocate_string(c, &written) {
            Some(string) => {
                memory::write(text, string);
                STATUS_SUCCESS
            }
            None => STATUS_INSUFFICIENT_RESOURCES,
        }
    }
}
