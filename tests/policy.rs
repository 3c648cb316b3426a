//! When nothing can be scanned: what an open does is the administrator's policy, and no open hangs.

use filterhost::status::STATUS_ACCESS_DENIED;
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::reason::{AllowReason, DenyReason, ScanReason, SkipReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, TOOL, containers, layer, layer_with, options};
use siloscan_worlds::world::WorldOptions;

const EVIL: &str = r"C:\evil.com";

/// A host whose scan service never comes.
fn without_service(parameters: &[(&str, u32)]) -> WorldOptions {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    WorldOptions {
        engine: None,
        parameters: parameters.collect(),
        ..options()
    }
}

#[test]
fn i3_without_a_service_opens_go_through_by_default() {
    everywhere(&without_service(&[]), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        containers[0]
            .process("app")
            .run(|p| assert!(p.read_file(TOOL).is_ok()));
        containers[0].destroy();
    });
}

#[test]
fn i3_without_a_service_opens_are_refused_where_the_policy_says_so() {
    everywhere(&without_service(&[("OnFailure", 1)]), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        containers[0].process("app").run(|p| {
            assert_eq!(p.read_file(TOOL), Err(STATUS_ACCESS_DENIED));
        });
        containers[0].destroy();
    });
}

#[test]
fn remote_layers_are_skipped_or_scanned_as_the_parameter_says() {
    for (value, expected) in [(0, Ok(eicar_test_file().to_vec())), (1, Err(INFECTED))] {
        let host = WorldOptions {
            parameters: vec![("RemoteLayers".to_owned(), value)],
            ..options()
        };
        everywhere(&host, move |world| {
            let layer = layer_with(world, |p| {
                p.write_file(EVIL, &eicar_test_file()).expect("a new file");
            });
            let remote = Layer {
                remote: true,
                ..layer
            };
            let containers = containers(world, &remote, 1, EcpVariant::default());
            let app = containers[0].process("app");
            let read = [(); 2].map(|()| app.run(|p| p.read_file(EVIL)));
            assert_eq!(read, [expected.clone(), expected.clone()]);
            let counts = world.counts();
            let skipped = counts.get(SkipReason::RemoteLayer);
            let scanned = counts.get(ScanReason::RemoteLayer);
            let wanted = if value == 0 { (2, 0) } else { (0, 2) };
            assert_eq!((skipped, scanned), wanted, "{:?}", counts.named());
            let denied = counts.get(DenyReason::ScannedInfected);
            assert_eq!(denied, wanted.1, "no verdict is kept: {:?}", counts.named());
            containers[0].destroy();
        });
    }
}

#[test]
fn audit_only_denies_nothing_and_counts_what_it_would_have_denied() {
    let audited = WorldOptions {
        parameters: vec![("AuditOnly".to_owned(), 1)],
        ..options()
    };
    everywhere(&audited, |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        containers[0].process("app").run(|p| {
            p.write_file(r"C:\evil.com", &eicar_test_file())
                .expect("writing is allowed");
            assert_eq!(
                p.read_file(r"C:\evil.com").as_deref(),
                Ok(eicar_test_file().as_slice())
            );
        });
        let counts = world.counts();
        assert_eq!(
            counts.get(AllowReason::AuditOnly),
            1,
            "{:?}",
            counts.named()
        );
        let detections = world.events().detections();
        assert!(!detections.is_empty(), "what was found is told");
        containers[0].destroy();
    });
}
