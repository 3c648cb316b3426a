//! Another antivirus that asks for the redirection ECP too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fltmgr::ecp;
use crate::fltmgr::{NativeFilter, Pre};
use crate::layout::{FLT_CALLBACK_DATA, GUID_ECP_CREATE_REDIRECTION, IRP_MJ_CREATE};
use crate::machine::Machine;
use crate::user::file_object::FileHost;
use crate::volume::Request;

/// Attaches a redirection ECP to the opens of silos before anybody below can.
pub struct OtherAntivirus {
    altitude: String,
    context: Vec<u8>,
    acknowledged: bool,
    attached: AtomicU64,
}

impl OtherAntivirus {
    /// One that follows the article: zeroed, Size set, not acknowledged.
    #[must_use]
    pub fn new(altitude: &str) -> Self {
        let mut context = vec![0; 0x24];
        if let Some(size) = context.first_mut() {
            *size = 0x24;
        }
        Self::with(altitude, context, false)
    }

    /// One that attaches exactly this context.
    #[must_use]
    pub fn with(altitude: &str, context: Vec<u8>, acknowledged: bool) -> Self {
        let attached = AtomicU64::new(0);
        Self {
            altitude: altitude.to_owned(),
            context,
            acknowledged,
            attached,
        }
    }

    /// How many creates got an ECP from it.
    #[must_use]
    pub fn attached(&self) -> u64 {
        self.attached.load(Ordering::Relaxed)
    }
}

impl NativeFilter for OtherAntivirus {
    fn altitude(&self) -> &str {
        &self.altitude
    }

    fn name(&self) -> &str {
        "another antivirus"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        let request = Request::new(data);
        if request.major() != IRP_MJ_CREATE {
            return Pre::NoCallback;
        }
        let host = request
            .file()
            .ok()
            .and_then(|file| m.objects().host::<FileHost, _>(file.raw()));
        let in_silo = host.is_some_and(|host| host.silo_parameters().is_some());
        let Some(packet) = ecp::of_data(m, data).filter(|_| in_silo) else {
            return Pre::NoCallback;
        };
        let added = packet.add(m, GUID_ECP_CREATE_REDIRECTION, &self.context, false);
        if let Some(ecp) = added {
            ecp.set_acknowledged(self.acknowledged);
            self.attached.fetch_add(1, Ordering::Relaxed);
        }
        Pre::NoCallback
    }
}
