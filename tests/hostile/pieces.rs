//! The same for the answers to pieces of files, on a volume without data-scan sections: none of
//! any length with any bytes is taken for another, and none can hold an open beyond its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use filterhost::status::{NtStatus, STATUS_ACCESS_DENIED, STATUS_SUCCESS};
use filterhost::user::OpenOptions;
use filterhost::volume::{FsKind, Volume};
use siloscan_core::limits::CHUNK_BYTES;
use siloscan_core::reason::{Counted, Event, Failure};
use siloscan_core::wire::{ChunkState, Piece, WireVerdict};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::puppet::{Asked, Delivered, Puppet, chunk_reply, poll_reply, scan_reply};
use siloscan_worlds::world::World;

use crate::{Liar, host};

/// Bytes of a good answer, and where its fields begin.
const GOOD: usize = 32;
const HELD: usize = 16;
const STATE: usize = 24;
const RESERVED: usize = 28;

/// What the puppet does with the pieces of one open: it gets each with its message.
trait Habit: Fn(&Puppet, &Delivered, &Piece) + Send + Sync + 'static {}
impl<F: Fn(&Puppet, &Delivered, &Piece) + Send + Sync + 'static> Habit for F {}

impl Liar {
    /// One whose user's drive is a volume without data-scan sections.
    fn without_sections(world: &World, files: usize) -> Self {
        let volume = Volume::mount_kind(world.machine(), FsKind::Ntfs);
        volume.refuse_data_scan();
        let user = world.process("user");
        user.set_drive('C', &volume);
        Self::of(world, user, files)
    }

    /// Opens the next file while its pieces are answered so, and its scan with "clean".
    fn open_piece(&self, habit: impl Habit) -> Result<(), NtStatus> {
        self.open(move |puppet, message, _| match &message.asked {
            Asked::Chunk(piece) => habit(puppet, message, piece),
            _ => puppet.behave(message, WireVerdict::CLEAN),
        })
    }

    /// Opens the next file while its pieces are answered with these bytes.
    fn open_piece_on(
        &self,
        status: NtStatus,
        change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static,
    ) -> Result<(), NtStatus> {
        self.open_piece(move |puppet, message, piece| {
            let mut bytes = chunk_reply(piece, ChunkState::TAKEN);
            change(&mut bytes);
            puppet
                .reply(message, status, &bytes)
                .expect("the driver waits");
        })
    }

    /// The driver goes on, and has counted this so often.
    fn ends_well(&self, reason: impl Counted, times: usize) {
        assert_eq!(
            self.open_piece_on(STATUS_SUCCESS, |_| {}),
            Ok(()),
            "the driver goes on"
        );
        // The thread that has taken the counters may be a moment behind the one that answers polls.
        for _ in 0..10 {
            self.puppet.await_counts();
            if self.puppet.count(reason) >= times as u64 {
                break;
            }
        }
        let counts = self.puppet.counts();
        assert_eq!(counts.get(reason), times as u64, "{:?}", counts.named());
        assert_eq!(self.puppet.count(Event::VerdictStored), self.stored());
        assert!(self.puppet.is_connected());
    }

    /// Scans that were asked for: each was answered well.
    fn stored(&self) -> u64 {
        self.puppet.scans().len() as u64
    }
}

#[test]
fn i7_an_answer_of_any_other_length_takes_no_piece() {
    everywhere(&host(), |world| {
        let liar = Liar::without_sections(world, GOOD + 42);
        for length in (0..GOOD + 40).chain([100_000]) {
            let opened = liar.open_piece_on(STATUS_SUCCESS, move |bytes| bytes.resize(length, 0));
            let expected = if length == GOOD {
                Ok(())
            } else {
                Err(STATUS_ACCESS_DENIED)
            };
            assert_eq!(opened, expected, "{length} bytes");
        }
        liar.ends_well(Failure::BadReply, GOOD + 40);
    });
}

#[test]
fn i7_an_answer_with_any_field_wrong_takes_no_piece() {
    everywhere(&host(), |world| {
        let liar = Liar::without_sections(world, GOOD + 20);
        let mut bad = 0;
        for at in 0..GOOD {
            // The states that mean something are tried below.
            let by = u8::try_from(world.machine().sched().random() % 252).unwrap_or(0) + 4;
            let opened = liar.open_piece_on(STATUS_SUCCESS, move |bytes| bytes[at] ^= by);
            if at < RESERVED {
                assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "byte {at} by {by:#x}");
                bad += 1;
            } else {
                assert_eq!(opened, Ok(()), "byte {at}");
            }
        }
        for state in [0, 4, 0x101, u32::MAX] {
            let opened = liar.open_piece_on(STATUS_SUCCESS, move |bytes| {
                bytes[STATE..RESERVED].copy_from_slice(&state.to_le_bytes());
            });
            assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "state {state:#x}");
            bad += 1;
        }
        // All of the file, none of it, more than it has.
        for held in [0, 1, 6, u64::MAX] {
            let opened = liar.open_piece_on(STATUS_SUCCESS, move |bytes| {
                bytes[HELD..STATE].copy_from_slice(&held.to_le_bytes());
            });
            assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "{held} bytes held");
            bad += 1;
        }
        let opened = liar.open_piece(|puppet, message, piece| {
            let reply = chunk_reply(piece, ChunkState::TOO_LARGE);
            let _answered = puppet.reply(message, STATUS_SUCCESS, &reply);
        });
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "too large, it says");
        liar.ends_well(Failure::BadReply, bad);
        assert_eq!(liar.puppet.count(Failure::TooLarge), 1);
    });
}

#[test]
fn i7_answers_to_pieces_twice_late_or_for_somebody_else_reach_nobody() {
    everywhere(&host(), |world| {
        let liar = Liar::without_sections(world, 12);
        let opened = liar.open_piece(|puppet, message, piece| {
            let good = chunk_reply(piece, ChunkState::TAKEN);
            let bad = chunk_reply(piece, ChunkState::TOO_LARGE);
            for id in [0, message.id + 1_000, u64::MAX] {
                let mut to = message.clone();
                to.id = id;
                assert!(puppet.reply(&to, STATUS_SUCCESS, &bad).is_err());
            }
            puppet
                .reply(message, STATUS_SUCCESS, &good)
                .expect("the driver waits");
            assert!(puppet.reply(message, STATUS_SUCCESS, &bad).is_err());
        });
        assert_eq!(opened, Ok(()));
        for other in [-1_i64, 1, 1_000, i64::MIN] {
            let opened = liar.open_piece(move |puppet, message, piece| {
                let wrong = Piece {
                    request: piece.request.wrapping_add_signed(other),
                    ..*piece
                };
                let reply = chunk_reply(&wrong, ChunkState::TAKEN);
                puppet
                    .reply(message, STATUS_SUCCESS, &reply)
                    .expect("the driver waits");
            });
            assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "a request {other} away");
        }
        let others: [fn(u64) -> Vec<u8>; 2] = [poll_reply, |request| {
            scan_reply(request, WireVerdict::CLEAN)
        }];
        for reply in others {
            let opened = liar.open_piece(move |puppet, message, piece| {
                let _answered = puppet.reply(message, STATUS_SUCCESS, &reply(piece.request));
            });
            assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "another's reply");
        }
        let late = Arc::new(std::sync::Mutex::new(None));
        let keep = Arc::clone(&late);
        let opened = liar.open_piece(move |_, message, piece| {
            *keep.lock().expect("no habit panics") = Some((message.clone(), *piece));
        });
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED));
        let (message, piece) = late.lock().expect("no habit panics").take().expect("asked");
        // The driver's thread may be a moment behind the opener.
        world.machine().sched().sleep(Duration::from_millis(100));
        let reply = chunk_reply(&piece, ChunkState::TAKEN);
        assert!(liar.puppet.reply(&message, STATUS_SUCCESS, &reply).is_err());
        liar.ends_well(Failure::BadReply, 6);
    });
}

#[test]
fn i7_a_service_that_is_busy_for_ever_holds_nobody_beyond_the_deadline() {
    everywhere(&host(), |world| {
        let liar = Liar::without_sections(world, 3);
        let asked = Arc::new(AtomicUsize::new(0));
        let times = Arc::clone(&asked);
        let sched = world.machine().sched();
        let since = sched.now();
        let opened = liar.open_piece(move |puppet, message, piece| {
            times.fetch_add(1, Ordering::SeqCst);
            let reply = chunk_reply(piece, ChunkState::BUSY);
            let _nobody_waits = puppet.reply(message, STATUS_SUCCESS, &reply);
        });
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED));
        let took = sched.now().since(since);
        if sched.is_seeded() {
            // The deadline of this host, and the pause between two pieces.
            assert!(took >= Duration::from_millis(1_000), "{took:?}");
            assert!(took <= Duration::from_millis(1_050), "{took:?}");
            let asked = asked.load(Ordering::SeqCst);
            assert!((20..=51).contains(&asked), "asked {asked} times");
        }
        assert_eq!(liar.puppet.scans().len(), 0);
        // It is told to forget what it has.
        let told = || (!liar.puppet.stops().is_empty()).then_some(());
        assert!(sched.wait_until("the stop", None, told).is_ok());
        liar.ends_well(Failure::TooSlow, 1);
    });
}

#[test]
fn i7_w13_a_change_in_the_middle_stops_the_pieces_of_the_older_bytes() {
    const PIECES: usize = 3;
    const FILE: &str = r"C:\large.bin";
    everywhere(&host(), |world| {
        let liar = Liar::without_sections(world, 2);
        let writer = liar.user.run(|p| {
            let options = OpenOptions::new(FILE).read().write().create();
            let file = p.open(&options).expect("what is created is not refused");
            file.write_at(0, &[b'x'; PIECES * CHUNK_BYTES])
                .expect("written");
            Arc::new(file)
        });
        let (writing, user) = (Arc::clone(&writer), liar.user.clone());
        let first = AtomicUsize::new(0);
        let answer = move |puppet: &Puppet, message: &Delivered, piece: &Piece| {
            if piece.offset != 0 && first.swap(1, Ordering::SeqCst) == 0 {
                let writing = Arc::clone(&writing);
                user.run(move |_| writing.write_at(0, b"other").map(drop))
                    .expect("never held up");
            }
            puppet.behave(message, WireVerdict::CLEAN);
        };
        liar.answer_so(move |puppet, message, _| match &message.asked {
            Asked::Chunk(piece) => answer(puppet, message, piece),
            _ => puppet.behave(message, WireVerdict::CLEAN),
        });
        let opened = liar.user.run(|p| p.read_file(FILE).map(drop));
        assert_eq!(opened, Ok(()), "once its new bytes were scanned");
        let messages = liar.puppet.messages();
        let pieces = messages.iter().filter_map(|message| match message.asked {
            Asked::Chunk(piece) => Some((piece.request, piece.offset / CHUNK_BYTES as u64)),
            _ => None,
        });
        let pieces: Vec<_> = pieces.collect();
        let (old, new) = (pieces[0].0, pieces[pieces.len() - 1].0);
        assert_ne!(old, new, "{pieces:?}");
        // No third piece of the older bytes, and all of the new ones.
        let expected = [(old, 0), (old, 1), (new, 0), (new, 1), (new, 2)];
        assert_eq!(pieces, expected);
        assert!(liar.puppet.stops().contains(&old));
        let scans = liar.puppet.scans();
        assert_eq!(scans.iter().map(|it| it.request).collect::<Vec<_>>(), [new]);
        liar.user
            .run(move |_| writer.close().expect("an open handle"));
        liar.ends_well(Event::FlightKilled, 1);
    });
}

#[test]
fn i7_a_service_that_goes_in_the_middle_of_a_file_leaves_no_verdict() {
    everywhere(&host(), |world| {
        let liar = Liar::without_sections(world, 2);
        let opened = liar.open_piece(|puppet, _, _| puppet.hang_up());
        assert_eq!(opened, Err(STATUS_ACCESS_DENIED), "by the policy");
        assert_eq!(liar.puppet.scans().len(), 0);
        let good = Puppet::start(world, 2, |puppet: &Puppet, message| {
            puppet.behave(message, WireVerdict::CLEAN);
        });
        let good = good.expect("the driver accepts the next one");
        let opened = liar.user.run(|p| p.read_file(r"C:\0.bin").map(drop));
        assert_eq!(opened, Ok(()));
        good.await_counts();
        assert_eq!(good.count(Failure::NoService), 1);
        good.kill();
    });
}
