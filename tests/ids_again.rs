//! File ids that come back: a file that is gone gives its id to another one (NTFS counts the users
//! of a record to 65,535 and begins anew). What was known of the first must not be believed of the
//! second.

use filterhost::fltmgr::transaction;
use filterhost::user::{OpenOptions, Process};
use siloscan_core::reason::AllowReason;
use siloscan_service::engine::eicar_test_file;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{INFECTED, during, options};
use siloscan_worlds::world::World;

const OLD: &str = r"C:\old.txt";
const NEW: &str = r"C:\new.com";

/// A clean file whose verdict is in the cache, and its id.
fn known(world: &World, user: &Process) -> [u8; 16] {
    world.system().fs().space().wrap_ids();
    let (hits, id) = during(world, user, AllowReason::CachedClean, |p| {
        p.write_file(OLD, b"clean").expect("a new file");
        assert!(p.read_file(OLD).is_ok());
        assert!(p.read_file(OLD).is_ok());
        id_of(p, OLD)
    });
    assert!(hits >= 1, "it is known");
    id
}

fn id_of(p: &Process, path: &str) -> [u8; 16] {
    let file = p.open(&OpenOptions::new(path)).expect("attributes only");
    let id = file.file_id().expect("NTFS tells it");
    file.close().expect("an open handle");
    id
}

/// Whoever works below us takes the file away: no operation tells of it.
fn taken_away_below_us(world: &World) {
    let fs = world.system().fs();
    let node = fs.find(r"\old.txt").expect("there");
    let mut space = fs.space();
    let link = space.first_link(node).expect("a name");
    space.unlink(node, link, 0).expect("there");
}

/// What of a file's bytes comes from below us, as with a file that a filter there fills.
fn filled_below_us(world: &World, path: &str) {
    let fs = world.system().fs();
    let node = fs.find(path).expect("there");
    let space = fs.space();
    let bytes = &space.node(node).expect("there").data.bytes;
    bytes.write(0, &eicar_test_file()).expect("writable");
}

#[test]
fn i1_i2_a_new_file_does_not_get_the_verdict_of_the_one_whose_id_it_got() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let id = known(world, &user);
        user.run(move |p| {
            p.delete_file(OLD).expect("nobody has it open");
            p.write_file(NEW, &eicar_test_file()).expect("a new file");
            assert_eq!(id_of(p, NEW), id, "the id of the one that is gone");
            assert_eq!(p.read_file(NEW), Err(INFECTED));
            assert_eq!(p.read_file(NEW), Err(INFECTED));
        });
    });
}

#[test]
fn i1_i2_a_created_file_drops_the_key_that_it_comes_with() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let id = known(world, &user);
        taken_away_below_us(world);
        user.run(|p| {
            let file = p.open(&OpenOptions::new(NEW).read().create_new());
            file.expect("new").close().expect("an open handle");
        });
        filled_below_us(world, r"\new.com");
        user.run(move |p| {
            assert_eq!(id_of(p, NEW), id, "the id of the one that is gone");
            assert_eq!(p.read_file(NEW), Err(INFECTED));
        });
    });
}

#[test]
fn i1_i2_another_name_or_link_brings_no_other_files_verdict() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let id = known(world, &user);
        user.run(move |p| {
            p.delete_file(OLD).expect("nobody has it open");
            p.write_file(r"C:\made.com", &eicar_test_file())
                .expect("a new file");
            let made = OpenOptions::new(r"C:\made.com").delete();
            let made = p.open(&made).expect("no data access");
            // Under the names that the other one had, and under both at once.
            made.hard_link("old.txt", false).expect("a free name");
            made.rename("new.com", false).expect("a free name");
            made.close().expect("an open handle");
            assert_eq!((id_of(p, NEW), id_of(p, OLD)), (id, id));
            assert_eq!(p.read_file(OLD), Err(INFECTED));
            assert_eq!(p.read_file(NEW), Err(INFECTED));
        });
    });
}

#[test]
fn i1_i2_a_file_made_in_a_transaction_drops_the_key_that_it_comes_with() {
    everywhere(&options(), |world| {
        let user = world.process("user");
        let id = known(world, &user);
        taken_away_below_us(world);
        let within = transaction::begin(world.machine());
        user.run(move |p| {
            let options = OpenOptions::new(NEW)
                .write()
                .create_new()
                .transacted(within);
            p.open(&options).expect("new").close().expect("open");
        });
        filled_below_us(world, r"\new.com");
        transaction::end(world.machine(), within, true);
        user.run(move |p| {
            assert_eq!(id_of(p, NEW), id, "the id of the one that is gone");
            assert_eq!(p.read_file(NEW), Err(INFECTED));
        });
    });
}
