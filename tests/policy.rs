//! When nothing can be scanned: what an open does is the administrator's policy, and no open hangs.

use filterhost::status::STATUS_ACCESS_DENIED;
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::AllowReason;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{TOOL, containers, layer, options};
use siloscan_worlds::world::WorldOptions;

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
