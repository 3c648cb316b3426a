//! The two headers of a VHDX ([MS-VHDX] 2.2.2), as far as they tell of a log. The crate that reads
//! the format replays logs in another way than Windows, so a disk that has one is refused before.

use std::io::{self, Read, Seek, SeekFrom};

use crate::meter::Refused;
use crate::report::ProblemKind;

use super::partition::number;

const PLACES: [u64; 2] = [64 << 10, 128 << 10];
const HEADER: usize = 4 << 10;
/// Where in a header stand its sum, its sequence number, the log's GUID and the log's length.
const SUM: usize = 4;
const SEQUENCE: usize = 8;
const LOG: usize = 48;
const LOG_BYTES: usize = 68;

/// Refuses a disk that has a log to be replayed.
///
/// # Errors
/// When it has one, or cannot be read.
pub fn check(disk: &mut (impl Read + Seek)) -> io::Result<()> {
    let mut last: Option<(u64, bool)> = None;
    for place in PLACES {
        let mut header = [0; HEADER];
        disk.seek(SeekFrom::Start(place))?;
        match disk.read_exact(&mut header) {
            // Told when it is opened.
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        if !is_valid(&header) {
            continue;
        }
        let log = header.get(LOG..LOG + 16).unwrap_or(&[]);
        let has_log = log.iter().any(|byte| *byte != 0) && number::<4>(&header, LOG_BYTES) != 0;
        let sequence = number::<8>(&header, SEQUENCE);
        last = match last {
            // Of two with one number either may be taken.
            Some((other, had)) if other == sequence => Some((other, had || has_log)),
            Some((other, had)) if other > sequence => Some((other, had)),
            _ => Some((sequence, has_log)),
        };
    }
    if last.is_some_and(|(_, has_log)| has_log) {
        let text = "its log was not replayed: attach it once";
        return Err(Refused::error(ProblemKind::Unsupported, text));
    }
    Ok(())
}

fn is_valid(header: &[u8; HEADER]) -> bool {
    let mut whole = *header;
    if let Some(sum) = whole.get_mut(SUM..SUM + 4) {
        sum.fill(0);
    }
    header.starts_with(b"head") && number::<4>(header, SUM) == u64::from(crc32c(&whole))
}

/// The sum that the format asks for: CRC-32C.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn disk(headers: [(u64, bool); 2]) -> Vec<u8> {
        let mut disk = vec![0; 1 << 20];
        for (place, (sequence, log)) in PLACES.into_iter().zip(headers) {
            let header = &mut disk[place as usize..][..HEADER];
            header[..4].copy_from_slice(b"head");
            header[SEQUENCE..][..8].copy_from_slice(&sequence.to_le_bytes());
            header[LOG] = u8::from(log);
            header[LOG_BYTES + 2] = 16;
            let sum = crc32c(header);
            header[SUM..][..4].copy_from_slice(&sum.to_le_bytes());
        }
        disk
    }

    #[test]
    fn only_the_log_of_the_header_in_force_counts() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let has_log = |headers| check(&mut Cursor::new(disk(headers))).is_err();
        assert!(has_log([(2, true), (1, false)]));
        assert!(has_log([(1, false), (2, true)]));
        assert!(!has_log([(1, true), (2, false)]));
        assert!(has_log([(2, false), (2, true)]));
        let mut broken = disk([(2, false), (1, true)]);
        broken[64 << 10] = 0;
        assert!(check(&mut Cursor::new(broken)).is_err());
    }
}
