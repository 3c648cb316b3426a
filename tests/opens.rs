//! The first opens: what is infected is denied, what is clean is scanned once, and a container
//! that opens a package file gets the verdict that another one earned.

use filterhost::user::OpenOptions;
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::{AllowReason, DenyReason, LookupReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};

#[test]
fn i1_an_infected_file_on_the_host_is_denied() {
    everywhere(&options(), |world| {
        world.process("user").run(|p| {
            p.write_file(r"C:\evil.com", &eicar_test_file())
                .expect("writing is not denied");
            assert_eq!(p.read_file(r"C:\evil.com"), Err(INFECTED));
            p.write_file(r"C:\good.txt", b"good").expect("a new file");
            assert_eq!(
                p.read_file(r"C:\good.txt").as_deref(),
                Ok(b"good".as_slice())
            );
        });
        let counts = world.counts();
        let scanned = counts.get(DenyReason::ScannedInfected);
        let denied = scanned + counts.get(DenyReason::CachedInfected);
        assert_eq!(denied, 1, "{:?}", counts.named());
    });
}

#[test]
fn w5_one_scan_of_a_package_file_serves_all_containers() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 3, EcpVariant::default());
        for container in containers.iter() {
            container.process("app").run(|p| {
                let file = p.open(&OpenOptions::new(TOOL).execute()).expect("clean");
                file.close().expect("an open handle");
            });
        }
        let counts = world.counts();
        assert_eq!(counts.get(LookupReason::Layer), 3, "{:?}", counts.named());
        let clean = counts.get(AllowReason::CachedClean) + counts.get(AllowReason::ScannedClean);
        assert!(clean >= 3, "{:?}", counts.named());
        // Both files are looked at when they are laid down; at most one more scan, where the
        // first container opens its file before that.
        assert!(world.scans() <= 3, "{} scans", world.scans());
        containers.iter().for_each(|container| container.destroy());
    });
}

#[test]
fn i2_a_copy_on_write_is_not_taken_for_its_layer() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 2, EcpVariant::default());
        containers[0].process("malware").run(|p| {
            p.write_file(r"C:\app\dropped.com", &eicar_test_file())
                .expect("writing is allowed");
            assert_eq!(p.read_file(r"C:\app\dropped.com"), Err(INFECTED));
            assert!(p.read_file(TOOL).is_ok());
            // Clean and in the cache, overwritten with malware, opened again.
            assert!(p.read_file(OTHER).is_ok());
            p.write_file(OTHER, &eicar_test_file())
                .expect("copied on write");
            assert_eq!(p.read_file(OTHER), Err(INFECTED));
            // The same without an overwrite: the placeholder's stream stays, its bytes do not.
            let file = p
                .open(&OpenOptions::new(TOOL).read().write())
                .expect("clean");
            file.write_at(0, &eicar_test_file())
                .expect("copied on write");
            file.close().expect("an open handle");
            assert_eq!(p.read_file(TOOL), Err(INFECTED));
        });
        // The package file itself is as it was, for everybody else.
        containers[1].process("app").run(|p| {
            assert_eq!(
                p.read_file(OTHER).as_deref(),
                Ok(b"MZ a clean library".as_slice())
            );
        });
        containers.iter().for_each(|container| container.destroy());
    });
}
