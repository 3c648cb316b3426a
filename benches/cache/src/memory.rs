//! Bytes an entry: what the allocator gave, counted while a subject is filled.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::ours::Plain;
use crate::peers::{Avl, DashMap, Foyer, Locked, Moka, Papaya, Quick, SccCache, SccMap, Subject};
use crate::report::Report;
use crate::trace::key;

/// Counts while it is told to.
struct Counting;

static WATCHING: AtomicBool = AtomicBool::new(false);
static GIVEN: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if WATCHING.load(Relaxed) {
            GIVEN.fetch_add(layout.size(), Relaxed);
        }
        // SAFETY: the caller's promises are passed on with the call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if WATCHING.load(Relaxed) {
            GIVEN.fetch_sub(layout.size().min(GIVEN.load(Relaxed)), Relaxed);
        }
        // SAFETY: the caller's promises are passed on with the call.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn bytes_of<S: Subject>(entries: usize) -> f64 {
    GIVEN.store(0, Relaxed);
    WATCHING.store(true, Relaxed);
    let subject = S::with_capacity(entries);
    for number in 0..entries as u64 {
        subject.put(&key(number), 1);
    }
    WATCHING.store(false, Relaxed);
    GIVEN.load(Relaxed) as f64 / entries as f64
}

pub fn run(report: &mut Report, sizes: &[usize], peers: bool) {
    for entries in sizes {
        println!("\nbytes an entry, {entries} entries");
        let ours = Plain::with_capacity(*entries);
        let (sets, all) = ours.bytes();
        let (sets, all) = (sets as f64 / *entries as f64, all as f64 / *entries as f64);
        println!("  siloscan, four fifths full   {sets:.1} (with the volume table {all:.1})");
        report.gate("bytes an entry", "at most", sets, 40.1, sets <= 40.1);
        if peers {
            let all = [
                (Papaya::NAME, bytes_of::<Papaya>(*entries)),
                (SccMap::NAME, bytes_of::<SccMap>(*entries)),
                (DashMap::NAME, bytes_of::<DashMap>(*entries)),
                (Locked::NAME, bytes_of::<Locked>(*entries)),
                (Quick::NAME, bytes_of::<Quick>(*entries)),
                (SccCache::NAME, bytes_of::<SccCache>(*entries)),
                (Moka::NAME, bytes_of::<Moka>(*entries)),
                (Foyer::NAME, bytes_of::<Foyer>(*entries)),
                (Avl::NAME, bytes_of::<Avl>(*entries)),
            ];
            for (name, bytes) in all {
                println!("  {name:<28} {bytes:.1}");
            }
        }
    }
}
