//! More changes at once than the table of changing keys holds: the whole volume then counts as
//! changing, which is counted, and nothing old is believed afterwards (I2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use filterhost::fltmgr::{NativeFilter, Pre, native};
use filterhost::layout::{FLT_CALLBACK_DATA, IRP_MJ_WRITE};
use filterhost::user::OpenOptions;
use filterhost::volume::Request;
use filterhost::{Machine, Mode};
use siloscan_core::reason::Event;
use siloscan_service::engine::eicar_test_file;
use siloscan_service::rules;
use siloscan_worlds::everywhere::once;
use siloscan_worlds::scene::{INFECTED, options};
use siloscan_worlds::world::{World, WorldOptions};

/// Keys are spread over 820 buckets of five: with so many, one bucket has to take a sixth.
const WRITERS: usize = 1_200;

/// A file system below that is slow to write.
#[derive(Default)]
struct Stuck {
    writing: AtomicUsize,
    released: AtomicBool,
}

struct Below(Arc<Stuck>);

impl NativeFilter for Below {
    fn altitude(&self) -> &str {
        "45000"
    }

    fn name(&self) -> &str {
        "a slow disk"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        if Request::new(data).major() == IRP_MJ_WRITE {
            self.0.writing.fetch_add(1, Ordering::SeqCst);
            m.sched().notify();
            let released = || self.0.released.load(Ordering::SeqCst).then_some(());
            // Without a deadline the wait cannot time out.
            let _released = m.sched().wait_until("the disk", None, released);
        }
        Pre::NoCallback
    }
}

fn name(number: usize) -> String {
    format!(r"C:\{number}.com")
}

fn crowd(world: &World) {
    let user = world.process("user");
    user.run(|p| {
        for number in 0..WRITERS {
            p.write_file(&name(number), &[b'x'; 68])
                .expect("a new file");
        }
    });
    // All are known to be clean.
    world.start_service(rules::load(None).engine, 2);
    user.run(|p| {
        for number in 0..WRITERS {
            assert!(p.read_file(&name(number)).is_ok());
        }
    });
    let before = world.count(Event::ChangeTableFull);
    assert_eq!(before, 0);
    world.stop_service();
    let stuck = Arc::new(Stuck::default());
    native::attach(
        world.machine(),
        world.system(),
        Arc::new(Below(Arc::clone(&stuck))),
    );
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            user.spawn("write", move |p| {
                let file = p.open(&OpenOptions::new(&name(number)).write())?;
                file.write_at(0, &eicar_test_file())?;
                file.close()
            })
        })
        .collect();
    let sched = world.machine().sched();
    let all = || (stuck.writing.load(Ordering::SeqCst) >= WRITERS).then_some(());
    assert!(sched.wait_until("every writer", None, all).is_ok());
    stuck.released.store(true, Ordering::SeqCst);
    sched.notify();
    for writer in writers {
        assert_eq!(writer.join(), Ok(()));
    }
    world.start_service(rules::load(None).engine, 2);
    assert!(world.count(Event::ChangeTableFull) >= 1);
    user.run(|p| {
        for number in (0..WRITERS).step_by(7) {
            assert_eq!(p.read_file(&name(number)), Err(INFECTED), "{number}");
        }
    });
}

#[test]
fn i2_more_changes_at_once_than_the_table_holds_void_the_volume() {
    let options = WorldOptions {
        engine: None,
        ..options()
    };
    if let Err(report) = once(Mode::Seeded(0), &options, Arc::new(crowd)) {
        panic!("{report}");
    }
}
