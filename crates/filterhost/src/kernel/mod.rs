//! What `ntoskrnl.exe` and `hal.dll` export, one file for each family.

pub mod time;
