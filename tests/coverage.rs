//! Registered layers: their files are skipped only while a proactive scan of this epoch covers
//! them, and whatever changes a file without a clean verdict ends that.

use filterhost::container::Container;
use filterhost::layout::PAGE_READWRITE;
use filterhost::user::{OpenOptions, Process};
use filterhost::wcifs::{EcpVariant, Layer};
use siloscan_core::reason::{DenyReason, Event, LookupReason, SkipReason};
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::marked::{MARKER, Marked};
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, containers, layer, options};
use siloscan_worlds::world::{Counts, World, WorldOptions};
use std::cell::Cell;
use std::sync::Arc;

/// A new file on the layer's volume.
const FILE: &str = r"C:\app\new.dll";

/// Polls that come more often: each report waits for one, in the free run in real time.
fn often() -> Vec<(String, u32)> {
    vec![("HeartbeatMs".to_owned(), 2_000)]
}

/// A host whose rules find marked files.
fn finding() -> WorldOptions {
    WorldOptions {
        engine: Some(Marked::new(1).finding().engine()),
        parameters: often(),
        ..options()
    }
}

/// A registered layer with a container over it, and an administrator who may change it.
struct Scene<'w> {
    world: &'w World,
    layer: Layer,
    containers: Arc<Vec<Container>>,
    admin: Process,
    opens: Cell<u64>,
    skipped: Cell<u64>,
}

impl<'w> Scene<'w> {
    fn new(world: &'w World) -> Self {
        let layer = Layer {
            registered: true,
            ..layer(world)
        };
        let containers = containers(world, &layer, 1, EcpVariant::IDS_FOR_REGISTERED);
        let admin = world.process("admin");
        admin.set_drive('C', &layer.volume);
        let scene = Self {
            world,
            layer,
            containers,
            admin,
            opens: Cell::new(0),
            skipped: Cell::new(0),
        };
        // Until their first scans are over the new files count as changed.
        for file in [TOOL, OTHER] {
            assert!(scene.admin.run(move |p| p.read_file(file)).is_ok());
        }
        scene
    }

    /// A proactive scan of the layer, from begin to end.
    fn cover(&self) {
        self.world.covering(&self.layer.volume);
        self.world.covered(&self.layer.volume);
    }

    /// Whether the container's open of a package file is skipped.
    fn skips(&self) -> bool {
        let app = self.containers[0].process("app");
        // Whether it succeeds is another question: the rules in use may fail on it.
        let _read = app.run(|p| p.read_file(TOOL));
        // Either is counted of each open.
        let looked = |counts: &Counts| {
            let layer = counts.get(LookupReason::Layer);
            layer + counts.get(LookupReason::CoveredLayer)
        };
        let opens = self.opens.get() + 1;
        self.opens.set(opens);
        let counts = self.world.counts_once(|counts| looked(counts) >= opens);
        let now = counts.map_or(0, |counts| counts.get(SkipReason::CoveredLayer));
        now > self.skipped.replace(now)
    }

    fn end(self) {
        self.containers[0].destroy();
    }
}

#[test]
fn a_covered_layer_is_looked_up_where_the_administrator_wants_that() {
    let mut looking = finding();
    looking.parameters.push(("RegisteredLayers".to_owned(), 1));
    everywhere(&looking, |world| {
        let scene = Scene::new(world);
        scene.cover();
        assert_eq!(world.count(Event::CoverageReported), 1);
        assert!(!scene.skips(), "as any other layer");
        assert!(world.count(LookupReason::Layer) >= 1);
        scene.end();
    });
}

#[test]
fn a_registered_layer_is_skipped_only_while_it_is_covered() {
    everywhere(&finding(), |world| {
        let scene = Scene::new(world);
        assert!(!scene.skips(), "nobody has said that it is");
        scene.world.covered(&scene.layer.volume);
        assert_eq!(world.count(Event::CoverageRefused), 1, "it never began");
        assert!(!scene.skips());
        scene.world.covering(&scene.layer.volume);
        assert!(!scene.skips(), "it has not ended");
        scene.world.covered(&scene.layer.volume);
        let scans = world.scans();
        assert!(scene.skips());
        assert_eq!(world.scans(), scans);
        world.use_engine(Marked::new(2).finding().engine());
        assert!(!scene.skips(), "other signatures");
        scene.cover();
        assert!(scene.skips());
        world.stop_service();
        world.start_service(Marked::new(2).finding().engine(), 2);
        assert!(!scene.skips(), "another connection");
        scene.end();
    });
}

#[test]
fn i1_infected_under_the_layer_key_denies_even_where_it_is_covered() {
    everywhere(&finding(), |world| {
        let scene = Scene::new(world);
        scene.admin.run(|p| {
            p.write_file(TOOL, MARKER).expect("the administrator may");
            assert_eq!(p.read_file(TOOL), Err(INFECTED));
        });
        // A service that is wrong about it.
        scene.cover();
        let app = scene.containers[0].process("app");
        assert_eq!(app.run(|p| p.read_file(TOOL)), Err(INFECTED));
        let denied = world.count(DenyReason::CoveredInfected);
        assert_eq!(denied, 1, "{:?}", world.counts().named());
        scene.end();
    });
}

#[test]
fn a_changed_file_with_a_clean_verdict_leaves_the_coverage() {
    everywhere(&finding(), |world| {
        let scene = Scene::new(world);
        scene.cover();
        scene.admin.run(|p| {
            p.write_file(FILE, b"clean").expect("a new file");
            // Waits for the verdict.
            assert!(p.read_file(FILE).is_ok());
            p.write_file(r"C:\app\empty", b"").expect("a new file");
            p.write_file(r"C:\app\temporary", b"clean")
                .expect("a new file");
            p.delete_file(r"C:\app\temporary").expect("nobody has it");
        });
        assert!(scene.skips(), "{:?}", world.counts().named());
        scene.end();
    });
}

/// What `change` does on the volume of a covered layer ends the coverage.
fn withdraws(options: &WorldOptions, change: impl Fn(&Process) + Copy + Send + Sync + 'static) {
    everywhere(options, move |world| {
        let scene = Scene::new(world);
        scene.cover();
        assert!(scene.skips());
        scene.admin.run(change);
        let ended = |counts: &Counts| counts.get(Event::CoverageWithdrawn) > 0;
        assert!(world.counts_once(ended).is_some());
        assert!(!scene.skips());
        // And a scan that began before the change reports nothing that holds.
        scene.world.covering(&scene.layer.volume);
        scene.admin.run(change);
        scene.world.covered(&scene.layer.volume);
        assert!(!scene.skips());
        scene.end();
    });
}

#[test]
fn an_infected_file_ends_the_coverage() {
    withdraws(&finding(), |p| {
        p.write_file(FILE, MARKER).expect("writing is allowed");
        assert_eq!(p.read_file(FILE), Err(INFECTED));
    });
}

#[test]
fn a_file_that_cannot_be_scanned_ends_the_coverage() {
    let failing = WorldOptions {
        engine: Some(Marked::new(1).failing().engine()),
        parameters: often(),
        ..options()
    };
    withdraws(&failing, |p| {
        p.write_file(FILE, b"anything").expect("writing is allowed");
        assert!(p.read_file(FILE).is_ok(), "the policy of the host");
    });
}

#[test]
fn a_file_that_is_written_through_a_view_ends_the_coverage() {
    withdraws(&finding(), |p| {
        let options = OpenOptions::new(FILE).read().write().create_always();
        let file = p.open(&options).expect("a new file");
        file.set_end_of_file(4096).expect("a writer");
        let section = file.create_section(PAGE_READWRITE, 0).expect("a writer");
        let view = section.map().expect("a live section");
        file.close().expect("an open handle");
        view.write(0, MARKER).expect("within the view");
        section.close().expect("an open handle");
    });
}

#[test]
fn a_changed_file_that_loses_one_of_its_names_ends_the_coverage() {
    withdraws(&finding(), |p| {
        let again = p.delete_file(r"C:\app\second");
        let file = p
            .open(&OpenOptions::new(FILE).write().delete().create_always())
            .expect("a new file");
        file.hard_link(r"\app\second", again.is_err())
            .expect("a second name");
        file.write_at(0, MARKER).expect("writing is allowed");
        file.delete().expect("the first name goes");
        file.close().expect("an open handle");
    });
}

#[test]
fn a_file_that_nobody_can_scan_at_its_close_ends_the_coverage() {
    everywhere(&finding(), |world| {
        let scene = Scene::new(world);
        scene.cover();
        world
            .machine()
            .faults()
            .fail_call("FltCreateSectionForDataScan", 1);
        scene
            .admin
            .run(|p| p.write_file(FILE, MARKER).expect("writing is allowed"));
        assert!(!scene.skips());
        let ended = |counts: &Counts| counts.get(Event::CoverageWithdrawn) == 1;
        assert!(world.counts_once(ended).is_some());
        scene.end();
    });
}
