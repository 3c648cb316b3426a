//! The first opens: what is infected is denied, what is clean is scanned once, and a container
//! that opens a package file gets the verdict that another one earned.

use std::path::PathBuf;
use std::sync::Arc;

use filterhost::container::ContainerOptions;
use filterhost::status::NtStatus;
use filterhost::user::OpenOptions;
use filterhost::volume::{FsKind, Volume};
use filterhost::wcifs::Layer;
use siloscan_core::reason::{AllowReason, DenyReason, LookupReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_service::rules;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::world::{World, WorldOptions};

const STATUS_VIRUS_INFECTED: NtStatus = NtStatus(0xC000_0906_u32 as i32);

fn options() -> WorldOptions {
    WorldOptions {
        image: PathBuf::from(std::env::var_os("SILOSCAN_IMAGE").expect("cargo xtask test sets it")),
        parameters: Vec::new(),
        engine: Some(rules::load(None).engine),
        threads: 2,
    }
}

/// A layer volume with two package files, and a container on it for each name.
fn containers(world: &World, count: usize) -> Vec<filterhost::container::Container> {
    let m = world.machine();
    let volume = Volume::mount_kind(m, FsKind::Ntfs);
    let host = world.process("setup");
    host.set_drive('L', &volume);
    host.run(|p| {
        p.create_directory(r"L:\app").expect("a new directory");
        p.write_file(r"L:\app\tool.exe", b"MZ a clean program")
            .expect("a new file");
        p.write_file(r"L:\app\other.dll", b"MZ a clean library")
            .expect("a new file");
    });
    let layer = Layer {
        volume,
        root: "\\".into(),
        registered: false,
        remote: false,
    };
    (0..count)
        .map(|_| {
            let layers = vec![layer.clone()];
            m.create_container(&ContainerOptions {
                layers,
                ..ContainerOptions::default()
            })
        })
        .collect()
}

#[test]
fn an_infected_file_on_the_host_is_denied() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            p.write_file(r"C:\evil.com", &eicar_test_file())
                .expect("writing is not denied");
            let denied = p.read_file(r"C:\evil.com");
            assert_eq!(denied, Err(STATUS_VIRUS_INFECTED));
            p.write_file(r"C:\good.txt", b"good").expect("a new file");
            assert_eq!(
                p.read_file(r"C:\good.txt").as_deref(),
                Ok(b"good".as_slice())
            );
        });
        let counts = world.counts();
        let denied =
            counts.get(DenyReason::ScannedInfected) + counts.get(DenyReason::CachedInfected);
        assert_eq!(denied, 1, "{:?}", counts.named());
    });
}

#[test]
fn one_scan_of_a_package_file_serves_all_containers() {
    everywhere(&options(), |world| {
        let containers = containers(world, 3);
        for container in &containers {
            container.process("app").run(|p| {
                let file = p
                    .open(&OpenOptions::new(r"C:\app\tool.exe").execute())
                    .expect("clean");
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
        for container in &containers {
            container.destroy();
        }
    });
}

#[test]
fn what_a_container_drops_is_denied() {
    everywhere(&options(), |world| {
        let containers = containers(world, 1);
        let container = Arc::new(containers);
        container[0].process("malware").run(|p| {
            p.write_file(r"C:\app\dropped.com", &eicar_test_file())
                .expect("writing is allowed");
            assert_eq!(
                p.read_file(r"C:\app\dropped.com"),
                Err(STATUS_VIRUS_INFECTED)
            );
            assert!(p.read_file(r"C:\app\tool.exe").is_ok());
            // Cached clean, overwritten with malware, opened again.
            assert!(p.read_file(r"C:\app\other.dll").is_ok());
            p.write_file(r"C:\app\other.dll", &eicar_test_file())
                .expect("copy on write");
            assert_eq!(p.read_file(r"C:\app\other.dll"), Err(STATUS_VIRUS_INFECTED));
        });
        container[0].destroy();
    });
}
