//! What the Filter Manager does over the life of a filter: attaching, callbacks on the way down
//! and up, draining, unloading, and what it finds left.
//!
//! Pages: <https://learn.microsoft.com/windows-hardware/drivers/ddi/fltkernel/> with
//! `nc-fltkernel-pflt_pre_operation_callback`, `nc-fltkernel-pflt_post_operation_callback`,
//! `nc-fltkernel-pflt_filter_unload_callback`, `nf-fltkernel-fltunregisterfilter`,
//! `nf-fltkernel-fltcancelfileopen`, `nf-fltkernel-fltsetecplistintocallbackdata`.
#![cfg(feature = "clang")]

mod lifecycle_world;
mod support;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use filterhost::fltmgr::dispatch::{PostLevel, set_post_level};
use filterhost::fltmgr::registration::{Unload, stop, unload};
use filterhost::fltmgr::{FilterManager, NativeFilter, Pre, instance, native, volume};
use filterhost::layout::{FLT_CALLBACK_DATA, FLTFL_CALLBACK_DATA_IRP_OPERATION, IRP_MJ_CREATE};
use filterhost::status::*;
use filterhost::user::OpenOptions;
use filterhost::volume::{FsKind, Request, Volume};
use filterhost::{LoadOptions, Machine, Mode};
use lifecycle_world::{Case, World, load, on};

#[test]
fn an_instance_is_set_up_and_torn_down_in_the_documented_order() {
    on(Case::Plain, |world| {
        assert!(
            world.has_said("setup flags 1 device 8 kind 2"),
            "{:?}",
            world.said()
        );
        world.open().expect("the open passes");
        world.finish();
        let said = world.said();
        let teardown: Vec<_> = said
            .iter()
            .skip_while(|line| !line.starts_with("unload"))
            .collect();
        // The stream's context went with its last close.
        assert_eq!(
            teardown,
            [
                "unload 0",
                "start 2",
                "complete 2",
                "cleanup 2 99",
                "unregistered"
            ]
        );
        assert!(said.contains(&"cleanup 8 42".to_owned()), "{said:?}");
    });
}

#[test]
fn contexts_of_open_files_go_with_the_instance() {
    on(Case::Plain, |world| {
        let process = world.process.clone();
        let file = process.run(|p| p.open(&OpenOptions::new("\\file.txt").read()));
        let file = file.expect("the open passes");
        world
            .driver
            .unload()
            .expect("an open file does not hold the filter");
        let said = world.said();
        let end = said.len().saturating_sub(4);
        assert_eq!(
            said[end..],
            ["complete 2", "cleanup 8 42", "cleanup 2 99", "unregistered"]
        );
        process
            .run(move |_| file.close())
            .expect("close cannot fail");
    });
}

#[test]
fn a_newly_mounted_volume_is_offered_at_its_first_operation() {
    on(Case::Plain, |world| {
        let late = Volume::mount_kind(&world.m, FsKind::Refs);
        late.fs().place("\\a", b"a").expect("a file");
        let newly = "setup flags 5 device 8 kind 1c";
        assert!(!world.has_said(newly));
        world.process.set_drive('D', &late);
        world
            .process
            .run(|p| p.read_file("D:\\a"))
            .expect("the file is read");
        assert!(world.has_said(newly), "{:?}", world.said());
        world.finish();
    });
}

#[test]
fn a_filter_that_does_not_attach_sees_nothing() {
    on(Case::DoNotAttach, |world| {
        world.open().expect("the open passes");
        assert!(!world.has_said("pre 0"));
        world.finish();
        assert!(!world.said().iter().any(|line| line.starts_with("start")));
    });
}

#[test]
fn an_optional_unload_may_be_refused_and_a_service_stop_not() {
    on(Case::RefuseUnload, |world| {
        assert_eq!(world.driver.unload(), Err(STATUS_FLT_DO_NOT_DETACH));
        assert_eq!(
            unload(&world.m, "lifecycle", Unload::Optional),
            Err(STATUS_FLT_DO_NOT_DETACH)
        );
        assert!(FilterManager::of(&world.m).filters().len() == 1);
        stop(&world.m, &world.driver).expect("a mandatory unload goes through");
        assert!(world.has_said("start 4"), "{:?}", world.said());
    });
}

#[test]
fn a_missing_instances_key_refuses_the_registration() {
    let machine = Machine::builder().without_rules(&["registry-instances"]);
    let outcome = machine.run(|m| {
        let image = support::driver("lifecycle", &["-DCASE=0"]);
        let refused = m.load_driver(&LoadOptions::new(image, "lifecycle"));
        refused.map(|_| ()).map_err(|error| error.to_string())
    });
    let refused = outcome
        .expect("no report")
        .value
        .expect_err("no Instances key");
    assert!(
        refused.contains("STATUS_OBJECT_NAME_NOT_FOUND"),
        "{refused}"
    );
}

#[test]
fn instances_stack_by_altitude_whatever_was_loaded_first() {
    on(Case::Plain, |world| {
        let high = load(&world.m, Case::Plain, "high", "370123.5");
        let low = load(&world.m, Case::Plain, "low", "99999");
        let attached = volume::attached(&world.m, &world.disk);
        let stack = attached.stack();
        let names: Vec<_> = stack
            .iter()
            .map(|it| it.filter().name().to_owned())
            .collect();
        assert_eq!(names, ["high", "lifecycle", "low"]);
        for driver in [high, low] {
            driver.unload().expect("it unloads");
        }
        world.finish();
    });
}

#[test]
fn an_instance_is_detached_and_attached_by_hand() {
    on(Case::Plain, |world| {
        let attached = volume::attached(&world.m, &world.disk);
        let filter = FilterManager::of(&world.m).filters()[0].clone();
        instance::detach_by_hand(&world.m, &filter, &attached, Some("one")).expect("it detaches");
        assert!(
            world.has_said("query") && world.has_said("start 1"),
            "{:?}",
            world.said()
        );
        world.open().expect("the open passes");
        assert!(!world.has_said("pre 0"));
        let again = instance::detach_by_hand(&world.m, &filter, &attached, None);
        assert_eq!(again, Err(STATUS_FLT_INSTANCE_NOT_FOUND));
        let definition = filter.definitions()[0].clone();
        let made = instance::attach_by_hand(&world.m, &filter, &attached, &definition);
        assert!(made.is_ok() && world.has_said("setup flags 2 device 8 kind 2"));
        let twice = instance::attach_by_hand(&world.m, &filter, &attached, &definition);
        assert_eq!(twice.map(|_| ()), Err(STATUS_FLT_INSTANCE_NAME_COLLISION));
        world.open().expect("the open passes");
        assert!(world.has_said("pre 0"));
        world.finish();
    });
}

/// A filter below that holds creates back until it is told, and looks at what it sees.
struct Gate {
    closed: AtomicBool,
    inside: AtomicU32,
    attributes: AtomicU32,
    reparses: AtomicU32,
}

impl Gate {
    fn below(
        world: &World,
        closed: bool,
        reparses: u32,
    ) -> (Arc<Self>, filterhost::fltmgr::InstanceRef) {
        let gate = Arc::new(Self {
            closed: AtomicBool::new(closed),
            inside: AtomicU32::new(0),
            attributes: AtomicU32::new(0),
            reparses: AtomicU32::new(reparses),
        });
        let instance = native::attach(&world.m, &world.disk, gate.clone());
        (gate, instance)
    }
}

impl NativeFilter for Gate {
    fn altitude(&self) -> &str {
        "1000"
    }

    fn name(&self) -> &str {
        "gate"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        let request = Request::new(data);
        if request.major() != IRP_MJ_CREATE {
            return Pre::NoCallback;
        }
        self.attributes.store(
            u32::from(request.create().file_attributes),
            Ordering::SeqCst,
        );
        self.inside.fetch_add(1, Ordering::SeqCst);
        m.sched().notify();
        let open = || (!self.closed.load(Ordering::SeqCst)).then_some(());
        m.sched()
            .wait_until("the gate", None, open)
            .expect("no deadline");
        if self.reparses.load(Ordering::SeqCst) > 0 {
            self.reparses.fetch_sub(1, Ordering::SeqCst);
            if let Some(packet) = filterhost::fltmgr::ecp::of_data(m, data)
                && let Some(ecp) = packet.find(m, KIND)
            {
                ecp.set_acknowledged(true);
                ecp.write(&8_u32.to_le_bytes());
            }
            // The file object's name says where to go: to the same place once more.
            let name = filterhost::volume::name::units("\\Device\\HarddiskVolume1\\file.txt");
            self.rename(request, &name);
            request.finish(STATUS_REPARSE, 0);
            return Pre::Complete;
        }
        Pre::WithCallback(Box::new(7_u32))
    }

    fn post(&self, _: &Arc<Machine>, _: *mut FLT_CALLBACK_DATA, context: Box<dyn Any + Send>) {
        assert_eq!(context.downcast_ref::<u32>(), Some(&7));
    }
}

impl Gate {
    /// Points the file object to a name that lives as long as the test.
    fn rename(&self, request: Request, name: &[u16]) {
        let text: &'static mut [u16] = Box::leak(name.to_vec().into_boxed_slice());
        let length = u16::try_from(text.len() * 2).expect("a short name");
        let file = request.file().expect("a file object");
        file.update(|fields| {
            fields.file_name.buffer = text.as_mut_ptr();
            fields.file_name.length = length;
            fields.file_name.maximum_length = length;
        });
    }
}

/// The type that `lifecycle.c` attaches.
const KIND: filterhost::layout::GUID =
    filterhost::layout::GUID::from_u128(0x11111111_2222_3333_0404_040404040404);

#[test]
fn a_detach_drains_what_is_still_below() {
    on(Case::Plain, |world| {
        let (gate, below) = Gate::below(world, true, 0);
        let attached = volume::attached(&world.m, &world.disk);
        let opener = world.process.spawn("opener", |process| {
            process
                .open(&OpenOptions::new("\\file.txt").read())?
                .close()
        });
        let inside = || (gate.inside.load(Ordering::SeqCst) == 1).then_some(());
        world
            .m
            .sched()
            .wait_until("the opener", None, inside)
            .expect("no deadline");
        let filter = FilterManager::of(&world.m).filters()[0].clone();
        instance::detach_by_hand(&world.m, &filter, &attached, None).expect("it detaches");
        let said = world.said();
        let tail: Vec<_> = said.iter().skip_while(|line| *line != "start 1").collect();
        let expected = [
            "start 1",
            "post 0 context 55 flags 1",
            "complete 1",
            "cleanup 2 99",
        ];
        assert_eq!(tail, expected);
        gate.closed.store(false, Ordering::SeqCst);
        world.m.sched().notify();
        opener.join().expect("the open passes without the filter");
        let posts = world
            .said()
            .iter()
            .filter(|line| line.starts_with("post 0"))
            .count();
        assert_eq!(posts, 1, "the drained post is not called again");
        world.finish();
        native::detach(&world.m, &below);
    });
}

#[test]
fn changed_parameters_reach_those_below_and_are_taken_back_on_the_way_up() {
    on(Case::ChangeWithDirty, |world| {
        let (gate, below) = Gate::below(world, false, 0);
        world.open().expect("the open passes");
        let seen = gate.attributes.load(Ordering::SeqCst);
        assert_eq!(seen & 2, 2, "the filter below sees the change");
        let own = format!("attributes {:x}", seen & !2);
        assert!(
            world.has_said(&own),
            "the filter itself does not: {:?}",
            world.said()
        );
        world.finish();
        native::detach(&world.m, &below);
    });
}

#[test]
fn a_pended_create_goes_on_when_it_is_completed() {
    on(Case::Pend, |world| {
        world.open().expect("the open passes");
        assert!(world.has_said("completing"));
        assert!(
            world.has_said("post 0 context 77 flags 0"),
            "{:?}",
            world.said()
        );
        world.finish();
    });
}

#[test]
fn a_completed_create_stays_above() {
    on(Case::Complete, |world| {
        let (gate, below) = Gate::below(world, false, 0);
        assert_eq!(world.open(), Err(STATUS_ACCESS_DENIED));
        assert_eq!(gate.inside.load(Ordering::SeqCst), 0);
        assert!(!world.said().iter().any(|line| line.starts_with("post 0")));
        world.finish();
        native::detach(&world.m, &below);
    });
}

#[test]
fn a_cancelled_open_fails_and_leaves_nothing_open() {
    on(Case::Cancel, |world| {
        assert_eq!(world.open(), Err(STATUS_VIRUS_INFECTED));
        assert_eq!(world.disk.fs().open_count(), 0);
        assert!(
            !world.has_said("pre 18"),
            "the canceller does not see the cleanup below it"
        );
        world.finish();
    });
}

#[test]
fn a_post_at_dispatch_level_is_made_safe() {
    on(Case::PostWhenSafe, |world| {
        for (level, own) in [(PostLevel::Dispatch, 2), (PostLevel::Passive, 0)] {
            set_post_level(&world.m, level);
            world
                .process
                .run(|p| p.write_file("\\file.txt", b"changed"))
                .expect("a write");
            assert!(
                world.has_said(&format!("post 4 at {own}")),
                "{:?}",
                world.said()
            );
            assert!(world.has_said("safe post 4 at 0"), "{:?}", world.said());
        }
        world.finish();
    });
}

#[test]
fn an_ecp_list_survives_a_reparse_and_is_freed_at_the_end() {
    on(Case::EcpAttach, |world| {
        let (_gate, below) = Gate::below(world, false, 1);
        world.open().expect("the second pass opens the file");
        let said = world.said();
        let ecp: Vec<_> = said.iter().filter(|line| line.starts_with("ecp")).collect();
        assert_eq!(
            ecp,
            [
                "ecp attached 0",
                "ecp found 8 acknowledged 1",
                "ecp cleanup 8 11111111"
            ]
        );
        world.finish();
        native::detach(&world.m, &below);
    });
}

#[test]
fn operations_of_every_kind_carry_exactly_one_kind_flag() {
    on(Case::Plain, |world| {
        struct Kinds;
        impl NativeFilter for Kinds {
            fn altitude(&self) -> &str {
                "2000"
            }
            fn name(&self) -> &str {
                "kinds"
            }
            fn pre(&self, _: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
                let kinds = Request::new(data).flags() & 7;
                assert_eq!(kinds.count_ones(), 1, "{kinds:#x}");
                let create = Request::new(data).major() == IRP_MJ_CREATE;
                assert!(!create || kinds == FLTFL_CALLBACK_DATA_IRP_OPERATION);
                Pre::NoCallback
            }
        }
        let instance = native::attach(&world.m, &world.disk, Arc::new(Kinds));
        world.process.run(|p| {
            p.write_file("\\new.txt", b"x").expect("a write");
            p.read_file("\\new.txt").expect("a read");
            p.rename_file("\\new.txt", "\\other.txt", false)
                .expect("a rename");
            p.delete_file("\\other.txt").expect("a delete");
        });
        world.finish();
        native::detach(&world.m, &instance);
    });
}

/// Threads open and write while filters detach, attach, unload and load again.
fn under_load(mode: Mode) -> u64 {
    let outcome = Machine::builder().scheduler(mode).run(|m| {
        let world = World::new(m, Case::Plain, "370123");
        let (_gate, below) = Gate::below(&world, false, 0);
        let user = |_| {
            world.process.spawn("user", |process| {
                for _ in 0..6 {
                    let file = process.open(&OpenOptions::new("\\file.txt").read().write());
                    let file = file.expect("no filter refuses");
                    file.write_at(0, b"HELLO").expect("a write");
                    file.close().expect("close cannot fail");
                }
            })
        };
        let users: Vec<_> = (0..3).map(user).collect();
        let attached = volume::attached(m, &world.disk);
        let filter = FilterManager::of(m).filters()[0].clone();
        instance::detach_by_hand(m, &filter, &attached, None).expect("it detaches");
        let definition = filter.definitions()[0].clone();
        let again = instance::attach_by_hand(m, &filter, &attached, &definition);
        drop(again.expect("it attaches again"));
        world.driver.unload().expect("it unloads under load");
        let second = load(m, Case::PostWhenSafe, "second", "370124");
        second.unload().expect("it unloads under load");
        for user in users {
            user.join();
        }
        world.process.exit();
        native::detach(m, &below);
        // The lazy writer holds a changed file a little longer than its user.
        filterhost::user::cache::settle(m);
        assert_eq!(world.disk.fs().open_count(), 0);
    });
    outcome
        .unwrap_or_else(|report| panic!("{mode:?}: {report}"))
        .trace_hash
}

#[test]
fn filters_come_and_go_under_load() {
    under_load(Mode::Free);
    for seed in 0..20 {
        under_load(Mode::Seeded(seed));
    }
    assert_eq!(under_load(Mode::Seeded(5)), under_load(Mode::Seeded(5)));
}
