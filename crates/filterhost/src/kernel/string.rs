//! Counted strings.

use crate::crash;
use crate::exports;
use crate::exports::Call;
use crate::layout::{ANSI_STRING, UNICODE_STRING};
use crate::memory;
use crate::pool::Request;
use crate::status::{
    NTSTATUS, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER, STATUS_NAME_TOO_LONG, STATUS_SUCCESS,
};
use crate::verifier;

/// The tag of strings that the run-time library allocates.
const STRING_TAG: u32 = u32::from_le_bytes(*b"Strg");
/// Longest counted string with a terminator, in bytes.
const LENGTH_MAX: usize = 0xfffe;

/// The units of a counted string; none for a null pointer.
#[must_use]
pub fn units(string: *const UNICODE_STRING) -> Vec<u16> {
    if string.is_null() {
        return Vec::new();
    }
    let string = memory::read(string);
    let count = usize::from(string.length / 2);
    (0..count)
        .map(|at| memory::read(string.buffer.wrapping_add(at)))
        .collect()
}

/// The text of a counted string, with what is no UTF-16 replaced.
#[must_use]
pub fn text(string: *const UNICODE_STRING) -> String {
    String::from_utf16_lossy(&units(string))
}

/// Upper case as the run-time library knows it: one unit for one unit.
#[must_use]
pub fn upcase(unit: u16) -> u16 {
    let Some(letter) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
        _ => unit,
    }
}

fn downcase(unit: u16) -> u16 {
    let Some(letter) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut lower = letter.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
        _ => unit,
    }
}

fn folded(string: *const UNICODE_STRING, ignore_case: u8) -> Vec<u16> {
    let mut all = units(string);
    if ignore_case != 0 {
        all.iter_mut().for_each(|unit| *unit = upcase(*unit));
    }
    all
}

/// A string in pool memory that its user frees with `RtlFreeUnicodeString`; `None` without memory.
pub(super) fn allocate_string(c: &Call<'_>, content: &[u16]) -> Option<UNICODE_STRING> {
    let length = content.len().checked_mul(2)?;
    let maximum = length
        .checked_add(2)
        .filter(|size| *size <= LENGTH_MAX + 1)?;
    let buffer = allocate(c, maximum)?.cast::<u16>();
    put_units(buffer, content);
    memory::write(buffer.wrapping_add(content.len()), 0);
    Some(UNICODE_STRING {
        length: u16::try_from(length).ok()?,
        maximum_length: u16::try_from(maximum).ok()?,
        buffer,
    })
}

fn allocate(c: &Call<'_>, size: usize) -> Option<*mut u8> {
    if c.m.faults().allocation() {
        return None;
    }
    let stack = crash::addresses(c.m, c.thread);
    let request = Request {
        size,
        tag: STRING_TAG,
        paged: true,
        stack,
        ..Request::default()
    };
    c.m.pool()
        .allocate(request)
        .map(std::ptr::with_exposed_provenance_mut)
}

fn put_units(to: *mut u16, content: &[u16]) {
    for (at, unit) in content.iter().enumerate() {
        memory::write(to.wrapping_add(at), *unit);
    }
}

fn free(c: &Call<'_>, buffer: *mut u8) {
    if !buffer.is_null()
        && let Err(error) = c.m.pool().free(buffer.addr(), STRING_TAG)
    {
        c.violation(error.rule(), error);
    }
}

/// Appends units as far as `string` has room for all of them.
fn append(string: *mut UNICODE_STRING, content: &[u16]) -> NTSTATUS {
    let mut fields = memory::read(string);
    let bytes = content.len().saturating_mul(2);
    let total = usize::from(fields.length).saturating_add(bytes);
    if total > usize::from(fields.maximum_length) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    put_units(
        fields.buffer.wrapping_add(usize::from(fields.length / 2)),
        content,
    );
    fields.length = u16::try_from(total).unwrap_or(fields.length);
    memory::write(string, fields);
    if total + 2 <= usize::from(fields.maximum_length) {
        memory::write(fields.buffer.wrapping_add(total / 2), 0);
    }
    STATUS_SUCCESS
}

fn initialize(string: *mut UNICODE_STRING, source: *const u16) -> NTSTATUS {
    let length = if source.is_null() {
        0
    } else {
        memory::wide_string(source).len() * 2
    };
    if length > LENGTH_MAX - 2 {
        return STATUS_NAME_TOO_LONG;
    }
    let maximum = if source.is_null() { 0 } else { length + 2 };
    memory::write(
        string,
        UNICODE_STRING {
            length: u16::try_from(length).unwrap_or(0),
            maximum_length: u16::try_from(maximum).unwrap_or(0),
            buffer: source.cast_mut(),
        },
    );
    STATUS_SUCCESS
}

fn compare(one: &[u16], two: &[u16]) -> i32 {
    let differs = one.iter().zip(two).find(|(one, two)| one != two);
    match differs {
        Some((one, two)) => i32::from(*one) - i32::from(*two),
        None => i32::try_from(one.len()).unwrap_or(0) - i32::try_from(two.len()).unwrap_or(0),
    }
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// Points a counted string at a terminated one.
    [ANY, 0, "wdm/nf-wdm-rtlinitunicodestring"]
    fn RtlInitUnicodeString(c, string: *mut UNICODE_STRING, source: *const u16) {
        if initialize(string, source) != STATUS_SUCCESS {
            let detail = "the text is longer than a counted string can be";
            c.violation(&verifier::lifetime::TEXT_LENGTH, detail);
        }
    }

    /// Points a counted string at a terminated one, unless that is too long.
    [ANY, 0, "wdm/nf-wdm-wdmlibrtlinitunicodestringex"]
    fn RtlInitUnicodeStringEx(_c, string: *mut UNICODE_STRING, source: *const u16) -> NTSTATUS {
        initialize(string, source)
    }

    /// Points a counted 8-bit string at a terminated one.
    [ANY, 0, "wdm/nf-wdm-rtlinitansistring"]
    fn RtlInitAnsiString(_c, string: *mut ANSI_STRING, source: *const u8) {
        let length = if source.is_null() { 0 } else { memory::c_string(source).len() };
        let length = u16::try_from(length).unwrap_or(u16::MAX - 1).min(u16::MAX - 1);
        let maximum_length = if source.is_null() { 0 } else { length + 1 };
        memory::write(string, ANSI_STRING { length, maximum_length, buffer: source.cast_mut() });
    }

    /// Copies as much as there is room for.
    [ANY, 0, "wdm/nf-wdm-rtlcopyunicodestring"]
    fn RtlCopyUnicodeString(_c, to: *mut UNICODE_STRING, from: *const UNICODE_STRING) {
        let mut fields = memory::read(to);
        let mut content = units(from);
        content.truncate(usize::from(fields.maximum_length / 2));
        put_units(fields.buffer, &content);
        fields.length = u16::try_from(content.len() * 2).unwrap_or(0);
        memory::write(to, fields);
        if fields.length + 2 <= fields.maximum_length {
            memory::write(fields.buffer.wrapping_add(content.len()), 0);
        }
    }

    /// Appends a counted string, all of it or nothing.
    [ANY, 0, "wdm/nf-wdm-rtlappendunicodestringtostring"]
    fn RtlAppendUnicodeStringToString(
        _c, to: *mut UNICODE_STRING, from: *const UNICODE_STRING,
    ) -> NTSTATUS {
        append(to, &units(from))
    }

    /// Appends a terminated string, all of it or nothing.
    [ANY, 0, "wdm/nf-wdm-rtlappendunicodetostring"]
    fn RtlAppendUnicodeToString(_c, to: *mut UNICODE_STRING, from: *const u16) -> NTSTATUS {
        if from.is_null() {
            return STATUS_SUCCESS;
        }
        append(to, &memory::wide_string(from))
    }

    /// Compares: below, at or above 0.
    [PASSIVE, 0, "wdm/nf-wdm-rtlcompareunicodestring"]
    fn RtlCompareUnicodeString(
        _c, one: *const UNICODE_STRING, two: *const UNICODE_STRING, ignore_case: u8,
    ) -> i32 {
        compare(&folded(one, ignore_case), &folded(two, ignore_case))
    }

    /// Whether two strings are equal.
    [PASSIVE, 0, "wdm/nf-wdm-rtlequalunicodestring"]
    fn RtlEqualUnicodeString(
        _c, one: *const UNICODE_STRING, two: *const UNICODE_STRING, ignore_case: u8,
    ) -> u8 {
        u8::from(folded(one, ignore_case) == folded(two, ignore_case))
    }

    /// Whether the first string begins the second.
    [PASSIVE, 0, "ntddk/nf-ntddk-rtlprefixunicodestring"]
    fn RtlPrefixUnicodeString(
        _c, prefix: *const UNICODE_STRING, string: *const UNICODE_STRING, ignore_case: u8,
    ) -> u8 {
        u8::from(folded(string, ignore_case).starts_with(&folded(prefix, ignore_case)))
    }

    /// Upper case of one unit.
    [APC, 0, "wdm/nf-wdm-rtlupcaseunicodechar"]
    fn RtlUpcaseUnicodeChar(_c, unit: u16) -> u16 {
        upcase(unit)
    }

    /// Lower case of one unit.
    [PASSIVE, 0, "wdm/nf-wdm-rtldowncaseunicodechar"]
    fn RtlDowncaseUnicodeChar(_c, unit: u16) -> u16 {
        downcase(unit)
    }

    /// Copies in upper case, into a new buffer when asked.
    [APC, 0, "ntddk/nf-ntddk-rtlupcaseunicodestring"]
    fn RtlUpcaseUnicodeString(
        c, to: *mut UNICODE_STRING, from: *const UNICODE_STRING, new_buffer: u8,
    ) -> NTSTATUS {
        let upper = folded(from, 1);
        if new_buffer != 0 {
            let Some(string) = allocate_string(c, &upper) else {
                return STATUS_INSUFFICIENT_RESOURCES;
            };
            memory::write(to, string);
            return STATUS_SUCCESS;
        }
        let mut fields = memory::read(to);
        if upper.len() * 2 > usize::from(fields.maximum_length) {
            return STATUS_BUFFER_OVERFLOW;
        }
        put_units(fields.buffer, &upper);
        fields.length = u16::try_from(upper.len() * 2).unwrap_or(0);
        memory::write(to, fields);
        STATUS_SUCCESS
    }

    /// Frees a buffer that the library allocated, and empties the string.
    [APC, 0, "wdm/nf-wdm-rtlfreeunicodestring"]
    fn RtlFreeUnicodeString(c, string: *mut UNICODE_STRING) {
        free(c, memory::read(string).buffer.cast());
        memory::fill(string.cast(), 0, size_of::<UNICODE_STRING>());
    }

    /// Frees a buffer that the library allocated, and empties the string.
    [APC, 0, "wdm/nf-wdm-rtlfreeansistring"]
    fn RtlFreeAnsiString(c, string: *mut ANSI_STRING) {
        free(c, memory::read(string).buffer);
        memory::fill(string.cast(), 0, size_of::<ANSI_STRING>());
    }

    /// Converts 8-bit text (taken as Latin-1), into a new buffer when asked.
    [PASSIVE, 0, "wdm/nf-wdm-rtlansistringtounicodestring"]
    fn RtlAnsiStringToUnicodeString(
        c, to: *mut UNICODE_STRING, from: *const ANSI_STRING, new_buffer: u8,
    ) -> NTSTATUS {
        let from = memory::read(from);
        let bytes = memory::read_bytes(from.buffer, usize::from(from.length));
        let wide: Vec<u16> = bytes.into_iter().map(u16::from).collect();
        if wide.len() * 2 > LENGTH_MAX {
            return STATUS_INVALID_PARAMETER;
        }
        if new_buffer != 0 {
            let Some(string) = allocate_string(c, &wide) else {
                return STATUS_INSUFFICIENT_RESOURCES;
            };
            memory::write(to, string);
            return STATUS_SUCCESS;
        }
        let mut fields = memory::read(to);
        if wide.len() * 2 + 2 > usize::from(fields.maximum_length) {
            return STATUS_BUFFER_OVERFLOW;
        }
        put_units(fields.buffer, &wide);
        memory::write(fields.buffer.wrapping_add(wide.len()), 0);
        fields.length = u16::try_from(wide.len() * 2).unwrap_or(0);
        memory::write(to, fields);
        STATUS_SUCCESS
    }

    /// Copies a string into a new buffer, with a terminator where the flags ask for one.
    [PASSIVE, 0, "ntifs/nf-ntifs-rtlduplicateunicodestring"]
    fn RtlDuplicateUnicodeString(
        c, _flags: u32, from: *const UNICODE_STRING, to: *mut UNICODE_STRING,
    ) -> NTSTATUS {
        let Some(string) = allocate_string(c, &units(from)) else {
            return STATUS_INSUFFICIENT_RESOURCES;
        };
        memory::write(to, string);
        STATUS_SUCCESS
    }
}
