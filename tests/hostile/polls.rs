//! Nonsense in place of an answer to a poll is a missed heartbeat, whatever is wrong with it; the
//! next good answer ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filterhost::status::STATUS_SUCCESS;
use siloscan_core::reason::Event;
use siloscan_core::wire::WireVerdict;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::puppet::{Asked, Puppet, poll_reply};
use siloscan_worlds::world::World;

use crate::host;

const FILE: &str = r"C:\file.bin";
/// Bytes of a good answer.
const GOOD: usize = 80;
/// Where version, kind, size and the poll's number end, and the digest after them.
const EXACT: usize = 16;
const COMMAND: usize = 48;
/// The list of excluded containers: any but the one in force is asked for.
const LIST: usize = 52;
const EPOCH: usize = 56;

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// It has so many bytes.
    Length(usize),
    /// This byte is changed by that.
    Byte(usize, u8),
    /// A volume is covered, uncovered or about to be, and none is named.
    Command(u8),
    /// It answers the poll before.
    Before,
    /// The last bytes all are ones: so many that no volume can be believed.
    Ones,
}

impl Lie {
    fn reply(self, sequence: u64) -> Vec<u8> {
        let mut reply = poll_reply(sequence);
        match self {
            Self::Length(length) => reply.resize(length, 0xff),
            Self::Byte(at, by) => reply[at] ^= by,
            Self::Command(command) => reply[COMMAND] = command,
            Self::Before => reply = poll_reply(sequence.wrapping_sub(1)),
            Self::Ones => reply[COMMAND..].fill(0xff),
        }
        reply
    }

    /// Heartbeats that are missed for it, that of a list which nobody gives included.
    fn missed(self) -> u64 {
        let missed = match self {
            Self::Length(length) => length != GOOD,
            Self::Byte(at, _) if at < EXACT => true,
            // Three commands are known, and each needs a volume.
            Self::Byte(COMMAND, by) => by <= 3,
            Self::Byte(at, _) => (LIST..EPOCH).contains(&at),
            Self::Command(_) | Self::Before | Self::Ones => true,
        };
        u64::from(missed)
    }
}

/// Every length and each byte; a part of them where a poll takes real time.
fn lies(world: &World) -> Vec<Lie> {
    let sched = world.machine().sched();
    let lengths = (0..GOOD + 40).chain([5_000]).map(Lie::Length);
    let bytes = (0..GOOD).map(|at| {
        let by = u8::try_from(sched.random() % 255).unwrap_or(0) + 1;
        Lie::Byte(at, by)
    });
    let others = [
        Lie::Command(1),
        Lie::Command(2),
        Lie::Command(3),
        Lie::Before,
        Lie::Ones,
    ];
    let step = if sched.is_seeded() { 1 } else { 8 };
    let all = lengths.chain(bytes).step_by(step);
    all.chain(others).collect()
}

#[test]
fn i7_nonsense_instead_of_an_answer_to_a_poll_is_a_missed_heartbeat() {
    everywhere(&host(), |world| {
        let user = world.process("user");
        user.run(|p| p.write_file(FILE, b"bytes").expect("a new file"));
        let lies = Arc::new(lies(world));
        let round = Arc::new(AtomicUsize::new(0));
        let (polls, told) = (Arc::clone(&round), Arc::clone(&lies));
        let puppet = Puppet::start(world, 2, move |puppet: &Puppet, message| {
            let reply = match &message.asked {
                Asked::Poll(sequence) => {
                    let lie = told.get(polls.fetch_add(1, Ordering::SeqCst));
                    lie.map_or_else(|| poll_reply(*sequence), |lie| lie.reply(*sequence))
                }
                // A list that some lie has named: there is none.
                Asked::Nonsense(_) if message.room.is_some() => Vec::new(),
                _ => return puppet.behave(message, WireVerdict::CLEAN),
            };
            let _nobody_waits = puppet.reply(message, STATUS_SUCCESS, &reply);
        });
        let puppet = puppet.expect("the driver accepts it");
        let sched = world.machine().sched();
        let over = || (round.load(Ordering::SeqCst) > lies.len()).then_some(());
        assert!(sched.wait_until("good answers", None, over).is_ok());
        let missed: u64 = lies.iter().map(|lie| lie.missed()).sum();
        // The thread that has taken the counters may be a moment behind the one that answers polls.
        for _ in 0..10 {
            puppet.await_counts();
            if puppet.count(Event::HeartbeatMissed) >= missed {
                break;
            }
        }
        assert_eq!(puppet.count(Event::HeartbeatMissed), missed);
        assert_eq!(puppet.count(Event::CoverageBegun), 0);
        assert_eq!(puppet.count(Event::CoverageReported), 0);
        assert!(puppet.is_connected());
        assert!(
            user.run(|p| p.read_file(FILE)).is_ok(),
            "the driver goes on"
        );
    });
}
