//! Files by their 8.3 names: the same file under the same key, whatever is opened, written, swapped
//! or deleted through the short name, on the host and in a container.

use std::sync::Arc;

use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::reason::{AllowReason, Event, LookupReason, ScanReason};
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, containers, during, layer_with, options};
use siloscan_worlds::world::World;

const LONG: &str = r"C:\a program with a long name.exe";
const SHORT: &str = r"C:\APROGR~1.EXE";
const EVIL: &str = r"C:\another program of that kind.exe";
const EVIL_SHORT: &str = r"C:\ANOTHE~1.EXE";
const DIRECTORY: &str = r"C:\a directory with a long name";

/// A clean and an infected file; the file system has given them the short names above.
fn files(p: &Process) {
    p.write_file(LONG, b"MZ clean").expect("a new file");
    p.write_file(EVIL, &eicar_test_file()).expect("a new file");
    for (path, short) in [(LONG, SHORT), (EVIL, EVIL_SHORT)] {
        let file = p.open(&OpenOptions::new(path)).expect("attributes only");
        assert_eq!(format!(r"C:\{}", file.short_name().expect("one")), short);
    }
}

#[test]
fn a_short_name_is_the_same_file() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            assert!(p.read_file(LONG).is_ok());
        });
        let scans = world.scans();
        let hits = world.count(AllowReason::CachedClean);
        user.run(|p| {
            assert!(p.read_file(SHORT).is_ok());
            assert_eq!(p.read_file(EVIL_SHORT), Err(INFECTED));
            assert_eq!(p.read_file(EVIL), Err(INFECTED));
        });
        assert_eq!(world.count(AllowReason::CachedClean) - hits, 1);
        // The infected one, once: at its close or at the first open.
        assert!(world.scans() - scans <= 1);
    });
}

#[test]
fn what_is_written_by_a_short_name_is_scanned_under_the_long_one() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            assert!(p.read_file(LONG).is_ok());
            let options = OpenOptions::new(SHORT).write();
            let file = p.open(&options).expect("a clean file");
            file.write_at(0, &eicar_test_file()).expect("writable");
            file.close().expect("an open handle");
            assert_eq!(p.read_file(LONG), Err(INFECTED));
        });
    });
}

#[test]
fn a_stream_behind_a_short_name_is_a_named_stream() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            assert!(p.read_file(LONG).is_ok());
            let stream = format!("{LONG}:evil");
            p.write_file(&stream, &eicar_test_file())
                .expect("a named stream");
        });
        let before = world.count(ScanReason::NamedStream);
        user.run(|p| {
            let stream = format!("{SHORT}:evil");
            assert_eq!(p.read_file(&stream), Err(INFECTED));
            assert!(p.read_file(SHORT).is_ok(), "the unnamed one");
        });
        assert_eq!(world.count(ScanReason::NamedStream) - before, 1);
    });
}

#[test]
fn a_file_deleted_or_replaced_by_its_short_name_is_gone() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            assert!(p.read_file(SHORT).is_ok());
        });
        // The infected one takes the place of the clean one, which is named by its short name.
        let (count, ()) = during(world, &user, Event::KeyDropped, |p| {
            let evil = p.open(&OpenOptions::new(EVIL_SHORT).delete());
            let evil = evil.expect("no access to its data");
            evil.rename("APROGR~1.EXE", true).expect("replaced");
        });
        assert_eq!(count, 1, "of the one that was renamed");
        user.run(|p| {
            assert!(p.read_file(LONG).is_err(), "it is gone");
            assert_eq!(p.read_file(SHORT), Err(INFECTED));
            p.delete_file(SHORT).expect("deleted");
            p.write_file(LONG, b"MZ clean").expect("a new file");
            assert!(p.read_file(SHORT).is_ok(), "a file of its own");
        });
        let (count, ()) = during(world, &user, Event::KeyDropped, |p| {
            p.delete_file(SHORT).expect("deleted");
            assert!(p.read_file(LONG).is_err(), "it is gone");
        });
        assert!(count >= 1);
    });
}

#[test]
fn a_short_name_may_change_hands() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            assert!(p.read_file(SHORT).is_ok());
        });
        let (count, ()) = during(world, &user, Event::KeyDropped, |p| {
            let clean = p.open(&OpenOptions::new(LONG).delete()).expect("there");
            let evil = p.open(&OpenOptions::new(EVIL).delete()).expect("there");
            assert!(evil.set_short_name("APROGR~1.EXE").is_err(), "it is taken");
            clean.set_short_name("OTHER.EXE").expect("a free name");
            evil.set_short_name("APROGR~1.EXE").expect("free now");
        });
        assert_eq!(count, 0, "no byte and no id changed");
        let hits = world.count(AllowReason::CachedClean);
        user.run(|p| {
            assert_eq!(p.read_file(SHORT), Err(INFECTED));
            assert!(p.read_file(r"C:\OTHER.EXE").is_ok());
        });
        assert_eq!(world.count(AllowReason::CachedClean) - hits, 1);
    });
}

/// A layer with both files in a directory that has a short name too.
fn layer(world: &World) -> Layer {
    layer_with(world, |p| {
        files(p);
        p.create_directory(DIRECTORY).expect("a new directory");
        let inside = format!(r"{DIRECTORY}\infected library.dll");
        p.write_file(&inside, &eicar_test_file())
            .expect("a new file");
    })
}

#[test]
fn containers_that_use_short_names_share_the_layers_verdict() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 2, EcpVariant::default());
        let (scans, looked) = (world.scans(), world.count(LookupReason::Layer));
        for container in containers.iter() {
            container.process("app").run(|p| {
                assert!(p.read_file(SHORT).is_ok());
                assert_eq!(p.read_file(EVIL_SHORT), Err(INFECTED));
                let inside = r"C:\ADIREC~1\INFECT~1.DLL";
                assert_eq!(p.read_file(inside), Err(INFECTED));
                assert!(p.read_file(LONG).is_ok());
            });
        }
        assert_eq!(world.count(LookupReason::Layer) - looked, 8);
        // Each package file once at most: some were looked at when they were laid down.
        assert!(world.scans() - scans <= 3);
        containers.iter().for_each(|container| container.destroy());
    });
}

#[test]
fn i1_a_container_gets_nothing_past_by_a_short_name() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let app = containers[0].process("malware");
        app.run(|p| {
            // Copied on write through the short name, while its layer file has a clean verdict.
            assert!(p.read_file(SHORT).is_ok());
            let file = p.open(&OpenOptions::new(SHORT).write()).expect("clean");
            file.write_at(0, &eicar_test_file()).expect("its own now");
            file.close().expect("an open handle");
            assert_eq!(p.read_file(LONG), Err(INFECTED));
            assert_eq!(p.read_file(SHORT), Err(INFECTED));
            // A stream of a placeholder.
            p.write_file(&format!("{SHORT}:evil"), &eicar_test_file())
                .expect("a stream of its own");
            assert_eq!(p.read_file(&format!("{SHORT}:evil")), Err(INFECTED));
            // What it deletes by the short name stays deleted, and what comes there is its own.
            p.delete_file(SHORT).expect("its own");
            assert!(
                p.read_file(SHORT).is_err(),
                "the layer's must not come back"
            );
            p.write_file(LONG, &eicar_test_file()).expect("a new file");
            assert_eq!(p.read_file(SHORT), Err(INFECTED));
            // Its own file under the short name of a package file.
            p.write_file(r"C:\own.exe", &eicar_test_file())
                .expect("new");
            let own = p.open(&OpenOptions::new(r"C:\own.exe").delete());
            own.expect("no access to its data")
                .rename("ANOTHE~1.EXE", true)
                .expect("over a package file");
            assert_eq!(p.read_file(EVIL_SHORT), Err(INFECTED));
        });
        containers[0].destroy();
        let host = world.process("host");
        host.set_drive('C', &Arc::clone(&layer.volume));
        host.run(|p| {
            assert!(p.read_file(SHORT).is_ok(), "the layer is as it was");
            assert_eq!(p.read_file(EVIL), Err(INFECTED));
        });
    });
}
