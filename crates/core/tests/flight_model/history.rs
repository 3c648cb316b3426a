//! What can happen to flights, and how often it does in the histories that are drawn.

use proptest::prelude::*;
use siloscan_core::flight::Subject;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::stream::StreamId;

pub const FLIGHTS: usize = 5;
pub const WAITERS: usize = 12;
pub const SUBJECTS: u64 = 4;

pub fn subject(which: u64) -> Subject {
    if which.is_multiple_of(2) {
        let volume = VolumeGuid::from_words(1, 1).unwrap();
        Subject::Key(Key::new(volume, FileId::from_words(1 + which, 0).unwrap()))
    } else {
        Subject::Stream(StreamId::new(50 + which).unwrap())
    }
}

#[derive(Clone, Debug)]
pub enum Op {
    Join {
        subject: u64,
        stream: u64,
        silo: u64,
        owner: u64,
        time: u64,
        detached: bool,
    },
    Take,
    GiveBack(usize),
    Send(usize),
    Publish(usize, u8),
    Leave(usize),
    Collect(usize),
    Kill(u64),
    KillStream(u64),
    KillOwner(u64),
    FailAll,
    Stop,
    Pass(u64),
}

pub fn op() -> impl Strategy<Value = Op> {
    let many = 0..64_usize;
    prop_oneof![
        20 => (0..SUBJECTS, 1..4_u64, 0..4_u64, 1..4_u64, 1..60_u64, 0..8_u8).prop_map(
            |(subject, stream, silo, owner, time, d)| Op::Join {
                subject, stream, silo, owner, time, detached: d == 0,
            }
        ),
        12 => Just(Op::Take),
        8 => many.clone().prop_map(Op::GiveBack),
        5 => many.clone().prop_map(Op::Send),
        10 => (many.clone(), 0..7_u8).prop_map(|(lead, end)| Op::Publish(lead, end)),
        6 => many.clone().prop_map(Op::Leave),
        12 => many.prop_map(Op::Collect),
        4 => (0..SUBJECTS).prop_map(Op::Kill),
        2 => (1..4_u64).prop_map(Op::KillStream),
        1 => (1..4_u64).prop_map(Op::KillOwner),
        1 => Just(Op::FailAll),
        2 => Just(Op::Stop),
        4 => (1..20_u64).prop_map(Op::Pass),
    ]
}
