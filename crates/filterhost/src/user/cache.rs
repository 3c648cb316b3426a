//! The lazy writer: what was written to the cache or to a view reaches the file system later, as
//! paging writes from a system thread.
//!
//! While a stream has dirty pages, the cache keeps a reference to one of its file objects, so that
//! one's close comes after the writing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::file_object::file_ref;
use super::operation::{Operation, Path, pointer};
use crate::layout::{FltReadWrite, IRP_MJ_WRITE, IRP_NOCACHE, IRP_PAGING_IO, IRP_WRITE_OPERATION};
use crate::machine::{self, Machine};
use crate::object::Object;
use crate::volume::Volume;
use crate::volume::stream::Stream;

/// Age at which dirty pages are written.
const LAZY_DELAY: Duration = Duration::from_secs(1);
/// FSRTL_CACHE_TOP_LEVEL_IRP.
const CACHE_TOP_LEVEL: usize = 2;
/// Largest paging write, in bytes.
const WRITE_BYTES_MAX: u64 = 1 << 20;

/// Streams with dirty pages, oldest first.
#[derive(Default)]
struct Cache {
    dirty: Mutex<Vec<Dirty>>,
    writer: Mutex<bool>,
}

struct Dirty {
    volume: Arc<Volume>,
    file: Arc<Object>,
    stream: Arc<Stream>,
}

/// Something was written through `file`: remembers its stream if it has dirty pages now.
pub fn written(m: &Arc<Machine>, volume: &Arc<Volume>, file: &Arc<Object>) {
    let Some(stream) = file_ref(file).and_then(|file| volume.stream_of(file)) else {
        return;
    };
    if stream.scb().dirty.is_empty() {
        return;
    }
    let cache = m.state::<Cache>();
    {
        let mut dirty = cache.dirty.lock();
        if dirty
            .iter()
            .any(|entry| Arc::ptr_eq(&entry.stream, &stream))
        {
            return;
        }
        file.reference();
        dirty.push(Dirty {
            volume: Arc::clone(volume),
            file: Arc::clone(file),
            stream,
        });
    }
    start_writer(m, &cache);
    m.sched().notify();
}

fn start_writer(m: &Arc<Machine>, cache: &Arc<Cache>) {
    let mut running = cache.writer.lock();
    if *running {
        return;
    }
    *running = true;
    drop(running);
    let (own, shared) = (Arc::clone(m), Arc::clone(cache));
    m.sched().spawn(m.system_process(), "lazy writer", move || {
        machine::current_thread().set_top_level_irp(CACHE_TOP_LEVEL);
        let ending = || own.is_ending().then_some(());
        while ending().is_none() {
            let work = || {
                (!shared.dirty.lock().is_empty())
                    .then_some(())
                    .or_else(ending)
            };
            // Without a deadline this ends only when there is something to write, or no more.
            let _work = own.sched().wait_until("dirty pages", None, work);
            let due = own.sched().now().after(LAZY_DELAY);
            if own.sched().wait_until("sleep", Some(due), ending).is_err() {
                settle(&own);
            }
        }
    });
}

/// Writes every dirty page now, on the calling thread.
pub fn settle(m: &Arc<Machine>) {
    let cache = m.state::<Cache>();
    loop {
        let next = {
            let mut dirty = cache.dirty.lock();
            if dirty.is_empty() {
                None
            } else {
                Some(dirty.remove(0))
            }
        };
        let Some(entry) = next else { return };
        write_back(m, &entry);
        entry.file.dereference(m);
    }
}

/// Writes the dirty pages of one file object's stream now.
pub fn flush(m: &Arc<Machine>, file: &Arc<Object>) {
    let cache = m.state::<Cache>();
    let wanted = file_ref(file).map(|file| file.get().fs_context);
    let found = {
        let mut dirty = cache.dirty.lock();
        let same =
            |entry: &Dirty| file_ref(&entry.file).map(|file| file.get().fs_context) == wanted;
        let at = dirty.iter().position(same);
        at.map(|at| dirty.remove(at))
    };
    if let Some(entry) = found {
        write_back(m, &entry);
        entry.file.dereference(m);
    }
}

/// The paging writes of one stream.
fn write_back(m: &Arc<Machine>, entry: &Dirty) {
    let ranges = merge(std::mem::take(&mut entry.stream.scb().dirty));
    for (from, to) in ranges {
        let mut at = from;
        while at < to {
            let end = to.min(at.saturating_add(WRITE_BYTES_MAX));
            write_range(m, entry, at, end);
            at = end;
        }
    }
}

fn write_range(m: &Arc<Machine>, entry: &Dirty, from: u64, to: u64) {
    let length = usize::try_from(to - from).unwrap_or(0);
    let mut data = vec![0; length];
    // A stream that was cut meanwhile has nothing left to write there.
    let Ok(count) = entry.stream.bytes.read(from, &mut data) else {
        return;
    };
    data.truncate(count);
    if data.is_empty() {
        return;
    }
    let operation = Operation::new(
        m,
        &entry.volume,
        None,
        Path::Irp,
        (IRP_MJ_WRITE, 0),
        &entry.file,
    );
    let parameters = FltReadWrite {
        length: u32::try_from(data.len()).unwrap_or(0),
        _0: 0,
        key: 0,
        _1: 0,
        byte_offset: i64::try_from(from).unwrap_or(i64::MAX),
        buffer: pointer(&mut data),
        mdl_address: core::ptr::null_mut(),
    };
    let flags = IRP_PAGING_IO | IRP_NOCACHE | IRP_WRITE_OPERATION;
    // A failed lazy write is lost data on Windows too; there is nobody to tell.
    let _status = operation.irp_flags(flags).parameters(parameters).send();
}

/// Whole pages, in order, without overlap.
fn merge(ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    let page = |value: u64| value / 4096 * 4096;
    let mut whole: Vec<(u64, u64)> = ranges
        .into_iter()
        .map(|(from, to)| (page(from), page(to.saturating_add(4095))))
        .collect();
    whole.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in whole {
        match merged.last_mut() {
            Some((_, end)) if *end >= from => *end = (*end).max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn dirty_ranges_become_whole_pages() {
        assert_eq!(merge(vec![(5000, 5001), (0, 1), (4096, 4097)]), [(0, 8192)]);
        assert_eq!(
            merge(vec![(0, 1), (8192, 8193)]),
            [(0, 4096), (8192, 12288)]
        );
    }
}
