//! Windows structures as a driver image sees them (x64).
//!
//! This is the host's own declaration: it is written from Microsoft's documentation pages and
//! shares no line with the driver's, so that a test can compare the two. Type names are those of
//! the Windows headers, field names are in Rust's style. Every structure asserts its size and the
//! offsets that a driver reads, at compile time.

use core::ffi::c_void;

mod base;
mod callback;
pub mod constants;
mod ecp;
mod file_info;
mod io;
mod name;
mod parameters;
mod process;
mod registration;
mod volume_info;

pub use base::*;
pub use callback::*;
pub use constants::*;
pub use ecp::*;
pub use file_info::*;
pub use io::*;
pub use name::*;
pub use parameters::*;
pub use process::*;
pub use registration::*;
pub use volume_info::*;

/// A pointer to something that this layer does not describe.
pub type PVOID = *mut c_void;

/// The kernel's result code. Negative values are warnings and errors.
pub type NTSTATUS = i32;

/// A handle as drivers see it: a number in pointer's clothing.
pub type HANDLE = PVOID;

/// Asserts a structure's size and the offsets of its fields at compile time.
macro_rules! layout {
    ($ty:ty, $size:expr $(, $field:ident = $off:expr)* $(,)?) => {
        const _: () = assert!(core::mem::size_of::<$ty>() == $size);
        $(const _: () = assert!(core::mem::offset_of!($ty, $field) == $off);)*
    };
}
pub(crate) use layout;

/// Declares structures that are plain memory: C layout, copyable, and zero is a valid value.
macro_rules! plain {
    ($($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* })*) => {$(
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy)]
        #[expect(missing_docs, reason = "fields are those of the Windows structure")]
        pub struct $name { $($body)* }

        impl Zeroed for $name {}
    )*};
}
pub(crate) use plain;

/// Types for which all-zero bytes are a valid value: integers, raw pointers, `Option<fn>`.
///
/// Implemented only in this module tree, by the macro that declares such structures.
pub trait Zeroed: Copy {
    /// A value whose bytes are all zero.
    #[expect(
        unsafe_code,
        reason = "zeroed memory is a valid value of each implementor"
    )]
    fn zeroed() -> Self {
        // SAFETY: implementors hold only integers, raw pointers and optional functions.
        unsafe { core::mem::zeroed() }
    }
}

macro_rules! zeroed {
    ($($ty:ty),*) => { $(impl Zeroed for $ty {})* };
}
zeroed!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
impl<T> Zeroed for *mut T {}
impl<T> Zeroed for *const T {}
