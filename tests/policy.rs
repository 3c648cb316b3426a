//! When nothing can be scanned: what an open does is the administrator's policy, and no open hangs.

use filterhost::status::STATUS_ACCESS_DENIED;
use filterhost::wcifs::EcpVariant;
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
