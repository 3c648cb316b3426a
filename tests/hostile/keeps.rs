//! A service that keeps the section of a scan that was too slow. The driver does not wait for the
//! answer any more; it wants the service's word that the section is gone, or ends the connection.

use std::sync::Arc;
use std::time::Duration;

use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED, STATUS_SUCCESS};
use siloscan_core::reason::{Event, Failure};
use siloscan_core::wire::{StopReply, WireVerdict};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::puppet::{Asked, Delivered, Puppet, scan_reply, stop_reply};
use siloscan_worlds::world::World;

use super::{FILE, fresh_open, host};

/// What a service says when it is to let go of a section; `None` is nothing.
type Word = fn(request: u64) -> Option<(NtStatus, Vec<u8>)>;

/// No word that the section of the request is gone.
const NO_WORD: [(&str, Word); 6] = [
    ("silence", |_| None),
    ("another request's", |request| {
        Some((STATUS_SUCCESS, stop_reply(request.wrapping_add(1))))
    }),
    ("nothing at all", |_| Some((STATUS_SUCCESS, Vec::new()))),
    ("a byte too few", |request| {
        let mut bytes = stop_reply(request);
        bytes.pop();
        Some((STATUS_SUCCESS, bytes))
    }),
    ("a byte too many", |request| {
        let mut bytes = stop_reply(request);
        bytes.push(0);
        Some((STATUS_SUCCESS, bytes))
    }),
    ("a late verdict", |request| {
        let reply = scan_reply(request, WireVerdict::CLEAN);
        Some((STATUS_SUCCESS, reply))
    }),
];

/// A service that answers no scan, keeps every section and says `word` when it is wanted back.
fn keeper(world: &World, word: Word) -> Arc<Puppet> {
    let habit = move |puppet: &Puppet, message: &Delivered| match &message.asked {
        Asked::Scan(_) => {}
        Asked::Stop(request) if message.room.is_some_and(|room| room > 0) => {
            if let Some((status, bytes)) = word(*request) {
                let _taken = puppet.reply(message, status, &bytes);
            }
        }
        _ => puppet.behave(message, WireVerdict::CLEAN),
    };
    Puppet::start(world, 3, habit).expect("the driver accepts it")
}

#[test]
fn i8_a_section_that_is_kept_after_its_scans_deadline_ends_the_connection() {
    for (what, word) in NO_WORD {
        everywhere(&host(), move |world| {
            let user = world.process("user");
            user.run(|p| p.write_file(FILE, b"bytes").expect("a new file"));
            let puppet = keeper(world, word);
            let start = world.machine().sched().now();
            let read = user.run(|p| p.read_file(FILE));
            assert_eq!(read, Err(STATUS_ACCESS_DENIED), "too slow");
            let sched = world.machine().sched();
            let gone = || puppet.port().connection().is_closed().then_some(());
            // Many times what it takes: a driver that does not care never ends it.
            let late = sched.now().after(Duration::from_secs(20));
            let ended = sched.wait_until("the end", Some(late), gone);
            assert!(ended.is_ok(), "{what}");
            if what == "silence" && sched.is_seeded() {
                let took = sched.now().since(start);
                // The open's deadline, a second to be read, and the grace for a section.
                assert_eq!(took, Duration::from_millis(1_000 + 1_000 + 100));
            }
            // Its sections go with it, and a good service is welcome.
            puppet.kill();
            let good = Puppet::start(world, 2, |puppet: &Puppet, message| {
                puppet.behave(message, WireVerdict::CLEAN);
            });
            let good = good.expect("the driver accepts the next one");
            assert!(user.run(|p| p.read_file(FILE)).is_ok(), "{what}");
            good.await_counts();
            assert_eq!(good.count(Event::SectionKept), 1, "{what}");
            // At one and the same time its deadline passes and the service is gone.
            let failed = good.count(Failure::TooSlow) + good.count(Failure::NoService);
            assert_eq!(failed, 1, "{what}");
        });
    }
}

#[test]
fn i8_a_service_that_gives_the_section_back_is_kept_though_it_never_answers() {
    let mut options = host();
    // In a free run its word may be late.
    options
        .parameters
        .push(("SectionGraceMs".to_owned(), 10_000));
    everywhere(&options, |world| {
        let user = world.process("user");
        user.run(|p| {
            for number in 0..3 {
                p.write_file(&format!(r"C:\{number}.bin"), b"bytes")
                    .expect("a new file");
            }
        });
        let puppet = Puppet::start(world, 3, |puppet: &Puppet, message| match &message.asked {
            Asked::Scan(_) => {}
            Asked::Stop(request) => {
                let scans = puppet.scans();
                let scan = scans.iter().find(|scan| scan.request == *request);
                puppet.let_go(scan.expect("it was asked for"));
                puppet.behave(message, WireVerdict::CLEAN);
            }
            _ => puppet.behave(message, WireVerdict::CLEAN),
        });
        let puppet = puppet.expect("the driver accepts it");
        for number in 0..3 {
            assert_eq!(fresh_open(&user, number), Err(STATUS_ACCESS_DENIED));
            // Nothing of the scan is left that an operation on the file could meet.
            user.run(move |p| p.delete_file(&format!(r"C:\{number}.bin")))
                .expect("nobody has it");
        }
        puppet.await_counts();
        assert!(puppet.is_connected());
        assert_eq!(puppet.count(Event::SectionKept), 0);
        assert_eq!(puppet.count(Failure::TooSlow), 3);
        let wanted = puppet.messages().into_iter().filter(|message| {
            let room = message.room.unwrap_or(0);
            matches!(message.asked, Asked::Stop(_)) && room == size_of::<StopReply>()
        });
        assert_eq!(wanted.count(), 3, "each once");
    });
}
