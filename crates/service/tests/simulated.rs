//! The service as threads of a simulated machine: one seed is one history.
#![cfg(unix)]

use std::sync::Arc;
use std::time::Duration;

use filterhost::{Machine, Mode};
use siloscan_service::events::NoEvents;
use siloscan_service::platform::SimulatedPlatform;
use siloscan_service::rules::load;
use siloscan_service::service::Service;
use siloscan_service::settings::Settings;

/// Waits for a driver that does not come, and stops.
fn run(mode: Mode) -> (u64, u64) {
    let outcome = Machine::builder()
        .scheduler(mode)
        .run(|m| {
            let process = m.create_process("siloscand.exe", None);
            let service = Service::new(
                SimulatedPlatform::new(m, &process),
                Settings::default(),
                load(None).engine,
                Box::new(NoEvents),
            )
            .expect("settings");
            let thread = SimulatedPlatform::start(&service);
            m.sched().sleep(Duration::from_millis(700));
            service.stop();
            m.sched().join(&thread);
            assert_eq!(service.figures().connections, 0);
            Arc::strong_count(&service) as u64
        })
        .unwrap_or_else(|report| panic!("{report}"));
    (outcome.trace_hash, outcome.value)
}

#[test]
fn a_service_without_a_driver_waits_and_stops_and_a_seed_repeats() {
    assert_eq!(run(Mode::Free).1, 1, "nothing holds the service any more");
    for seed in 1..=5 {
        let first = run(Mode::Seeded(seed));
        assert_eq!(first, run(Mode::Seeded(seed)));
        assert_eq!(first.1, 1);
    }
}
