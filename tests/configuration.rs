//! The registry's values against the built driver: nonsense, absence, and changes while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use filterhost::registry::{Key, REG_DWORD, Value};
use filterhost::wcifs::EcpVariant;
use filterhost::{Machine, Mode};
use siloscan_core::limits::{PARAMETER_COUNT, PARAMETERS, Parameter};
use siloscan_core::reason::{Event, ScanReason};
use siloscan_core::trace::TraceId;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::events::{self, Event as Told};
use siloscan_worlds::everywhere::{everywhere, in_every_order};
use siloscan_worlds::puppet::Puppet;
use siloscan_worlds::scene::{INFECTED, TOOL, containers, layer, options};
use siloscan_worlds::world::{World, WorldOptions};

const EVIL: &str = r"C:\evil.com";
/// Longer than the driver lets pass between two looks at the registry.
const TWO_LOOKS: Duration = Duration::from_millis(2_500);

/// What a registry may hold where a `REG_DWORD` in range is expected.
fn nonsense(parameter: &Parameter) -> Value {
    let empty = Value {
        kind: REG_DWORD,
        data: Vec::new(),
    };
    match parameter.id as usize % 5 {
        0 => Value::dword(u32::MAX),
        1 => Value::string("30 seconds"),
        2 => Value::binary(&[1; 1 << 20]),
        3 => Value::qword(u64::from(parameter.min)),
        _ => empty,
    }
}

/// A value in range that is not the default.
fn another(parameter: &Parameter) -> u32 {
    if parameter.default < parameter.max {
        parameter.default + 1
    } else {
        parameter.default - 1
    }
}

fn parameters(world: &World) -> Arc<Key> {
    world.service_key().create("Parameters")
}

/// Waits for `count` events of these kinds, by the parameter's name.
fn await_told(world: &World, kinds: &[TraceId], count: usize) -> BTreeMap<String, Told> {
    let mut found = BTreeMap::new();
    for _ in 0..300 {
        let told = events::take(world.machine()).into_iter();
        for event in told.filter(|event| kinds.contains(&event.id)) {
            let name = event.text("Name").to_owned();
            assert!(found.insert(name, event).is_none(), "told once: {found:#?}");
        }
        if found.len() >= count {
            return found;
        }
        world.machine().sched().sleep(Duration::from_millis(50));
    }
    panic!("not all within a quarter of a minute: {found:#?}");
}

/// Sets a value and waits until the driver has taken it.
fn set(world: &World, name: &str, value: u32) {
    parameters(world).set(name, Value::dword(value));
    let told = await_told(world, &[TraceId::ParameterChanged], 1);
    assert_eq!(told[name].number("InForce"), u64::from(value));
}

/// Nothing more is told of parameters, however long the driver looks.
fn silence(world: &World) {
    world.machine().sched().sleep(TWO_LOOKS);
    let told = events::take(world.machine());
    let of_parameters = |event: &&Told| {
        matches!(
            event.id,
            TraceId::ParameterRefused | TraceId::ParameterChanged | TraceId::ParameterWaits
        )
    };
    assert_eq!(told.iter().find(of_parameters), None);
}

/// Whether the host's own infected file can be opened.
fn evil_opens(world: &World) -> bool {
    world.process("user").run(|p| match p.read_file(EVIL) {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status, INFECTED);
            false
        }
    })
}

fn drop_evil(world: &World) {
    let user = world.process("user");
    let written = user.run(|p| p.write_file(EVIL, &eicar_test_file()));
    written.expect("writing is allowed");
}

#[test]
fn nonsense_is_the_default_and_is_told_and_the_driver_loads() {
    let values = PARAMETERS.iter().map(|p| (p.name.to_owned(), nonsense(p)));
    let corrupt = WorldOptions {
        values: values
            .chain([("NoSuchParameter".to_owned(), Value::binary(&[7; 3]))])
            .collect(),
        ..options()
    };
    everywhere(&corrupt, |world| {
        let told = await_told(world, &[TraceId::ParameterRefused], PARAMETER_COUNT);
        for parameter in &PARAMETERS {
            let event = &told[parameter.name];
            assert_eq!(event.number("InForce"), u64::from(parameter.default));
            let out_of_range = (parameter.id as usize).is_multiple_of(5);
            let (why, found) = if out_of_range {
                ("range", u64::from(u32::MAX))
            } else {
                ("type", 0)
            };
            assert_eq!((event.text("Why"), event.number("Found")), (why, found));
        }
        drop_evil(world);
        assert!(!evil_opens(world), "AuditOnly is off by default");
        silence(world);
    });
}

#[test]
fn each_live_value_is_taken_while_the_driver_runs_and_the_others_wait() {
    everywhere(&options(), |world| {
        let key = parameters(world);
        for parameter in &PARAMETERS {
            key.set(parameter.name, Value::dword(another(parameter)));
        }
        let kinds = [TraceId::ParameterChanged, TraceId::ParameterWaits];
        let told = await_told(world, &kinds, PARAMETER_COUNT);
        for parameter in &PARAMETERS {
            let event = &told[parameter.name];
            let (other, in_force) = (u64::from(another(parameter)), event.number("InForce"));
            if parameter.live {
                assert_eq!(event.id, TraceId::ParameterChanged);
                assert_eq!(in_force, other);
                assert_eq!(event.number("Before"), u64::from(parameter.default));
            } else {
                assert_eq!(event.id, TraceId::ParameterWaits);
                assert_eq!(in_force, u64::from(parameter.default));
                assert_eq!(event.number("Found"), other);
            }
        }
        silence(world);
        let changed = PARAMETERS.iter().filter(|p| p.live).count() as u64;
        assert_eq!(world.count(Event::ParameterChanged), changed);
    });
}

#[test]
fn opens_follow_a_change_and_its_end() {
    everywhere(&options(), |world| {
        drop_evil(world);
        assert!(!evil_opens(world));
        set(world, "AuditOnly", 1);
        assert!(evil_opens(world));
        assert!(parameters(world).unset("AuditOnly"), "it is there");
        let told = await_told(world, &[TraceId::ParameterChanged], 1);
        assert_eq!(told["AuditOnly"].number("InForce"), 0);
        assert!(!evil_opens(world));

        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let open = || {
            let open = |p: &filterhost::user::Process| p.read_file(TOOL).map(drop);
            containers[0].process("app").run(open)
        };
        assert_eq!(open(), Ok(()));
        assert_eq!(world.count(ScanReason::SharingOff), 0);
        set(world, "LayerVerdicts", 1);
        assert_eq!(open(), Ok(()));
        assert_eq!(world.count(ScanReason::SharingOff), 1);
        containers[0].destroy();
    });
}

#[test]
fn the_thread_that_asks_the_service_follows_its_own_value() {
    let alone = WorldOptions {
        engine: None,
        ..options()
    };
    everywhere(&alone, |world| {
        set(world, "HeartbeatMs", 600);
        // It answers nothing.
        let puppet = Puppet::start(world, 1, |_: &Puppet, _: &_| {});
        let puppet = puppet.expect("the driver accepts it");
        let opened = (0..600).find_map(|_| {
            world.machine().sched().sleep(Duration::from_millis(50));
            events::take_of(world.machine(), TraceId::BreakerOpened).pop()
        });
        let heartbeat = opened.map(|event| event.number("HeartbeatMs"));
        assert_eq!(heartbeat, Some(600));
        puppet.kill();
    });
}

/// Takes a key away with all below it.
fn remove(parent: &Key, name: &str) -> bool {
    let key = parent.subkey(name);
    for below in key.iter().flat_map(|key| key.subkeys()) {
        let _there_is_one = key.as_ref().map(|key| remove(key, &below));
    }
    parent.remove(name)
}

#[test]
fn a_key_that_goes_away_is_every_default_and_one_that_comes_is_read() {
    let audited = WorldOptions {
        parameters: vec![("AuditOnly".to_owned(), 1)],
        ..options()
    };
    everywhere(&audited, |world| {
        drop_evil(world);
        assert!(evil_opens(world));
        assert!(remove(&world.service_key(), "Parameters"), "it is there");
        let told = await_told(world, &[TraceId::ParameterChanged], 1);
        assert_eq!(told["AuditOnly"].number("InForce"), 0);
        assert!(!evil_opens(world));
        silence(world);
        set(world, "AuditOnly", 1);
        assert!(evil_opens(world));
    });
}

#[test]
fn i4_an_unload_does_not_mind_who_writes_to_the_registry() {
    in_every_order(|mode| {
        let outcome = unload_while_writing(mode);
        outcome.unwrap_or_else(|report| panic!("{mode:?}\n{report}"))
    });
}

/// Unloads while another process writes sense and nonsense; gives the trace hash.
fn unload_while_writing(mode: Mode) -> Result<u64, filterhost::Report> {
    let outcome = Machine::builder().scheduler(mode).run(|m| {
        let world = World::boot(m, &options()).unwrap_or_else(|error| panic!("{error}"));
        let key = parameters(&world);
        let writer = world.process("regedit").spawn("regedit", move |p| {
            for round in 0..100_u32 {
                key.set("AuditOnly", Value::dword(round % 3));
                key.set("HeartbeatMs", Value::dword(500 + round));
                p.machine().sched().sleep(Duration::from_millis(20));
            }
        });
        m.sched()
            .sleep(Duration::from_millis(m.sched().random() % 1_500));
        world.shut_down();
        writer.join();
    });
    outcome.map(|outcome| outcome.trace_hash)
}
