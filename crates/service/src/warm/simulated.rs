//! The files of a simulated machine: opens go through its filters.

use std::time::Duration;

use filterhost::status::{
    NtStatus, STATUS_CANCELLED, STATUS_DELETE_PENDING, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_PATH_NOT_FOUND,
};
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::fs::control::FSCTL_REQUEST_OPLOCK;

use super::{Entry, GIVE_WAY, Tree, Trouble};

/// `STATUS_VIRUS_INFECTED`.
const STATUS_VIRUS_INFECTED: NtStatus = NtStatus(0xC000_0906_u32.cast_signed());
/// `FILE_ATTRIBUTE_DIRECTORY`.
const DIRECTORY: u32 = 0x10;

/// Pause between two tries to cancel an open that has perhaps not begun to wait yet.
const CANCEL_AGAIN: Duration = Duration::from_millis(1);

/// The files as a process of the machine sees them. Only its threads may use it.
pub struct SimulatedTree<'a>(pub &'a Process);

impl Tree for SimulatedTree<'_> {
    type Place = String;

    fn list(&self, folder: &String) -> Result<Vec<Entry<String>>, Trouble> {
        let file = self
            .0
            .open(&OpenOptions::new(folder).list())
            .map_err(trouble)?;
        let listing = file.list("*");
        file.close().map_err(trouble)?;
        let entries = listing.map_err(trouble)?.into_iter();
        let entries = entries.filter(|entry| entry.name != "." && entry.name != "..");
        let entries = entries.map(|entry| Entry {
            place: format!(r"{folder}\{}", entry.name),
            is_folder: entry.attributes & DIRECTORY != 0,
        });
        Ok(entries.collect())
    }

    fn open(&self, file: &String) -> Result<(), Trouble> {
        // As on Windows: attributes alone, an oplock, and the open proper on another thread.
        let watch = self.0.open(&OpenOptions::new(file)).map_err(trouble)?;
        let granted = watch.control(FSCTL_REQUEST_OPLOCK, &[], 0).is_ok();
        let wanted = OpenOptions::new(file).read();
        let opener = self.0.spawn("open", move |p| p.open(&wanted)?.close());
        let sched = self.0.machine().sched();
        let broken = || granted && watch.is_oplock_breaking();
        let over = || (opener.is_finished() || broken()).then_some(());
        // Without a deadline this ends only with one of the two.
        let _over = sched.wait_until("an open", None, over);
        let gives_way = broken();
        while !opener.is_finished() {
            opener.cancel_io();
            sched.sleep(CANCEL_AGAIN);
        }
        let opened = opener.join();
        watch.close().map_err(trouble)?;
        if gives_way {
            sched.sleep(GIVE_WAY);
        }
        opened.map_err(trouble)
    }

    fn show(&self, place: &String) -> String {
        place.clone()
    }
}

fn trouble(status: NtStatus) -> Trouble {
    match status {
        STATUS_VIRUS_INFECTED => Trouble::Infected,
        STATUS_OBJECT_NAME_NOT_FOUND
        | STATUS_OBJECT_PATH_NOT_FOUND
        | STATUS_DELETE_PENDING
        | STATUS_CANCELLED => Trouble::Gone,
        other => Trouble::Failed(format!("{other:?}")),
    }
}
