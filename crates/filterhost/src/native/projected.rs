//! A projected file system's filter: acknowledges the redirection ECP with USER_MODE, or with any
//! flags that a later system may know.

use std::any::Any;
use std::sync::Arc;

use crate::fltmgr::ecp;
use crate::fltmgr::{NativeFilter, Pre};
use crate::layout::{
    CREATE_REDIRECTION_FLAGS_SERVICED_FROM_USER_MODE, FLT_CALLBACK_DATA,
    GUID_ECP_CREATE_REDIRECTION, IRP_MJ_CREATE,
};
use crate::machine::Machine;
use crate::volume::Request;

/// Says of every open that a user-mode provider serves it.
pub struct Projected {
    altitude: String,
    flags: u16,
}

impl Projected {
    /// A filter at this altitude (189800 is that of ProjFS).
    #[must_use]
    pub fn new(altitude: &str) -> Self {
        Self::with(altitude, CREATE_REDIRECTION_FLAGS_SERVICED_FROM_USER_MODE)
    }

    /// One that answers with these flags.
    #[must_use]
    pub fn with(altitude: &str, flags: u16) -> Self {
        Self {
            altitude: altitude.to_owned(),
            flags,
        }
    }
}

impl NativeFilter for Projected {
    fn altitude(&self) -> &str {
        &self.altitude
    }

    fn name(&self) -> &str {
        "projected files"
    }

    fn pre(&self, _m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        if Request::new(data).major() == IRP_MJ_CREATE {
            Pre::WithCallback(Box::new(()))
        } else {
            Pre::NoCallback
        }
    }

    fn post(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA, _context: Box<dyn Any + Send>) {
        let packet = ecp::of_data(m, data);
        let found = packet.and_then(|packet| packet.find(m, GUID_ECP_CREATE_REDIRECTION));
        let Some(ecp) = found.filter(|ecp| ecp.size() >= 4) else {
            return;
        };
        let mut bytes = ecp.bytes();
        let flags = self.flags.to_le_bytes();
        for (to, from) in bytes.iter_mut().skip(2).zip(flags) {
            *to |= from;
        }
        ecp.write(&bytes);
        ecp.set_acknowledged(true);
    }
}
