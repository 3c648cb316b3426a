//! Names and ids of any length with any units in them: however an infected file is named, it stays
//! shut, what is no name opens nothing, and what is told of it is bounded (I1, I7).

use std::sync::Arc;

use filterhost::status::NtStatus;
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::Volume;
use filterhost::wcifs::EcpVariant;
use siloscan_core::limits::TRACE_UNITS;
use siloscan_core::reason::{DenyReason, Event, ScanReason};
use siloscan_core::trace::TraceId;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::events;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, containers, layer, options};
use siloscan_worlds::world::World;

const EVIL: &str = r"C:\evil.com";
/// The longest name that a `UNICODE_STRING` holds, in UTF-16 units.
const LONGEST: usize = 32_767;

fn units(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn bytes(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// Opens the bytes of a name on a volume, to read.
fn open_raw(p: &Process, volume: &Arc<Volume>, name: &[u8]) -> Result<(), NtStatus> {
    let opened = p.open(&OpenOptions::by_raw_name(volume, name).read())?;
    opened.close()
}

/// Makes a file of these units, infected.
fn make_raw(p: &Process, volume: &Arc<Volume>, name: &[u16]) {
    let options = OpenOptions::by_raw_name(volume, &bytes(name)).write();
    let file = p.open(&options.create_new()).expect("a new file");
    file.write_at(0, &eicar_test_file()).expect("writable");
    file.close().expect("an open handle");
}

/// Runs `body` on the host and in a container, with the volume that it sees as its own.
fn on_both(world: &World, body: impl Fn(&Process, &Arc<Volume>) + Send + Sync + Copy + 'static) {
    let layer = layer(world);
    let containers = containers(world, &layer, 1, EcpVariant::default());
    let places = [
        (world.process("user"), Arc::clone(world.system())),
        (
            containers[0].process("app"),
            Arc::clone(containers[0].scratch()),
        ),
    ];
    for (process, volume) in places {
        process.run(move |p| body(p, &volume));
    }
    containers[0].destroy();
}

#[test]
fn i1_every_spelling_of_a_stream_is_that_stream() {
    everywhere(&options(), |world| {
        on_both(world, |p, _| {
            p.write_file(EVIL, &eicar_test_file()).expect("a new file");
            p.write_file(r"C:\host.bin", b"clean").expect("a new file");
            p.write_file(r"C:\host.bin:evil", &eicar_test_file())
                .expect("a new stream");
            let infected = [
                EVIL,
                r"C:\evil.com::$DATA",
                r"C:\evil.com::$data",
                r"C:\EVIL.COM::$Data",
                r"C:\host.bin:evil",
                r"C:\host.bin:EVIL:$DATA",
                r"C:\host.bin:evil:$data",
            ];
            for path in infected.iter().chain(&infected) {
                assert_eq!(p.read_file(path), Err(INFECTED), "{path}");
            }
            for path in [r"C:\host.bin", r"C:\host.bin::$DATA"] {
                assert_eq!(
                    p.read_file(path).as_deref(),
                    Ok(b"clean".as_slice()),
                    "{path}"
                );
            }
            for path in [r"C:\evil.com:", r"C:\evil.com::", r"C:\evil.com:::$DATA"] {
                assert!(p.read_file(path).is_err(), "{path}");
            }
        });
        let counts = world.counts();
        // Three names of the named stream, opened twice in two places; no spelling of the unnamed.
        assert_eq!(
            counts.get(ScanReason::NamedStream),
            12,
            "{:?}",
            counts.named()
        );
        // Under whatever spelling, it is one file: the second look at it is a hit.
        assert!(
            counts.get(DenyReason::CachedInfected) > 0,
            "{:?}",
            counts.named()
        );
    });
}

#[test]
fn i1_odd_units_make_no_other_file() {
    everywhere(&options(), |world| {
        on_both(world, |p, volume| {
            let lone = |unit: u16| {
                let mut name = units(r"\lone-");
                name.push(unit);
                name
            };
            let names = [
                lone(0xd800),
                lone(0xdfff),
                lone(0xffff),
                units(r"\dots..."),
                units(r"\spaces   "),
                units(&format!(r"\{}", "x".repeat(255))),
            ];
            for name in &names {
                make_raw(p, volume, name);
                let opened = open_raw(p, volume, &bytes(name));
                assert_eq!(opened, Err(INFECTED), "{}", String::from_utf16_lossy(name));
            }
            p.write_file(EVIL, &eicar_test_file()).expect("a new file");
            let mut nul = units(r"\evil.com");
            nul.push(0);
            let mut odd = bytes(&units(r"\evil.com"));
            odd.push(0);
            for name in [bytes(&nul), odd.clone(), odd[..odd.len() - 2].to_vec()] {
                assert!(open_raw(p, volume, &name).is_err(), "{name:02x?}");
            }
            // Half a unit is no name: the volume, or nothing.
            let _either_way = open_raw(p, volume, &[0x5c]);
            let mut long = units(r"\evil.com");
            long.resize(LONGEST, u16::from(b'x'));
            let mut nuls = units(r"\evil.com");
            nuls.resize(LONGEST, 0);
            for name in [long, nuls] {
                assert!(open_raw(p, volume, &bytes(&name)).is_err());
            }
        });
        assert_eq!(world.count(Event::TraceDropped), 0);
    });
}

#[test]
fn i1_an_empty_name_beside_an_open_file_is_that_file() {
    everywhere(&options(), |world| {
        on_both(world, |p, _| {
            p.write_file(EVIL, &eicar_test_file()).expect("a new file");
            p.write_file(r"C:\evil.com:s", b"clean")
                .expect("a new stream");
            // Not for its data: so it may be had.
            let known = p.open(&OpenOptions::new(EVIL)).expect("attributes only");
            let beside = |name: &str| {
                p.open(&OpenOptions::relative(&known, name).read())
                    .map(drop)
            };
            assert_eq!(beside(""), Err(INFECTED));
            assert_eq!(beside("::$DATA"), Err(INFECTED));
            assert_eq!(beside(":s"), Ok(()));
            known.close().expect("an open handle");
        });
    });
}

#[test]
fn i1_an_id_of_any_length_opens_that_file_or_none() {
    everywhere(&options(), |world| {
        on_both(world, |p, volume| {
            p.write_file(EVIL, &eicar_test_file()).expect("a new file");
            let known = p.open(&OpenOptions::new(EVIL)).expect("attributes only");
            let id = known.file_id().expect("it has one");
            known.close().expect("an open handle");
            let mut longer = id.to_vec();
            longer.resize(LONGEST * 2, 0);
            for length in [0, 1, 4, 7, 8, 9, 15, 16, 17, 24, 64, LONGEST * 2] {
                let options = OpenOptions::by_id(volume, &longer[..length]).read();
                let opened = p.open(&options).map(drop);
                match length {
                    8 | 16 => assert_eq!(opened, Err(INFECTED), "{length} bytes"),
                    // The volume, by no id at all.
                    0 => {}
                    _ => assert!(opened.is_err(), "{length} bytes"),
                }
            }
        });
    });
}

#[test]
fn a_detection_under_the_longest_name_is_told_and_bounded() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let length = user.run(|p| {
            let mut path = r"C:".to_owned();
            let component = format!(r"\{}", "d".repeat(250));
            while path.len() + component.len() + 10 < LONGEST {
                path.push_str(&component);
                p.create_directory(&path).expect("a new directory");
            }
            let evil = format!(r"{path}\e.com");
            p.write_file(&evil, &eicar_test_file()).expect("a new file");
            for _ in 0..2 {
                assert_eq!(p.read_file(&evil), Err(INFECTED));
            }
            evil.len()
        });
        assert!(length > 32_000, "{length} units");
        let told = events::take_of(world.machine(), TraceId::Detection);
        assert!(
            told.len() >= 2,
            "one by a scan, one by the cache: {}",
            told.len()
        );
        for event in told {
            let name = event.text("File");
            assert!(name.len() <= TRACE_UNITS, "{} units", name.len());
            assert!(name.contains("dddd"));
        }
    });
}
