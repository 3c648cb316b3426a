//! What was modified is never trusted: no verdict survives a change of the bytes it was earned for.

use filterhost::user::OpenOptions;
use filterhost::wcifs::EcpVariant;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, containers, layer, options};

const FILE: &str = r"C:\notes.txt";

#[test]
fn i2_a_written_file_is_scanned_again() {
    everywhere(&options(), |world| {
        world.process("user").run(|p| {
            p.write_file(FILE, &[b'x'; 68]).expect("a new file");
            // Known to be clean, and cached.
            assert!(p.read_file(FILE).is_ok());
            assert!(p.read_file(FILE).is_ok());
            let file = p
                .open(&OpenOptions::new(FILE).read().write())
                .expect("clean");
            file.write_at(0, &eicar_test_file())
                .expect("writing is allowed");
            // Still open for writing: another opener must not get the old verdict.
            assert_eq!(p.read_file(FILE), Err(INFECTED));
            file.close().expect("an open handle");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
    });
}

#[test]
fn i2_a_file_that_is_cut_to_its_infected_part_is_scanned_again() {
    everywhere(&options(), |world| {
        world.process("user").run(|p| {
            // EICAR followed by other bytes is no EICAR.
            let mut bytes = eicar_test_file().to_vec();
            bytes.extend_from_slice(&[b'x'; 100]);
            p.write_file(FILE, &bytes).expect("a new file");
            assert!(p.read_file(FILE).is_ok());
            let file = p.open(&OpenOptions::new(FILE).write()).expect("clean");
            file.set_end_of_file(68).expect("cutting is allowed");
            file.close().expect("an open handle");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
    });
}

#[test]
fn i2_a_file_swapped_in_by_rename_gets_its_own_verdict() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        containers[0].process("malware").run(|p| {
            p.write_file(FILE, b"clean").expect("a new file");
            assert!(p.read_file(FILE).is_ok());
            p.write_file(r"C:\evil.tmp", &eicar_test_file())
                .expect("writing is allowed");
            p.rename_file(r"C:\evil.tmp", FILE, true)
                .expect("renaming is allowed");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
        containers[0].destroy();
    });
}

#[test]
fn w1_openers_of_one_file_all_wait_for_the_verdict() {
    everywhere(&options(), |world| {
        world.process("user").run(|p| {
            p.write_file(FILE, &eicar_test_file())
                .expect("writing is allowed");
        });
        let user = world.process("openers");
        let tasks: Vec<_> = (0..8)
            .map(|_| user.spawn("open", |p| p.read_file(FILE)))
            .collect();
        for task in tasks {
            assert_eq!(task.join(), Err(INFECTED), "nobody slips through");
        }
    });
}
