//! The subset of `printf` formats that `DbgPrint` documents.

use std::fmt::Write as _;

use parking_lot::Mutex;

use super::string::units;
use crate::layout::{ANSI_STRING, UNICODE_STRING};
use crate::machine::Machine;
use crate::memory;

/// Longest message that is shown (the page says 512 bytes).
const TEXT_MAX: usize = 512;
/// Messages that are kept for reports and tests.
const KEPT_MAX: usize = 4096;

/// What drivers of one machine printed.
#[derive(Default)]
pub struct Messages {
    list: Mutex<Vec<String>>,
}

impl Messages {
    /// All messages so far, oldest first, at most the first 4,096.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.list.lock().clone()
    }
}

/// Formats a message and keeps it; shows it when `FILTERHOST_PRINT` is set.
pub fn print(m: &Machine, text: *const u8, arguments: &[u64]) {
    let text = memory::c_string(text);
    let message = format(&text, arguments);
    if std::env::var_os("FILTERHOST_PRINT").is_some() {
        eprintln!("{}", message.trim_end());
    }
    let messages = m.state::<Messages>();
    let mut list = messages.list.lock();
    if list.len() < KEPT_MAX {
        list.push(message);
    }
}

/// One directive: `%[flags][width][.precision][size]type`.
#[derive(Default)]
struct Directive {
    left: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    /// `I64`, `ll`, `p`: 64 bits; `l` and nothing are 32 bits on Windows.
    long: bool,
    wide: bool,
}

/// Formats `text` with `arguments`, each in a register-sized slot.
#[must_use]
pub fn format(text: &[u8], arguments: &[u64]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter().copied();
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            out.push(char::from(*first));
        } else if rest.first() == Some(&b'%') {
            out.push('%');
            rest = rest.get(1..).unwrap_or_default();
        } else {
            rest = one(rest, &mut arguments, &mut out);
        }
        if out.len() >= TEXT_MAX {
            break;
        }
    }
    out
}

fn one<'a>(
    mut rest: &'a [u8],
    arguments: &mut impl Iterator<Item = u64>,
    out: &mut String,
) -> &'a [u8] {
    let mut directive = Directive::default();
    let mut in_precision = false;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let digit = usize::from(first.wrapping_sub(b'0'));
        match first {
            b'-' => directive.left = true,
            b'#' => directive.alternate = true,
            b'0' if directive.width == 0 && !in_precision => directive.zero = true,
            b'.' => {
                in_precision = true;
                directive.precision = Some(0);
            }
            b'*' => {
                let value = usize::try_from(arguments.next().unwrap_or(0)).unwrap_or(0);
                if in_precision {
                    directive.precision = Some(value);
                } else {
                    directive.width = value.min(TEXT_MAX);
                }
            }
            b'0'..=b'9' if in_precision => {
                let value = directive.precision.unwrap_or(0).saturating_mul(10);
                directive.precision = Some(value.saturating_add(digit));
            }
            b'0'..=b'9' => {
                directive.width = directive.width.saturating_mul(10).saturating_add(digit);
            }
            b'l' if rest.first() == Some(&b'l') => directive.long = true,
            b'l' | b'w' => directive.wide = true,
            b'h' => directive.wide = false,
            b'I' if rest.starts_with(b"64") => {
                directive.long = true;
                rest = rest.get(2..).unwrap_or_default();
            }
            b'z' => directive.long = true,
            kind => {
                let text = directive.value(*kind, arguments.next().unwrap_or(0));
                directive.pad(&text, out);
                return rest;
            }
        }
    }
    rest
}

impl Directive {
    fn value(&self, kind: u8, argument: u64) -> String {
        let bits = if self.long {
            u64::MAX
        } else {
            u64::from(u32::MAX)
        };
        let number = argument & bits;
        let prefix = if self.alternate { "0x" } else { "" };
        match kind {
            b'd' | b'i' if self.long => argument.cast_signed().to_string(),
            b'd' | b'i' => (number as u32).cast_signed().to_string(),
            b'u' => number.to_string(),
            b'x' => format!("{prefix}{number:x}"),
            b'X' => format!("{prefix}{number:X}"),
            b'p' => format!("{argument:016X}"),
            b'c' => char::from(argument.to_le_bytes()[0]).to_string(),
            b's' if self.wide => self.cut(wide_text(argument)),
            b's' => self.cut(narrow_text(argument)),
            b'S' => self.cut(wide_text(argument)),
            b'Z' if self.wide => self.cut(counted_wide(argument)),
            b'Z' => self.cut(counted_narrow(argument)),
            other => format!("%{}", char::from(other)),
        }
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }

    fn pad(&self, text: &str, out: &mut String) {
        let width = self.width.min(TEXT_MAX);
        let written = if self.left {
            write!(out, "{text:<width$}")
        } else if self.zero {
            write!(out, "{text:0>width$}")
        } else {
            write!(out, "{text:>width$}")
        };
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
}

fn at<T>(address: u64) -> *const T {
    std::ptr::with_exposed_provenance(usize::try_from(address).unwrap_or(0))
}

fn narrow_text(address: u64) -> String {
    if address == 0 {
        return "(null)".to_owned();
    }
    String::from_utf8_lossy(&memory::c_string(at(address))).into_owned()
}

fn wide_text(address: u64) -> String {
    if address == 0 {
        return "(null)".to_owned();
    }
    String::from_utf16_lossy(&memory::wide_string(at(address)))
}

fn counted_wide(address: u64) -> String {
    if address == 0 {
        return "(null)".to_owned();
    }
    String::from_utf16_lossy(&units(at::<UNICODE_STRING>(address)))
}

fn counted_narrow(address: u64) -> String {
    if address == 0 {
        return "(null)".to_owned();
    }
    let string = memory::read(at::<ANSI_STRING>(address));
    let bytes = memory::read_bytes(string.buffer, usize::from(string.length));
    String::from_utf8_lossy(&bytes).into_owned()
}
