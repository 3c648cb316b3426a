//! Whatever answers in the service's place, with the service's own identity: no message of any
//! length with any bytes crashes, hangs or confuses the driver. It counts, decides by policy, and
//! unloads with nothing left (I7).

mod keeps;
mod pieces;
mod polls;

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use filterhost::status::{
    NtStatus, STATUS_ACCESS_DENIED, STATUS_CONNECTION_COUNT_LIMIT, STATUS_INVALID_PARAMETER,
    STATUS_PORT_DISCONNECTED, STATUS_SUCCESS,
};
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{DenyReason, Event, Failure};
use siloscan_core::wire::WireVerdict;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::puppet::{
    Asked, Delivered, Puppet, hello, poll_reply, scan_reply, service_process,
};
use siloscan_worlds::scene::{containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const PORT: &str = r"\SiloscanPort";
const FILE: &str = r"C:\file.bin";

/// A host without a service, which refuses what cannot be scanned, and sooner than usual.
fn host() -> WorldOptions {
    let values = [
        ("OnFailure", 1),
        ("OnEvasion", 2),
        ("OpenDeadlineMs", 1_000),
        ("HeartbeatMs", 500),
    ];
    WorldOptions {
        engine: None,
        parameters: values.map(|(name, value)| (name.to_owned(), value)).into(),
        ..options()
    }
}

/// One open of a file that was never scanned.
fn fresh_open(user: &Process, number: usize) -> Result<(), NtStatus> {
    user.run(move |p| {
        let file = p.open(&OpenOptions::new(&format!(r"C:\{number}.bin")).read())?;
        file.close()
    })
}

/// What the puppet does with the next scan, and with the pieces that come before it.
type Answer = Arc<dyn Fn(&Puppet, &Delivered, u64) + Send + Sync>;

/// A puppet whose answers to scans the scenario changes as it goes.
struct Liar {
    puppet: Arc<Puppet>,
    answer: Arc<Mutex<Answer>>,
    user: Process,
    opens: std::cell::Cell<usize>,
}

impl Liar {
    fn start(world: &World, files: usize) -> Self {
        Self::of(world, world.process("user"), files)
    }

    /// One that is asked about files that `user` makes.
    fn of(world: &World, user: Process, files: usize) -> Self {
        user.run(move |p| {
            for number in 0..files {
                p.write_file(&format!(r"C:\{number}.bin"), b"bytes")
                    .expect("a new file");
            }
        });
        let honest: Answer = Arc::new(|puppet, message, _| {
            puppet.behave(message, WireVerdict::CLEAN);
        });
        let answer = Arc::new(Mutex::new(honest));
        let shared = Arc::clone(&answer);
        let puppet = Puppet::start(world, 3, move |puppet: &Puppet, message| {
            match &message.asked {
                Asked::Scan(scan) => {
                    puppet.let_go(scan);
                    let answer = shared.lock().expect("no habit panics").clone();
                    answer(puppet, message, scan.request);
                }
                Asked::Chunk(piece) => {
                    let answer = shared.lock().expect("no habit panics").clone();
                    answer(puppet, message, piece.request);
                }
                _ => puppet.behave(message, WireVerdict::CLEAN),
            }
        });
        Self {
            puppet: puppet.expect("the driver accepts it"),
            answer,
            user,
            opens: std::cell::Cell::new(0),
        }
    }

    /// From now on scans are answered so.
    fn answer_so(&self, answer: impl Fn(&Puppet, &Delivered, u64) + Send + Sync + 'static) {
        *self.answer.lock().expect("no habit panics") = Arc::new(answer);
    }

    /// Opens the next file while scans are answered so.
    fn open(
        &self,
        answer: impl Fn(&Puppet, &Delivered, u64) + Send + Sync + 'static,
    ) -> Result<(), NtStatus> {
        self.answer_so(answer);
        let number = self.opens.get();
        self.opens.set(number + 1);
        fresh_open(&self.user, number)
    }

    /// Opens the next file while scans are answered with these bytes.
    fn open_on(
        &self,
        status: NtStatus,
        change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
    ) -> Result<(), NtStatus> {
        self.open(move |puppet, message, request| {
            let mut bytes = scan_reply(request, WireVerdict::CLEAN);
            change(&mut bytes);
            puppet
                .reply(message, status, &bytes)
                .expect("the driver waits");
        })
    }
}

#[test]
fn i7_a_reply_of_any_other_length_is_no_verdict() {
    const GOOD: usize = 120;
    everywhere(&host(), |world| {
        let liar = Liar::start(world, GOOD + 42);
        for length in (0..GOOD + 40).chain([100_000]) {
            let opened = liar.open_on(STATUS_SUCCESS, move |bytes| bytes.resize(length, 0));
            let expected = if length == GOOD {
                Ok(())
            } else {
                Err(STATUS_ACCESS_DENIED)
            };
            assert_eq!(opened, expected, "{length} bytes");
        }
        assert_eq!(
            liar.open_on(STATUS_SUCCESS, |_| {}),
            Ok(()),
            "the driver goes on"
        );
        liar.puppet.await_counts();
        assert_eq!(liar.puppet.count(Failure::BadReply), GOOD as u64 + 40);
        assert!(liar.puppet.port().connection().is_alive());
    });
}

#[test]
fn i7_a_reply_with_any_field_wrong_is_no_verdict() {
    /// Version, kind, size, request: all must be what they are. Then the digest.
    const EXACT: usize = 16;
    const DIGEST: usize = 48;
    const VERDICT: usize = 52;
    const GOOD: usize = 120;
    everywhere(&host(), |world| {
        let liar = Liar::start(world, GOOD + 20);
        for at in 0..GOOD {
            let by = u8::try_from(world.machine().sched().random() % 255).unwrap_or(0) + 1;
            let opened = liar.open_on(STATUS_SUCCESS, move |bytes| bytes[at] ^= by);
            match at {
                ..EXACT => assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "byte {at}"),
                // Scanned with other rules: good for those who waited, and not kept.
                EXACT..DIGEST => assert_eq!(opened, Ok(()), "byte {at}"),
                DIGEST..VERDICT => assert!(opened.is_err(), "byte {at} by {by:#x}"),
                _ => assert_eq!(opened, Ok(()), "byte {at}"),
            }
        }
        liar.puppet.await_counts();
        let kept = (GOOD - VERDICT) as u64;
        assert_eq!(liar.puppet.count(Event::VerdictStored), kept);
        for verdict in [0, 7, 8, 0x100, u32::MAX] {
            let opened = liar.open_on(STATUS_SUCCESS, move |bytes| {
                bytes[DIGEST..VERDICT].copy_from_slice(&verdict.to_le_bytes());
            });
            assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "verdict {verdict}");
        }
    });
}

#[test]
fn i7_any_status_in_the_reply_header_is_no_verdict() {
    /// `STATUS_UNSUCCESSFUL`, `STATUS_TIMEOUT`, `STATUS_PENDING`, `STATUS_BUFFER_OVERFLOW`,
    /// `STATUS_INSUFFICIENT_RESOURCES`, `STATUS_VIRUS_INFECTED`, and what means nothing.
    const STATUSES: [u32; 8] = [
        0xC000_0001,
        0x102,
        0x103,
        0x8000_0005,
        0xC000_009A,
        0xC000_0906,
        1,
        u32::MAX,
    ];
    everywhere(&host(), |world| {
        let liar = Liar::start(world, STATUSES.len() + 2);
        for status in STATUSES.map(|status| NtStatus(status.cast_signed())) {
            let opened = liar.open_on(status, |_| {});
            assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "{status}");
        }
        // This one says that there is no service any more; nobody waits on.
        let opened = liar.open_on(STATUS_PORT_DISCONNECTED, |_| {});
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED));
        assert_eq!(
            liar.open_on(STATUS_SUCCESS, |_| {}),
            Ok(()),
            "the driver goes on"
        );
    });
}

#[test]
fn i7_replies_twice_late_or_for_somebody_else_reach_nobody() {
    everywhere(&host(), |world| {
        let liar = Liar::start(world, 8);
        // Twice, the second time with another verdict, and to numbers that nobody used.
        let opened = liar.open(|puppet, message, request| {
            let clean = scan_reply(request, WireVerdict::CLEAN);
            let infected = scan_reply(request, WireVerdict::INFECTED);
            for id in [0, message.id + 1_000, u64::MAX] {
                let mut to = message.clone();
                to.id = id;
                assert!(puppet.reply(&to, STATUS_SUCCESS, &infected).is_err());
            }
            puppet
                .reply(message, STATUS_SUCCESS, &clean)
                .expect("the driver waits");
            assert!(puppet.reply(message, STATUS_SUCCESS, &infected).is_err());
        });
        assert_eq!(opened, Ok(()));
        // With the number of another request: one before, one to come, none, the poll's.
        for other in [-1_i64, 1, 1_000, i64::MIN] {
            let opened = liar.open(move |puppet, message, request| {
                let wrong = request.wrapping_add_signed(other);
                let reply = scan_reply(wrong, WireVerdict::CLEAN);
                puppet
                    .reply(message, STATUS_SUCCESS, &reply)
                    .expect("the driver waits");
            });
            assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "a request {other} away");
        }
        // A poll's reply for a scan.
        let opened = liar.open(|puppet, message, request| {
            let reply = poll_reply(request);
            puppet
                .reply(message, STATUS_SUCCESS, &reply)
                .expect("the driver waits");
        });
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED));
        // Too late: the opener has left by its deadline, and the reply finds nobody.
        let late = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&late);
        let opened = liar.open(move |_, message, request| {
            *keep.lock().expect("no habit panics") = Some((message.clone(), request));
        });
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED));
        let (message, request) = late.lock().expect("no habit panics").take().expect("asked");
        let reply = scan_reply(request, WireVerdict::CLEAN);
        // The driver's thread may be a moment behind the opener.
        world.machine().sched().sleep(Duration::from_millis(100));
        assert!(liar.puppet.reply(&message, STATUS_SUCCESS, &reply).is_err());
        assert_eq!(
            liar.open_on(STATUS_SUCCESS, |_| {}),
            Ok(()),
            "the driver goes on"
        );
    });
}

#[test]
fn i7_w13_only_a_whole_hello_of_this_version_connects() {
    everywhere(&host(), |world| {
        let process = service_process(world);
        let refused = process.run(|p| {
            let mut refused = 0_u64;
            for length in (0..=200).filter(|length| *length != hello().len()) {
                let mut bytes = hello();
                bytes.resize(length, 0);
                let answer = p.connect_port(PORT, &bytes).map(drop);
                assert_eq!(answer, Err(STATUS_INVALID_PARAMETER), "{length} bytes");
                refused += 1;
            }
            // Version, kind, size and magic are exact; the rest is a digest, and any will do.
            for at in 0..16 {
                let mut bytes = hello();
                bytes[at] ^= 1 << (p.machine().sched().random() % 8);
                assert!(p.connect_port(PORT, &bytes).is_err(), "byte {at}");
                refused += 1;
            }
            refused
        });
        let puppet = Puppet::start(world, 2, |puppet: &Puppet, message| {
            puppet.behave(message, WireVerdict::CLEAN);
        });
        let puppet = puppet.expect("the driver accepts it");
        // A second one while the first lives, and one from inside of a container.
        let second = process.run(|p| p.connect_port(PORT, &hello()).map(drop));
        assert_eq!(second, Err(STATUS_CONNECTION_COUNT_LIMIT));
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let inside = containers[0].process("siloscand");
        let sid = process.kernel().user_sid();
        inside.kernel().set_user_sid(sid);
        let contained = inside.run(|p| p.connect_port(PORT, &hello()).map(drop));
        assert_eq!(contained, Err(STATUS_ACCESS_DENIED));
        puppet.await_counts();
        assert_eq!(puppet.count(Event::ConnectRefused), refused + 2);
        // Another identity does not even get to the driver.
        let other = world.process("other");
        let denied = other.run(|p| p.connect_port(PORT, &hello()).map(drop));
        assert_eq!(denied, Err(STATUS_ACCESS_DENIED));
        puppet.await_counts();
        assert_eq!(puppet.count(Event::ConnectRefused), refused + 2);
        containers[0].destroy();
    });
}

#[test]
fn i7_a_service_that_keeps_a_section_after_a_stop_is_disconnected_in_time() {
    everywhere(&host(), |world| {
        let user = world.process("user");
        let writer = user.run(|p| {
            p.write_file(FILE, b"bytes").expect("a new file");
            p.open(&OpenOptions::new(FILE).write())
        });
        // Without a service this host refuses to open: the file is made anew by the handle.
        assert!(writer.is_err());
        let writer = user.run(|p| {
            let options = OpenOptions::new(r"C:\kept.bin").read().write().create();
            p.open(&options).expect("what is created is not refused")
        });
        let puppet = Puppet::start(world, 2, |puppet: &Puppet, message| {
            if !matches!(message.asked, Asked::Scan(_)) {
                puppet.behave(message, WireVerdict::CLEAN);
            }
        });
        let puppet = puppet.expect("the driver accepts it");
        let writer = Arc::new(writer);
        let own = Arc::clone(&writer);
        user.run(move |_| own.write_at(0, b"bytes").map(drop).expect("an open handle"));
        let opener = user.spawn("open", |p| p.read_file(r"C:\kept.bin"));
        let sched = world.machine().sched();
        let asked = || (!puppet.scans().is_empty()).then_some(());
        assert!(sched.wait_until("the scan", None, asked).is_ok());
        user.run(move |_| {
            writer
                .write_at(0, b"other")
                .map(drop)
                .expect("never held up")
        });
        let told = || (!puppet.stops().is_empty()).then_some(());
        assert!(sched.wait_until("the stop", None, told).is_ok());
        let start = sched.now();
        assert!(puppet.port().connection().is_alive());
        let gone = || puppet.port().connection().is_closed().then_some(());
        assert!(
            sched
                .wait_until("the end of the connection", None, gone)
                .is_ok()
        );
        let took = sched.now().since(start);
        if sched.is_seeded() {
            assert_eq!(took, Duration::from_millis(100));
        }
        assert_eq!(
            opener.join(),
            Err(STATUS_ACCESS_DENIED),
            "no service, by the policy"
        );
        // It still has the section, and a good service that comes does not mind.
        let good = Puppet::start(world, 2, |puppet: &Puppet, message| {
            puppet.behave(message, WireVerdict::CLEAN);
        });
        let good = good.expect("the driver accepts the next one");
        assert!(user.run(|p| p.read_file(r"C:\kept.bin")).is_ok());
        good.await_counts();
        assert_eq!(good.count(Event::SectionKept), 1);
        assert!(good.count(DenyReason::FailureDenied) >= 1);
        // The last handle of the old connection is closed now; that does not end the new one.
        puppet.hang_up();
        good.await_counts();
        assert!(good.is_connected());
        puppet.kill();
    });
}
