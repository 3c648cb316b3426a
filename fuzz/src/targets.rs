//! What the driver, the service and the packager read. A target panics where something is wrong.
//!
//! The main workspace's test `fuzz_corpus` includes this file and runs every committed input.

use std::path::Path;

use siloscan_core::ecp::{Redirection, Taint, has_flags};
use siloscan_core::limits::{Found, PARAMETERS, Parameters};
use siloscan_core::wire;

/// The request that replies are to answer; inputs that hold it get further.
pub const REQUEST: u64 = 0x0706_0504_0302_0100;

/// Messages of the port, in both directions, from whoever is at the other end.
pub fn reply(data: &[u8]) {
    if let Ok(answer) = wire::ScanReply::decode(data, REQUEST) {
        let name = answer.rule_name();
        assert!(name.len() <= answer.rule.len());
    }
    let _answer = wire::PollReply::decode(data, REQUEST);
    let piece = wire::Piece {
        request: REQUEST,
        size: 1 << 20,
        offset: 1 << 16,
        used: 1 << 16,
        deadline_ms: 1000,
    };
    let _taken = wire::ChunkReply::decode(data, &piece);
    let _list = wire::ExclusionsReply::decode(data);
    if let Ok((_request, message)) = wire::Scan::decode(data) {
        let _units = message.name().count();
    }
    if let Ok((piece, bytes)) = wire::Chunk::decode(data) {
        assert_eq!(bytes.len(), piece.used as usize);
    }
}

/// The context of the redirection ECP, as a filter below fills it.
pub fn ecp(data: &[u8]) {
    let Some((choice, context)) = data.split_first() else {
        return;
    };
    let taint = Taint {
        from_user_mode: choice & 2 != 0,
        ..Taint::default()
    };
    let told = Redirection::capture(context, choice & 1 != 0, taint);
    let _flags = has_flags(context);
    if let Redirection::Answer(answer) = told {
        assert!(choice & 2 == 0 && choice & 1 != 0, "a tainted answer");
        let both = answer.volume.is_some() && answer.file.is_some();
        assert_eq!(answer.key().is_some(), both);
    }
}

/// The registry's values: a byte of kind and four of number for each parameter.
pub fn parameters(data: &[u8]) {
    let mut values = Parameters::default();
    for (record, parameter) in data.chunks(5).zip(PARAMETERS.iter().cycle()) {
        let found = match record {
            [0, ..] => Found::Absent,
            [1, number @ ..] => {
                let number = number.first_chunk::<4>().copied().unwrap_or_default();
                Found::Dword(u32::from_le_bytes(number))
            }
            _ => Found::OtherType,
        };
        let _nonsense = values.set(parameter, found);
    }
    for parameter in &PARAMETERS {
        let value = values.get(parameter.id);
        let range = parameter.min..=parameter.max;
        assert!(range.contains(&value), "{} is {value}", parameter.name);
    }
    let _policies = (
        values.layer_policy(),
        values.failure_policy(),
        values.on_stale(),
    );
    let _times = (
        values.open_deadline(),
        values.heartbeat(),
        values.stale_window(),
    );
}

/// The text of the service's configuration: all that is wrong with one has a place in it.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match siloscan_configuration::parse("fuzz.toml", Path::new("folder"), text) {
        Ok(mut all) => {
            assert_eq!(all.check(), Ok(()), "it was checked as a whole");
            let same = all.clone();
            let changes = all.adopt(&same);
            assert!(changes.now.is_empty() && changes.at_the_next_start.is_empty());
        }
        Err(broken) => {
            assert!(!broken.0.is_empty(), "refused without a cause");
            for wrong in &broken.0 {
                assert_in(text, wrong.line, wrong.column);
            }
        }
    }
}

/// A place, counted from 1, is one of the text, or right behind a line of it.
pub fn assert_in(text: &str, line: usize, column: usize) {
    let told = text.split('\n').nth(line.wrapping_sub(1));
    let told = told.unwrap_or_else(|| panic!("there is no line {line}"));
    let columns = told.chars().count() + 1;
    assert!(
        (1..=columns).contains(&column),
        "line {line} has no column {column}"
    );
}

/// The text of an INF.
pub fn inf(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(inf) = ::inf::Inf::parse(text) {
        for build in [14393, 20348, 26100] {
            let _findings = ::inf::check(&inf, build);
            if let Some(install) = inf.install_for(build) {
                let _all = (install.files(), install.services());
            }
        }
    }
}
