//! Names of the object manager: which volume a whole path means, and what is left below it.

use std::sync::Arc;

use super::file_object::{FileHost, file_ref};
use super::open::CreateRequest;
use crate::machine::Machine;
use crate::status::{NtStatus, STATUS_OBJECT_PATH_NOT_FOUND};
use crate::volume::name::text;
use crate::volume::request::to_units;
use crate::volume::{Volume, Volumes};

/// A volume and a name below it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The volume.
    pub volume: Arc<Volume>,
    /// The name, with its first backslash.
    pub name: Vec<u16>,
}

/// Resolves `\Device\HarddiskVolumeN\…` and `\??\Volume{…}\…`.
///
/// # Errors
/// `OBJECT_PATH_NOT_FOUND` if no mounted volume has that name.
pub fn resolve_absolute(m: &Arc<Machine>, name: &[u16]) -> Result<Place, NtStatus> {
    let whole = text(name);
    let volumes = m.state::<Volumes>().all();
    for volume in volumes {
        let mut heads = vec![volume.device_name().to_owned()];
        if let Some(guid) = volume.guid() {
            heads.push(format!("\\??\\Volume{guid}"));
            heads.push(format!("\\\\?\\Volume{guid}"));
            heads.push(format!("\\GLOBAL??\\Volume{guid}"));
        }
        for head in heads {
            let Some(start) = whole.get(..head.len()) else {
                continue;
            };
            let rest = whole.get(head.len()..).unwrap_or("");
            if start.eq_ignore_ascii_case(&head) && (rest.is_empty() || rest.starts_with('\\')) {
                let name = rest.encode_utf16().collect();
                return Ok(Place { volume, name });
            }
        }
    }
    Err(STATUS_OBJECT_PATH_NOT_FOUND)
}

/// The whole name of a create below its volume, a relative one put together with where it starts.
#[must_use]
pub fn full_name(request: &CreateRequest) -> Vec<u16> {
    let own = to_units(&request.name);
    let Some(related) = &request.related else {
        return own;
    };
    let host = related.host::<FileHost>();
    let open = file_ref(related).zip(host).and_then(|(file, host)| {
        let open = host.volume().fs().open_of(file)?;
        let space = host.volume().fs().space();
        Some(space.path(open.node, open.link()))
    });
    let mut whole = open.unwrap_or_default();
    if whole.last() != Some(&u16::from(b'\\')) && !own.is_empty() {
        whole.push(u16::from(b'\\'));
    }
    whole.extend_from_slice(&own);
    whole
}
