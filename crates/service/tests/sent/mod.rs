//! Files that the driver sends in pieces: taken in order only, bounded, and never kept for long.

use std::sync::Arc;

use siloscan_core::limits::CHUNK_BYTES;
use siloscan_core::wire::{ChunkReply, Piece, ScanReply, Taken, WireVerdict};
use siloscan_service::engine::eicar_test_file;
use siloscan_service::rules::load;
use siloscan_service::settings::Settings;

use crate::driver_side::Running;
use crate::{Gate, quick};

/// Sends the piece of `file` at `offset` for `request`, and gives what the service says.
fn send_piece(running: &Running, request: u64, file: &[u8], offset: usize) -> (i32, Option<Taken>) {
    let size = file.len() as u64;
    let piece = Piece {
        request,
        size,
        offset: offset as u64,
        used: Piece::length_at(size, offset as u64),
        deadline_ms: 30_000,
    };
    let bytes = &file[offset..offset + piece.used as usize];
    let message = running.driver.send_piece(&piece, bytes);
    let (status, reply) = running.driver.reply(message);
    (status, ChunkReply::decode(&reply, &piece).ok())
}

#[test]
fn a_file_that_was_sent_is_scanned_as_a_whole() {
    let running = Running::start(load(None).engine, quick());
    // EICAR and white space up to its limit, behind it a piece of nothing else.
    let mut bad = eicar_test_file().to_vec();
    bad.resize(128, b' ');
    let mut good = bad.clone();
    good.resize(2 * CHUNK_BYTES + 9, b' ');
    for (request, file, verdict) in [
        (501, bad, WireVerdict::INFECTED),
        (502, good, WireVerdict::CLEAN),
    ] {
        for offset in (0..file.len()).step_by(CHUNK_BYTES) {
            let answer = send_piece(&running, request, &file, offset);
            assert_eq!(answer, (0, Some(Taken::Next)), "{offset}");
        }
        let message = running.driver.ask_for_sent(request, file.len() as u64);
        let (status, reply) = running.driver.reply(message);
        assert_eq!(status, 0);
        let answer = ScanReply::decode(&reply, request).expect("a reply of this protocol");
        assert_eq!(answer.verdict, verdict);
    }
    assert_eq!(running.finish().figures().pieces, 4);
}

#[test]
fn i7_pieces_out_of_order_are_refused_and_forgotten() {
    let running = Running::start(Arc::new(Gate::default()), quick());
    let file = vec![b'!'; 2 * CHUNK_BYTES];
    let size = file.len() as u64;
    let refused = 0xC000_000D_u32.cast_signed();
    // The second without the first; the first twice; half a file; a file that was stopped.
    assert_eq!(send_piece(&running, 1, &file, CHUNK_BYTES), (refused, None));
    assert_eq!(send_piece(&running, 2, &file, 0), (0, Some(Taken::Next)));
    assert_eq!(send_piece(&running, 2, &file, 0), (refused, None));
    assert_eq!(send_piece(&running, 3, &file, 0), (0, Some(Taken::Next)));
    assert_eq!(send_piece(&running, 4, &file, 0), (0, Some(Taken::Next)));
    running.driver.stop(4);
    let stops = || (running.service.figures().stop_requests == 1).then_some(());
    running.driver.wait(stops);
    for request in [1, 2, 3, 4, 5] {
        let message = running.driver.ask_for_sent(request, size);
        assert_eq!(
            running.driver.reply(message).0,
            refused,
            "request {request}"
        );
    }
    assert_eq!(send_piece(&running, 4, &file, CHUNK_BYTES), (refused, None));
    let figures = running.finish().figures();
    assert_eq!((figures.scan_requests, figures.stop_misses), (0, 0));
    assert_eq!(figures.bad_messages, 8);
}

#[test]
fn what_was_sent_is_forgotten_with_its_connection() {
    let settings = Settings {
        file_bytes_max: 1 << 20,
        memory_bytes_max: 1 << 20,
        ..quick()
    };
    let running = Running::start(Arc::new(Gate::default()), settings);
    let file = vec![b'.'; 1 << 20];
    assert_eq!(send_piece(&running, 1, &file, 0), (0, Some(Taken::Next)));
    let busy = send_piece(&running, 2, b"x", 0);
    assert_eq!(busy, (0, Some(Taken::Later)), "all memory is taken");
    running.driver.disconnect();
    let anew = || (running.driver.hellos().len() == 2).then_some(());
    running.driver.wait(anew);
    assert_eq!(send_piece(&running, 3, &file, 0), (0, Some(Taken::Next)));
    running.finish();
}
