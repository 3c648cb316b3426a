//! A filter that sends every create round once more, with the same name.

use std::sync::Arc;

use crate::fltmgr::ecp;
use crate::fltmgr::{NativeFilter, Pre};
use crate::layout::{FILE_OPEN_BY_FILE_ID, FLT_CALLBACK_DATA, GUID, IRP_MJ_CREATE};
use crate::machine::Machine;
use crate::status::STATUS_REPARSE;
use crate::user::file_object::FileHost;
use crate::volume::{Request, Volume};

/// Marks a create that was sent round already.
const MARK: GUID = GUID::from_u128(0x93c1_77d2_5e0b_4f6a_8a3d_1c2b_64f0_9d17);

/// Answers STATUS_REPARSE to the first pass of every open by name.
pub struct Reissue {
    altitude: String,
    volume: Arc<Volume>,
}

impl Reissue {
    /// A filter at this altitude for this volume.
    #[must_use]
    pub fn new(altitude: &str, volume: &Arc<Volume>) -> Self {
        Self {
            altitude: altitude.to_owned(),
            volume: Arc::clone(volume),
        }
    }
}

impl NativeFilter for Reissue {
    fn altitude(&self) -> &str {
        &self.altitude
    }

    fn name(&self) -> &str {
        "reissue"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        let request = Request::new(data);
        let Ok(file) = request.file() else {
            return Pre::NoCallback;
        };
        let plain = request.major() == IRP_MJ_CREATE
            && request.create().options & FILE_OPEN_BY_FILE_ID == 0
            && file.related().is_none()
            && !file.name_bytes().is_empty();
        let packet = ecp::of_data(m, data).filter(|_| plain);
        let Some(packet) = packet.filter(|packet| packet.find(m, MARK).is_none()) else {
            return Pre::NoCallback;
        };
        let object = m.objects().find(file.address());
        let host = object.as_ref().and_then(|object| object.host::<FileHost>());
        let Some((object, host)) = object.as_ref().zip(host) else {
            return Pre::NoCallback;
        };
        if packet.add(m, MARK, &[1; 8], false).is_none() {
            return Pre::NoCallback;
        }
        let mut name: Vec<u16> = self.volume.device_name().encode_utf16().collect();
        name.extend_from_slice(&file.name());
        host.set_name(object, &name);
        request.finish(STATUS_REPARSE, 0);
        Pre::Complete
    }
}
