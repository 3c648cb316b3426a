//! A program that hides an infected file from its scan: it locks it, lets it grow and cuts it,
//! moves it away, deletes it, makes it offline, a link, or another file under the same name.
//! Whatever it does, and when: an open is refused, or shows harmless bytes, or the policy let it
//! through and that was counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use filterhost::Mode;
use filterhost::status::NtStatus;
use filterhost::user::reparse::{TAG_SYMLINK, link_data};
use filterhost::user::{FileHandle, OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, Event};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::once;
use siloscan_worlds::gate::Gate;
use siloscan_worlds::scene::{containers, layer};
use siloscan_worlds::world::World;

use crate::{FILE, host};

const AWAY: &str = r"C:\away.bin";
const OTHER: &str = r"C:\other.bin";
/// So often at least, and until one open was scanned or `MOST_OPENS` were tried.
const OPENS: usize = 4;
const MOST_OPENS: usize = 200;

/// How it hides the file; each is done and undone again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    Lock,
    GrowAndCut,
    RenameAway,
    DeletePosix,
    DeletePending,
    Offline,
    Link,
    Swap,
}

const TRICKS: [Trick; 8] = [
    Trick::Lock,
    Trick::GrowAndCut,
    Trick::RenameAway,
    Trick::DeletePosix,
    Trick::DeletePending,
    Trick::Offline,
    Trick::Link,
    Trick::Swap,
];

/// The reparse data of a link to another file, as the control takes it.
fn link() -> Vec<u8> {
    let link = link_data(TAG_SYMLINK, "other.bin", true);
    let mut input = link.tag.to_le_bytes().to_vec();
    input.extend_from_slice(&u16::try_from(link.data.len()).unwrap_or(0).to_le_bytes());
    input.extend_from_slice(&[0; 2]);
    input.extend_from_slice(&link.data);
    input
}

/// Does a trick and undoes it. The file is infected whenever it is there under its name.
fn play(p: &Process, trick: Trick, held: &FileHandle) -> Result<(), NtStatus> {
    const OFFLINE: u32 = 0x1000;
    const RECALL_ON_DATA_ACCESS: u32 = 0x40_0000;
    const NORMAL: u32 = 0x80;
    const SET_REPARSE_POINT: u32 = 0x900a4;
    const DELETE_REPARSE_POINT: u32 = 0x900ac;
    let pause = || p.machine().sched().sleep(Duration::from_millis(4));
    let to_delete = || p.open(&OpenOptions::new(FILE).delete().open_reparse_point());
    match trick {
        Trick::Lock => {
            held.lock(0, 1, true)?;
            pause();
            held.unlock(0, 1)
        }
        Trick::GrowAndCut => {
            held.append(b"    ")?;
            pause();
            held.set_end_of_file(68)
        }
        Trick::RenameAway => {
            held.rename(AWAY, true)?;
            pause();
            held.rename(FILE, true)
        }
        Trick::DeletePosix => {
            let file = to_delete()?;
            file.delete_posix()?;
            file.close()?;
            pause();
            p.write_file(FILE, &eicar_test_file())
        }
        Trick::DeletePending => {
            let file = to_delete()?;
            file.delete()?;
            pause();
            file.undelete()?;
            file.close()
        }
        Trick::Offline => {
            held.set_attributes(OFFLINE | RECALL_ON_DATA_ACCESS)?;
            pause();
            held.set_attributes(NORMAL)
        }
        Trick::Link => {
            let mut remove = TAG_SYMLINK.to_le_bytes().to_vec();
            remove.extend_from_slice(&[0; 4]);
            held.control(SET_REPARSE_POINT, &link(), 0)?;
            pause();
            held.control(DELETE_REPARSE_POINT, &remove, 0).map(drop)
        }
        Trick::Swap => {
            let put = |bytes: &[u8]| {
                p.write_file(AWAY, bytes)?;
                let file = p.open(&OpenOptions::new(AWAY).delete())?;
                // Over a file that is open, and stays so.
                file.rename_posix(FILE)?;
                file.close()
            };
            put(b"clean")?;
            pause();
            put(&eicar_test_file())
        }
    }
}

/// A program plays a trick without end while another opens the file again and again. How often the
/// trick worked.
fn hide_and_seek(world: &World, trick: Trick, in_silo: bool, allowed: bool) -> u64 {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let user = match in_silo {
        true => containers[0].process("malware"),
        false => world.process("malware"),
    };
    let held = user.run(|p| {
        p.write_file(OTHER, b"clean").expect("a new file");
        let held = OpenOptions::new(FILE).read().write().delete();
        let held = p.open(&held.create_always()).expect("a new file");
        held.write_at(0, &eicar_test_file()).expect("writable");
        held
    });
    world.start_service(Gate::taking(Duration::from_millis(5)), 2);
    let (ended, played) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (end, count) = (Arc::clone(&ended), Arc::clone(&played));
    let hider = user.spawn("hide", move |p| {
        while !end.load(Ordering::SeqCst) {
            if play(p, trick, &held).is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
            p.machine().sched().sleep(Duration::from_millis(3));
        }
        held.close().expect("an open handle");
    });
    let mut shown = 0;
    // Where the file is hidden at every open, nothing is scanned and nothing shown: on.
    for times in 1..=MOST_OPENS {
        let read = user.run(|p| {
            let read = p.read_file(FILE);
            p.machine().sched().sleep(Duration::from_millis(2));
            read
        });
        let infected = read.is_ok_and(|bytes| bytes.starts_with(&eicar_test_file()));
        shown += u64::from(infected);
        if times >= OPENS && world.counts().get(Event::FlightStarted) > 0 {
            break;
        }
    }
    ended.store(true, Ordering::SeqCst);
    hider.join();
    let counts = world.counts();
    let by_policy = counts.get(AllowReason::EvasionAllowed);
    let named = counts.named();
    assert!(shown <= by_policy, "{trick:?}: {shown} shown, {named:?}");
    assert!(allowed || by_policy == 0, "{trick:?}: {named:?}");
    assert!(counts.get(Event::FlightStarted) > 0, "{trick:?}: {named:?}");
    containers[0].destroy();
    played.load(Ordering::SeqCst)
}

#[test]
fn i1_w3_a_file_that_is_hidden_from_its_scan_is_denied_or_harmless() {
    for trick in TRICKS {
        let played = Arc::new(AtomicU64::new(0));
        for (in_silo, choice) in [(true, 0), (true, 1), (false, 1), (false, 2)] {
            let count = Arc::clone(&played);
            let scenario = Arc::new(move |world: &World| {
                let times = hide_and_seek(world, trick, in_silo, choice == 1);
                count.fetch_add(times, Ordering::SeqCst);
            });
            let options = host(&[
                ("OnEvasion", choice),
                ("OnFailure", 1),
                ("OpenDeadlineMs", 100),
            ]);
            for mode in [Mode::Free].into_iter().chain((0..2).map(Mode::Seeded)) {
                if let Err(report) = once(mode, &options, Arc::clone(&scenario)) {
                    panic!("{trick:?}, {mode:?}\n{report}");
                }
            }
        }
        assert!(played.load(Ordering::SeqCst) >= 12, "{trick:?} is none");
    }
}
