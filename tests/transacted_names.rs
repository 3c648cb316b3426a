//! Names that change in a transaction, streams and readers of it: a verdict goes with the bytes
//! that an open gets, whichever name led there and whoever else sees another file under it.

use filterhost::fltmgr::transaction::{self, Transaction};
use filterhost::status::{STATUS_OBJECT_NAME_NOT_FOUND, STATUS_TRANSACTIONAL_CONFLICT};
use filterhost::user::{FileHandle, OpenOptions, Process};
use siloscan_core::reason::AllowReason;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, during, options};
use siloscan_worlds::world::World;

const FILE: &str = r"C:\notes.txt";
const OTHER: &str = r"C:\other.txt";
const EVIL: &str = r"C:\evil.com";

/// A clean file whose verdict is in the cache, and an infected one.
fn files(p: &Process) {
    p.write_file(FILE, b"clean").expect("a new file");
    p.write_file(EVIL, &eicar_test_file()).expect("a new file");
    assert!(p.read_file(FILE).is_ok());
    assert!(p.read_file(FILE).is_ok());
}

fn end(world: &World, within: Transaction, commit: bool) {
    transaction::end(world.machine(), within, commit);
}

/// Opens a file in a transaction.
fn open_in(p: &Process, path: &str, within: Transaction) -> FileHandle {
    let options = OpenOptions::new(path).read().write().transacted(within);
    p.open(&options).expect("clean")
}

/// What an open for reading in a transaction gives.
fn read_in(
    p: &Process,
    path: &str,
    within: Transaction,
) -> Result<Vec<u8>, filterhost::status::NtStatus> {
    let file = p.open(&OpenOptions::new(path).read().transacted(within))?;
    let bytes = file.read_to_end();
    file.close()?;
    bytes
}

/// Gives the infected file the name of the clean one, in a transaction.
fn swap(p: &Process, within: Transaction) {
    let options = OpenOptions::new(EVIL).delete().transacted(within);
    let file = p.open(&options).expect("no data access");
    file.rename("notes.txt", true).expect("nobody has it open");
    file.close().expect("an open handle");
}

#[test]
fn i2_a_name_taken_in_a_transaction_brings_no_verdict() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        for commit in [false, true] {
            let within = transaction::begin(world.machine());
            let (hits, ()) = during(world, &user, AllowReason::CachedClean, move |p| {
                swap(p, within);
                assert_eq!(read_in(p, FILE, within), Err(INFECTED), "in there");
                assert_eq!(p.read_file(FILE).expect("clean"), b"clean", "outside");
                assert_eq!(p.read_file(EVIL), Err(INFECTED));
            });
            assert_eq!(hits, 1, "the clean file was not touched");
            end(world, within, commit);
            user.run(move |p| {
                let there = p.read_file(FILE);
                if commit {
                    assert_eq!(there, Err(INFECTED));
                    assert_eq!(p.read_file(EVIL), Err(STATUS_OBJECT_NAME_NOT_FOUND));
                } else {
                    assert_eq!(there.expect("clean"), b"clean");
                    assert_eq!(p.read_file(EVIL), Err(INFECTED));
                }
            });
        }
    });
}

#[test]
fn i2_a_deletion_that_is_rolled_back_leaves_the_file_as_it_was() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        for commit in [false, true] {
            let within = transaction::begin(world.machine());
            user.run(move |p| {
                let options = OpenOptions::new(FILE).delete().transacted(within);
                let file = p.open(&options).expect("no data access");
                file.delete().expect("nobody has it open");
                file.close().expect("an open handle");
                let gone = read_in(p, FILE, within);
                assert_eq!(gone, Err(STATUS_OBJECT_NAME_NOT_FOUND), "in there");
                assert_eq!(p.read_file(FILE).expect("clean"), b"clean", "outside");
            });
            end(world, within, commit);
            let (hits, there) = during(world, &user, AllowReason::CachedClean, |p| {
                p.read_file(FILE).and_then(|_| p.read_file(FILE))
            });
            if commit {
                assert_eq!(there, Err(STATUS_OBJECT_NAME_NOT_FOUND));
            } else {
                assert_eq!(there.expect("clean"), b"clean");
                assert!(hits >= 1, "it is cached again");
            }
        }
        // What comes in its place is another file.
        user.run(|p| {
            p.write_file(FILE, &eicar_test_file()).expect("a new file");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
    });
}

#[test]
fn i1_a_stream_written_in_a_transaction_is_clean_until_commit() {
    const STREAM: &str = r"C:\notes.txt:more";
    everywhere(&options(), |world| {
        let user = world.process("user");
        let within = transaction::begin(world.machine());
        user.run(move |p| {
            files(p);
            p.write_file(STREAM, b"clean").expect("a named stream");
            let file = open_in(p, STREAM, within);
            file.write_at(0, &eicar_test_file()).expect("writable");
            file.close().expect("an open handle");
            assert_eq!(read_in(p, STREAM, within), Err(INFECTED));
            assert_eq!(p.read_file(STREAM).expect("clean"), b"clean", "outside");
            assert_eq!(p.read_file(FILE).expect("clean"), b"clean");
        });
        end(world, within, true);
        user.run(|p| {
            assert_eq!(p.read_file(STREAM), Err(INFECTED));
            assert_eq!(p.read_file(FILE).expect("clean"), b"clean");
        });
    });
}

#[test]
fn i1_a_reader_that_keeps_the_old_bytes_over_a_commit_keeps_their_verdict_to_itself() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(files);
        let reading = transaction::begin(world.machine());
        let writing = transaction::begin(world.machine());
        let old = user.run(move |p| {
            let options = OpenOptions::new(FILE).read().transacted(reading);
            let old = p.open(&options).expect("clean");
            let file = open_in(p, FILE, writing);
            file.write_at(0, &eicar_test_file()).expect("writable");
            file.close().expect("an open handle");
            old
        });
        end(world, writing, true);
        user.run(move |p| {
            assert_eq!(old.read_to_end().expect("its own sight"), b"clean");
            assert_eq!(p.read_file(FILE), Err(INFECTED), "everybody else's");
            // A later open in there begins with what is committed by then.
            assert_eq!(read_in(p, FILE, reading), Err(INFECTED));
            old.close().expect("an open handle");
            assert_eq!(p.read_file(FILE), Err(INFECTED));
        });
        end(world, reading, false);
        user.run(|p| assert_eq!(p.read_file(FILE), Err(INFECTED)));
    });
}

#[test]
fn i1_i2_of_two_transactions_each_ends_for_its_own_files() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        user.run(|p| {
            files(p);
            p.write_file(OTHER, b"clean").expect("a new file");
        });
        let (one, two) = (
            transaction::begin(world.machine()),
            transaction::begin(world.machine()),
        );
        user.run(move |p| {
            for (path, within, not) in [(FILE, one, two), (OTHER, two, one)] {
                let file = open_in(p, path, within);
                file.write_at(0, &eicar_test_file()).expect("writable");
                file.close().expect("an open handle");
                assert_eq!(read_in(p, path, within), Err(INFECTED));
                assert_eq!(read_in(p, path, not).expect("clean"), b"clean");
                let options = OpenOptions::new(path).write().transacted(not);
                let refused = p.open(&options).err();
                assert_eq!(refused, Some(STATUS_TRANSACTIONAL_CONFLICT));
            }
        });
        end(world, one, true);
        user.run(move |p| {
            assert_eq!(p.read_file(FILE), Err(INFECTED));
            assert_eq!(p.read_file(OTHER).expect("clean"), b"clean");
            assert_eq!(read_in(p, OTHER, two), Err(INFECTED));
        });
        end(world, two, false);
        let (hits, ()) = during(world, &user, AllowReason::CachedClean, |p| {
            assert_eq!(p.read_file(FILE), Err(INFECTED));
            assert_eq!(p.read_file(OTHER).expect("clean"), b"clean");
            assert_eq!(p.read_file(OTHER).expect("clean"), b"clean");
        });
        assert!(hits >= 1, "it is cached again");
    });
}
