//! The protocol byte for byte, and what becomes of every wrong message (I7).

use siloscan_core::exclusion::Exclusions;
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::limits::{CHUNK_BYTES, NAME_UNITS, RULE_BYTES, SENT_BYTES_MAX};
use siloscan_core::reason::Failure;
use siloscan_core::verdict::Verdict;
use siloscan_core::wire::{
    Chunk, ChunkReply, ChunkState, Command, ExclusionHits, ExclusionsAsk, ExclusionsReply, Hello,
    Kind, Message, News, Piece, Poll, PollFlags, PollReply, Scan, ScanFlags, ScanReply,
    ScanRequest, Stop, StopReply, Taken, WireError, WireVerdict,
};
use zerocopy::{FromZeros, IntoBytes};

/// Bytes from hexadecimal digits; spaces and line ends are free.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn digest() -> [u8; 32] {
    core::array::from_fn(|i| 0xa0 + i as u8)
}

const DIGEST: &str = "a0a1a2a3a4a5a6a7 a8a9aaabacadaeaf b0b1b2b3b4b5b6b7 b8b9babbbcbdbebf";

fn guid() -> VolumeGuid {
    VolumeGuid::from_bytes([0x11; 16]).unwrap()
}

fn request() -> ScanRequest {
    ScanRequest {
        request: 0x0102_0304_0506_0708,
        section: 0x40,
        size: 0x1122_3344_5566,
        key: Some(Key::new(guid(), FileId::from_words(5, 0).unwrap())),
        container: [0x33; 16],
        process: 4,
        flags: ScanFlags(ScanFlags::OPEN | ScanFlags::LAYER),
        deadline_ms: 30_000,
        list: 6,
    }
}

fn scan(name: &str) -> Scan {
    let mut scan = Scan::new_zeroed();
    scan.fill(&request(), name.encode_utf16());
    scan
}

#[test]
fn hello_bytes() {
    let expected = hex(&format!("0100 0100 30000000 53494c4f5343414e {DIGEST}"));
    let hello = Hello::new(digest());
    assert_eq!(hello.as_bytes(), expected);
    assert_eq!(Hello::decode(&expected), Ok(digest()));
}

#[test]
fn scan_bytes() {
    let mut expected = hex(
        "0100 0200 68040000  0807060504030201  4000000000000000  6655443322110000
         11111111111111111111111111111111  05000000000000000000000000000000
         33333333333333333333333333333333  0400000000000000  09000000 30750000
         0300 0000 06000000  4100 4200 e400",
    );
    expected.resize(1128, 0);
    let scan = scan("ABä");
    assert_eq!(scan.as_bytes(), expected);
    let (decoded, view) = Scan::decode(&expected).unwrap();
    assert_eq!(decoded, request());
    assert_eq!(view.name().collect::<Vec<_>>(), [0x41, 0x42, 0xe4]);
}

#[test]
fn poll_bytes() {
    let poll = Poll::new(2, 3, PollFlags(PollFlags::WARM_WANTED));
    let expected = "0100 0400 20000000 0200000000000000 0300000000000000 01000000 00000000";
    assert_eq!(poll.as_bytes(), hex(expected));
}

#[test]
fn stop_bytes() {
    assert_eq!(
        Stop::new(9, 0x44).as_bytes(),
        hex("0100 0600 18000000 0900000000000000 4400000000000000")
    );
}

#[test]
fn stop_reply_bytes() {
    let reply = StopReply::new(9);
    let expected = hex("0100 0e00 10000000 0900000000000000");
    assert_eq!(reply.as_bytes(), expected);
    assert_eq!(StopReply::decode(&expected, 9), Ok(()));
    assert_eq!(StopReply::decode(&expected, 8), Err(WireError::Mismatch));
}

#[test]
fn scan_reply_bytes() {
    let mut expected = hex(&format!(
        "0100 0300 78000000 0700000000000000 {DIGEST} 02000000 05000000 45494341 52"
    ));
    expected.resize(120, 0);
    let reply = ScanReply::new(7, digest(), WireVerdict::INFECTED, 5, "EICAR");
    assert_eq!(reply.as_bytes(), expected);
    let answer = ScanReply::decode(&expected, 7).unwrap();
    assert_eq!(answer.verdict.outcome(), Ok(Verdict::Infected));
    assert_eq!((answer.detail, answer.rule_name()), (5, "EICAR"));
}

#[test]
fn poll_reply_bytes() {
    let expected = hex(&format!(
        "0100 0500 50000000 0200000000000000 {DIGEST} 01000000 00000000 0600000000000000
         11111111111111111111111111111111"
    ));
    let reply = PollReply::new(2, digest(), News::Covered(guid(), 6));
    assert_eq!(reply.as_bytes(), expected);
    assert_eq!(
        PollReply::decode(&expected, 2).unwrap().news,
        News::Covered(guid(), 6)
    );
}

#[test]
fn a_poll_reply_names_the_rules_and_the_list_whatever_its_news_are() {
    for news in [News::Nothing, News::Uncovered(guid())] {
        let reply = PollReply::new(2, digest(), news).excluding(7);
        let answer = PollReply::decode(reply.as_bytes(), 2).unwrap();
        assert_eq!((answer.news, answer.exclusions), (news, 7));
        assert_eq!(answer.digest, digest());
    }
    for bits in 0..4 {
        let wanted = bits & 1 != 0;
        assert_eq!(PollFlags(bits).has(PollFlags::WARM_WANTED), wanted);
    }
}

#[test]
fn an_excluded_reply_is_no_verdict() {
    let mut expected = hex(&format!(
        "0100 0300 78000000 0700000000000000 {DIGEST} 07000000 05000000"
    ));
    expected.resize(120, 0);
    let reply = ScanReply::new(7, digest(), WireVerdict::EXCLUDED, 5, "");
    assert_eq!(reply.as_bytes(), expected);
    let answer = ScanReply::decode(&expected, 7).unwrap();
    assert_eq!(answer.verdict, WireVerdict::EXCLUDED);
    assert_eq!(answer.verdict.outcome(), Err(Failure::BadReply));
    assert_eq!(answer.detail, 5, "the layer's place");
}

#[test]
fn exclusions_bytes() {
    let ask = ExclusionsAsk::new(6);
    assert_eq!(ask.as_bytes(), hex("0100 0b00 10000000 06000000 00000000"));
    let mut expected = hex("0100 0c00 18080000 06000000 01000000");
    expected.resize(16 + 1024, 0);
    expected[16..32].fill(0x77);
    expected.extend(hex("02000000 00000000"));
    expected.resize(16 + 1024 + 8 + 1024, 0);
    expected[1048..1064].fill(0x88);
    expected[1064..1080].fill(0x99);
    let reply = ExclusionsReply::new(6, &[[0x77; 16]], &[[0x88; 16], [0x99; 16]]);
    assert_eq!(reply.as_bytes(), expected);
}

#[test]
fn exclusion_hits_bytes() {
    let (containers, layers) = (Exclusions::new(), Exclusions::new());
    containers.replace([[0x77; 16]].into_iter());
    layers.replace([[0x88; 16], [0x99; 16]].into_iter());
    layers.at(1).into_iter().for_each(|place| layers.hit(place));
    let mut hits = ExclusionHits::new_zeroed();
    assert!(hits.fill(&containers, &layers));
    let mut expected = hex("0100 0d00 100c0000 01000000 02000000");
    expected.resize(16 + 2 * 64 * 24, 0);
    expected[16..32].fill(0x77);
    expected[1552..1568].fill(0x88);
    expected[1576..1592].fill(0x99);
    expected[1592] = 1;
    assert_eq!(hits.as_bytes(), expected);
}

fn piece() -> Piece {
    Piece {
        request: 3,
        size: CHUNK_BYTES as u64 + 2,
        offset: CHUNK_BYTES as u64,
        used: 2,
        deadline_ms: 30_000,
    }
}

fn chunk(piece: &Piece) -> Box<Chunk> {
    let mut chunk = Box::new(Chunk::new_zeroed());
    chunk.describe(piece);
    chunk.bytes[..2].copy_from_slice(b"MZ");
    chunk
}

#[test]
fn chunk_bytes() {
    let mut expected = hex("0100 0800 00820000  0300000000000000  0280000000000000
         0080000000000000  02000000 30750000");
    expected.resize(512, 0);
    expected.extend_from_slice(b"MZ");
    expected.resize(512 + CHUNK_BYTES, 0);
    assert_eq!(chunk(&piece()).as_bytes(), expected);
    assert_eq!(Chunk::decode(&expected), Ok((piece(), b"MZ".as_slice())));
}

#[test]
fn chunk_reply_bytes() {
    let expected = hex("0100 0900 20000000  0300000000000000  0280000000000000  01000000 00000000");
    let reply = ChunkReply::new(3, CHUNK_BYTES as u64 + 2, ChunkState::TAKEN);
    assert_eq!(reply.as_bytes(), expected);
    assert_eq!(ChunkReply::decode(&expected, &piece()), Ok(Taken::Next));
}

#[test]
fn i7_a_piece_whose_numbers_contradict_each_other_is_refused() {
    let right = piece();
    let wrong = [
        Piece {
            request: 0,
            ..right
        },
        Piece { used: 0, ..right },
        Piece { used: 1, ..right },
        Piece { used: 3, ..right },
        Piece {
            used: u32::MAX,
            ..right
        },
        Piece { offset: 1, ..right },
        Piece { offset: 0, ..right },
        Piece {
            offset: u64::MAX,
            ..right
        },
        Piece {
            offset: right.size,
            ..right
        },
        Piece { size: 0, ..right },
        Piece {
            size: CHUNK_BYTES as u64,
            used: 0,
            ..right
        },
        Piece {
            size: u64::MAX,
            ..right
        },
        Piece {
            size: CHUNK_BYTES as u64,
            ..right
        },
        Piece {
            size: SENT_BYTES_MAX + 1,
            offset: 0,
            used: CHUNK_BYTES as u32,
            ..right
        },
    ];
    for piece in wrong {
        let chunk = chunk(&piece);
        assert_eq!(
            Chunk::decode(chunk.as_bytes()),
            Err(WireError::Field),
            "{piece:?}"
        );
    }
    let largest = Piece {
        size: SENT_BYTES_MAX,
        offset: 0,
        used: CHUNK_BYTES as u32,
        ..right
    };
    assert!(Chunk::decode(chunk(&largest).as_bytes()).is_ok());
}

#[test]
fn i7_whatever_the_numbers_are_a_piece_lies_within_its_file() {
    let mut state = 1_u64;
    let mut chunk = chunk(&piece());
    for _ in 0..20_000 {
        for place in 8..40 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            if state >> 60 == 0 {
                chunk.as_mut_bytes()[place] = (state >> 40) as u8;
            }
        }
        if let Ok((piece, bytes)) = Chunk::decode(chunk.as_bytes()) {
            assert_eq!(bytes.len(), piece.used as usize);
            assert!(piece.is_sound() && piece.offset + bytes.len() as u64 <= piece.size);
        }
    }
}

#[test]
fn i7_only_one_answer_lets_the_next_piece_go() {
    let held = CHUNK_BYTES as u64 + 2;
    for state in (0..=u32::from(u16::MAX)).chain([u32::MAX]) {
        let reply = ChunkReply::new(3, held, ChunkState(state));
        let expected = match state {
            1 => Ok(Taken::Next),
            2 => Ok(Taken::Later),
            3 => Err(Failure::TooLarge),
            _ => Err(Failure::BadReply),
        };
        assert_eq!(ChunkReply::decode(reply.as_bytes(), &piece()), expected);
    }
    for (request, held) in [(3, held - 1), (3, 0), (3, u64::MAX), (4, held), (0, held)] {
        let reply = ChunkReply::new(request, held, ChunkState::TAKEN);
        let decoded = ChunkReply::decode(reply.as_bytes(), &piece());
        assert_eq!(decoded, Err(Failure::BadReply), "{request} {held}");
    }
    let reply = ChunkReply::new(3, held, ChunkState::TAKEN);
    for length in 0..size_of::<ChunkReply>() {
        let decoded = ChunkReply::decode(&reply.as_bytes()[..length], &piece());
        assert_eq!(decoded, Err(Failure::BadReply), "{length}");
    }
}

type Decoder = fn(&[u8]) -> Result<(), WireError>;

/// The messages, each with a decoder that says only whether it was accepted.
fn all() -> Vec<(&'static str, Vec<u8>, Decoder)> {
    let hello = Hello::new(digest());
    let poll = Poll::new(1, 1, PollFlags(0));
    let reply = ScanReply::new(1, digest(), WireVerdict::CLEAN, 0, "");
    let poll_reply = PollReply::new(1, digest(), News::Nothing);
    let chunk_reply = ChunkReply::new(1, 1, ChunkState::TAKEN);
    vec![
        ("hello", hello.as_bytes().to_vec(), |bytes| {
            Hello::decode(bytes).map(drop)
        }),
        ("scan", scan("x").as_bytes().to_vec(), |bytes| {
            Scan::decode(bytes).map(drop)
        }),
        ("poll", poll.as_bytes().to_vec(), |bytes| {
            Poll::view(bytes).map(drop)
        }),
        ("stop", Stop::new(1, 0).as_bytes().to_vec(), |bytes| {
            Stop::view(bytes).map(drop)
        }),
        (
            "stop reply",
            StopReply::new(1).as_bytes().to_vec(),
            |bytes| StopReply::decode(bytes, 1),
        ),
        ("scan reply", reply.as_bytes().to_vec(), |bytes| {
            ScanReply::decode(bytes, 1).map(drop)
        }),
        ("chunk reply", chunk_reply.as_bytes().to_vec(), |bytes| {
            ChunkReply::view(bytes).map(drop)
        }),
        ("poll reply", poll_reply.as_bytes().to_vec(), |bytes| {
            PollReply::decode(bytes, 1).map(drop)
        }),
    ]
}

#[test]
fn i7_every_other_length_is_refused() {
    for (name, bytes, decode) in all() {
        assert_eq!(decode(&bytes), Ok(()), "{name}");
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + 64, 0);
        for length in (0..longer.len()).filter(|length| *length != bytes.len()) {
            assert_eq!(
                decode(&longer[..length]),
                Err(WireError::Length),
                "{name} {length}"
            );
        }
    }
}

#[test]
fn i7_a_piece_of_another_length_is_refused() {
    let chunk = chunk(&piece());
    let bytes = chunk.as_bytes();
    for length in (0..600).chain(bytes.len() - 8..bytes.len()) {
        assert_eq!(
            Chunk::decode(&bytes[..length]),
            Err(WireError::Length),
            "{length}"
        );
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert_eq!(Chunk::decode(&longer), Err(WireError::Length));
}

#[test]
fn i7_every_other_header_is_refused() {
    for (name, bytes, decode) in all() {
        for value in 0..=u16::MAX {
            for (place, error) in [(0, WireError::Version), (2, WireError::Kind)] {
                let mut wrong = bytes.clone();
                wrong[place..place + 2].copy_from_slice(&value.to_le_bytes());
                let expected = if wrong == bytes { Ok(()) } else { Err(error) };
                assert_eq!(decode(&wrong), expected, "{name} {place} {value}");
            }
            let mut wrong = bytes.clone();
            wrong[4..6].copy_from_slice(&value.to_le_bytes());
            let expected = if wrong == bytes {
                Ok(())
            } else {
                Err(WireError::Size)
            };
            assert_eq!(decode(&wrong), expected, "{name} size {value}");
        }
        let mut wrong = bytes.clone();
        wrong[7] = 1;
        assert_eq!(decode(&wrong), Err(WireError::Size), "{name}");
    }
}

#[test]
fn i7_the_kind_of_a_message_of_another_version_is_not_told() {
    let mut message = hex("0100 0b00 08000000");
    assert_eq!(Kind::of(&message), Ok(Kind::EXCLUSIONS));
    assert_eq!(Kind::of(&message[..7]), Err(WireError::Length));
    message[0] += 1;
    assert_eq!(Kind::of(&message), Err(WireError::Version));
}

#[test]
fn i7_a_reply_to_somebody_else_is_refused() {
    let reply = ScanReply::new(1, digest(), WireVerdict::CLEAN, 0, "");
    assert_eq!(
        ScanReply::decode(reply.as_bytes(), 2),
        Err(WireError::Mismatch)
    );
    let reply = PollReply::new(1, digest(), News::Nothing);
    assert_eq!(
        PollReply::decode(reply.as_bytes(), 2),
        Err(WireError::Mismatch)
    );
}

#[test]
fn i7_only_one_number_means_clean() {
    let known = [
        (1, Ok(Verdict::Clean)),
        (2, Ok(Verdict::Infected)),
        (3, Err(Failure::Unscannable)),
        (4, Err(Failure::ServiceError)),
        (5, Err(Failure::Conflict)),
        (6, Err(Failure::Unreadable)),
    ];
    for value in (0..=u32::from(u16::MAX))
        .chain((0..32).map(|bit| 1 << bit))
        .chain([u32::MAX])
    {
        let expected = known.iter().find(|(number, _)| *number == value);
        let expected = expected.map_or(Err(Failure::BadReply), |(_, outcome)| *outcome);
        assert_eq!(WireVerdict(value).outcome(), expected, "{value}");
    }
}

#[test]
fn i7_a_command_that_is_not_known_does_nothing() {
    let mut bytes = PollReply::new(1, digest(), News::Covered(guid(), 1))
        .as_bytes()
        .to_vec();
    for value in (0..=u32::from(u16::MAX)).chain([u32::MAX]) {
        bytes[48..52].copy_from_slice(&value.to_le_bytes());
        let news = PollReply::decode(&bytes, 1).unwrap().news;
        let expected = match Command(value) {
            Command::COVERED => News::Covered(guid(), 1),
            Command::UNCOVERED => News::Uncovered(guid()),
            Command::COVERING => News::Covering(guid(), 1),
            _ => News::Nothing,
        };
        assert_eq!(news, expected, "{value}");
    }
    bytes[48..52].copy_from_slice(&1_u32.to_le_bytes());
    for fill in [0, 0xff] {
        bytes[64..80].fill(fill);
        assert_eq!(PollReply::decode(&bytes, 1), Err(WireError::Field));
    }
}

#[test]
fn i7_a_wrong_greeting_is_refused() {
    let right = Hello::new(digest());
    for place in 8..16 {
        let mut bytes = right.as_bytes().to_vec();
        bytes[place] ^= 0x20;
        assert_eq!(Hello::decode(&bytes), Err(WireError::Magic));
    }
}

#[test]
fn a_long_name_is_cut_and_marked() {
    for units in [NAME_UNITS - 1, NAME_UNITS, NAME_UNITS + 1, 4 * NAME_UNITS] {
        let scan = scan(&"n".repeat(units));
        let (decoded, view) = Scan::decode(scan.as_bytes()).unwrap();
        assert_eq!(view.name().count(), units.min(NAME_UNITS));
        assert_eq!(decoded.flags.has(ScanFlags::NAME_CUT), units > NAME_UNITS);
    }
}

#[test]
fn a_scan_that_cannot_be_is_refused() {
    let mut bytes = scan("x").as_bytes().to_vec();
    bytes[96..98].copy_from_slice(&(NAME_UNITS as u16 + 1).to_le_bytes());
    assert_eq!(Scan::decode(&bytes).map(drop), Err(WireError::Field));
    let mut bytes = scan("x").as_bytes().to_vec();
    bytes[8..16].fill(0);
    assert_eq!(Scan::decode(&bytes).map(drop), Err(WireError::Field));
    let mut bytes = scan("x").as_bytes().to_vec();
    bytes[88] |= ScanFlags::SENT as u8;
    assert_eq!(Scan::decode(&bytes).map(drop), Err(WireError::Field));
    bytes[16..24].fill(0);
    assert!(Scan::decode(&bytes).is_ok());
    let mut bytes = scan("x").as_bytes().to_vec();
    bytes[48..64].fill(0);
    assert_eq!(Scan::decode(&bytes).unwrap().0.key, None);
}

#[test]
fn a_rule_name_is_cut_at_a_character_and_never_trusted() {
    let long = "ä".repeat(RULE_BYTES);
    let reply = ScanReply::new(1, digest(), WireVerdict::INFECTED, 0, &long);
    let answer = ScanReply::decode(reply.as_bytes(), 1).unwrap();
    assert_eq!(answer.rule_name(), "ä".repeat(RULE_BYTES / 2));
    let mut bytes = reply.as_bytes().to_vec();
    bytes[58] = 0xff;
    assert_eq!(ScanReply::decode(&bytes, 1).unwrap().rule_name(), "ä");
    bytes[56..120].fill(0xff);
    assert_eq!(ScanReply::decode(&bytes, 1).unwrap().rule_name(), "");
}
