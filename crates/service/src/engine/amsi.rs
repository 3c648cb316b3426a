//! AMSI beside another engine: whatever antivirus is registered with Windows is asked for what the
//! other one does not find. It has been compiled, and has not run.
#![expect(
    unsafe_code,
    reason = "AMSI is a handful of system calls on raw handles"
)]

use std::path::Path;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use windows_sys::Win32::System::Antimalware::{
    AMSI_RESULT_BLOCKED_BY_ADMIN_END, AMSI_RESULT_BLOCKED_BY_ADMIN_START, AMSI_RESULT_DETECTED,
    AmsiCloseSession, AmsiInitialize, AmsiOpenSession, AmsiScanBuffer, AmsiUninitialize,
    HAMSICONTEXT, HAMSISESSION,
};

use super::{Digest, EngineError, EngineKind, Finding, Packed, Scanner};

/// Origin and rule of what AMSI finds: it tells no names.
const AMSI_ORIGIN: &str = "AMSI";
/// By this name the antivirus knows who asks.
const APPLICATION: &str = "siloscand";

/// Another engine, and AMSI for what that does not find.
pub struct WithAmsi {
    first: Arc<dyn EngineKind>,
}

impl WithAmsi {
    /// Asks `first`, then the antivirus that is registered with Windows.
    #[must_use]
    pub fn new(first: Arc<dyn EngineKind>) -> Self {
        Self { first }
    }
}

impl EngineKind for WithAmsi {
    /// AMSI does not tell the version of the antivirus behind it, so an update of its signatures
    /// moves no epoch.
    fn pack(&self, folder: Option<&Path>) -> Packed {
        let mut packed = self.first.pack(folder);
        let hash = Sha256::new_with_prefix(b"siloscan with AMSI 1").chain_update(packed.digest.0);
        packed.computes = false;
        packed.digest = Digest(hash.finalize().into());
        packed
    }

    fn unpack(&self, packed: &[u8]) -> Result<Box<dyn Scanner>, String> {
        Ok(Box::new(Both {
            first: self.first.unpack(packed)?,
            amsi: Amsi::new()?,
        }))
    }

    fn look(&self, folder: Option<&Path>) -> String {
        self.first.look(folder)
    }
}

struct Both {
    first: Box<dyn Scanner>,
    amsi: Amsi,
}

impl Scanner for Both {
    fn scan(&mut self, bytes: &[u8], limit: Option<Duration>) -> Result<Finding, EngineError> {
        let first = self.first.scan(bytes, limit)?;
        if first != Finding::Clean || bytes.is_empty() {
            return Ok(first);
        }
        self.amsi.scan(bytes)
    }
}

/// A connection to AMSI. It cannot be interrupted: a scan that takes too long ends with its
/// process.
struct Amsi {
    context: HAMSICONTEXT,
}

impl Amsi {
    fn new() -> Result<Self, String> {
        let name: Vec<u16> = APPLICATION.encode_utf16().chain([0]).collect();
        let mut context: HAMSICONTEXT = ptr::null_mut();
        // SAFETY: the name ends in zero, and the place for the context is ours.
        let done = unsafe { AmsiInitialize(name.as_ptr(), &raw mut context) };
        if done < 0 {
            return Err(format!(
                "AMSI does not begin ({done:#010x}); register an antivirus, or leave --amsi out"
            ));
        }
        Ok(Self { context })
    }

    fn scan(&self, bytes: &[u8]) -> Result<Finding, EngineError> {
        let failed = |what: &str, code: i32| {
            EngineError::Failed(format!("AMSI cannot {what} ({code:#010x})"))
        };
        let length = u32::try_from(bytes.len()).map_err(|_| failed("take so large a file", 0))?;
        let mut session: HAMSISESSION = ptr::null_mut();
        // SAFETY: the context is ours and open, and so is the place for the session.
        let done = unsafe { AmsiOpenSession(self.context, &raw mut session) };
        if done < 0 {
            return Err(failed("open a session", done));
        }
        let mut result = 0;
        // SAFETY: the bytes are as many as is said and only read; context and session are open; a
        // name is not needed, and the place for the result is ours.
        let done = unsafe {
            AmsiScanBuffer(
                self.context,
                bytes.as_ptr().cast(),
                length,
                ptr::null(),
                session,
                &raw mut result,
            )
        };
        // SAFETY: the session was opened above and nobody uses it afterwards.
        unsafe { AmsiCloseSession(self.context, session) };
        if done < 0 {
            return Err(failed("scan this", done));
        }
        let blocked = AMSI_RESULT_BLOCKED_BY_ADMIN_START..=AMSI_RESULT_BLOCKED_BY_ADMIN_END;
        if result >= AMSI_RESULT_DETECTED || blocked.contains(&result) {
            return Ok(Finding::Infected {
                rule: format!("AMSI_{result}"),
                origin: AMSI_ORIGIN.to_owned(),
            });
        }
        Ok(Finding::Clean)
    }
}

impl Drop for Amsi {
    fn drop(&mut self) {
        // SAFETY: this value owns the context and is about to go, so nobody uses it afterwards.
        unsafe { AmsiUninitialize(self.context) };
    }
}
