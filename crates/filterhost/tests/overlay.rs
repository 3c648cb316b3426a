//! Containers: layers seen through a scratch volume, and the answers to the redirection ECP in
//! every variant.

use std::any::Any;
use std::sync::Arc;
use std::sync::Mutex;

use filterhost::fltmgr::{NativeFilter, Pre, ecp, native as attach};
use filterhost::layout as w;
use filterhost::native::{OtherAntivirus, Projected, Reissue};
use filterhost::status::*;
use filterhost::user::{OpenOptions, Process, cache};
use filterhost::volume::request::Request;
use filterhost::volume::{FsKind, Volume};
use filterhost::wcifs::{EcpVariant, Layer};
use filterhost::{Container, ContainerOptions, Machine, Mode};

/// What a create's redirection ECP said on the way up: acknowledged, flags, id, GUID.
type Answer = (bool, u16, [u8; 16], [u8; 16]);

/// Attaches the ECP above everybody and records what comes back.
#[derive(Default)]
struct Asker {
    answers: Mutex<Vec<Answer>>,
    size: u16,
}

impl NativeFilter for Asker {
    fn altitude(&self) -> &str {
        "320999.5"
    }

    fn name(&self) -> &str {
        "asker"
    }

    fn pre(&self, m: &Arc<Machine>, data: *mut w::FLT_CALLBACK_DATA) -> Pre {
        if Request::new(data).major() != w::IRP_MJ_CREATE {
            return Pre::NoCallback;
        }
        let packet = ecp::of_data(m, data).unwrap();
        let mut context = vec![0; 0x24];
        context[..2].copy_from_slice(&self.size.to_le_bytes());
        packet.add(m, w::GUID_ECP_CREATE_REDIRECTION, &context, false);
        Pre::WithCallback(Box::new(()))
    }

    fn post(&self, m: &Arc<Machine>, data: *mut w::FLT_CALLBACK_DATA, _: Box<dyn Any + Send>) {
        if Request::new(data).status().0 == STATUS_REPARSE {
            return;
        }
        let packet = ecp::of_data(m, data).unwrap();
        let ecp = packet.find(m, w::GUID_ECP_CREATE_REDIRECTION).unwrap();
        let bytes = ecp.bytes();
        let flags = u16::from_le_bytes([bytes[2], bytes[3]]);
        let id = bytes[4..20].try_into().unwrap();
        let guid = bytes[20..36].try_into().unwrap();
        self.answers
            .lock()
            .unwrap()
            .push((ecp.is_acknowledged(), flags, id, guid));
    }
}

struct World {
    host: Arc<Volume>,
    container: Container,
    asker: Arc<Asker>,
}

impl World {
    fn new(m: &Arc<Machine>, variant: EcpVariant, change: impl Fn(&mut Layer)) -> Self {
        let host = Volume::mount_kind(m, FsKind::Ntfs);
        for (path, data) in [
            ("\\layers\\top\\Windows\\a.dll", "top a"),
            ("\\layers\\base\\Windows\\a.dll", "base a"),
            ("\\layers\\base\\Windows\\b.dll", "base b"),
            ("\\layers\\base\\Windows\\System32\\c.exe", "base c"),
        ] {
            host.fs().place(path, data.as_bytes()).unwrap();
        }
        let layer = |name: &str| {
            let root = format!("\\layers\\{name}");
            let volume = Arc::clone(&host);
            let mut layer = Layer {
                volume,
                root,
                registered: false,
                remote: false,
            };
            change(&mut layer);
            layer
        };
        let layers = vec![layer("top"), layer("base")];
        let options = ContainerOptions {
            layers,
            variant,
            ..ContainerOptions::default()
        };
        let container = m.create_container(&options);
        let asker = Arc::new(Asker {
            size: 0x24,
            ..Asker::default()
        });
        attach::attach(
            m,
            container.scratch(),
            Arc::clone(&asker) as Arc<dyn NativeFilter>,
        );
        Self {
            host,
            container,
            asker,
        }
    }

    /// The last answer to an open in the container.
    fn ask(&self, options: OpenOptions) -> Answer {
        let process = self.container.process("asker.exe");
        self.asker.answers.lock().unwrap().clear();
        let opened = process.run(move |p| p.open(&options).map(drop));
        assert!(opened.is_ok(), "{opened:?}");
        process.exit();
        *self.asker.answers.lock().unwrap().last().unwrap()
    }

    fn id_on_host(&self, path: &str) -> [u8; 16] {
        let node = self.host.fs().find(path).unwrap();
        self.host.fs().space().node(node).unwrap().id.bytes()
    }

    fn guid_of_host(&self) -> [u8; 16] {
        let guid = self.host.guid().unwrap();
        let mut bytes = guid.data1.to_le_bytes().to_vec();
        bytes.extend(guid.data2.to_le_bytes());
        bytes.extend(guid.data3.to_le_bytes());
        bytes.extend(guid.data4);
        bytes.try_into().unwrap()
    }
}

fn worlds(
    variant: EcpVariant,
    change: impl Fn(&mut Layer) + Copy + Send + 'static,
    body: impl Fn(&Arc<Machine>, &World) + Copy + Send + 'static,
) {
    let run = |mode: Mode| {
        let outcome = Machine::builder().scheduler(mode).run(move |m| {
            let world = World::new(m, variant, change);
            body(m, &world);
            cache::settle(m);
            assert_eq!(world.container.scratch().fs().open_count(), 0);
            world.container.destroy();
        });
        outcome
            .unwrap_or_else(|report| panic!("{report}"))
            .trace_hash
    };
    run(Mode::Free);
    assert_eq!(run(Mode::Seeded(3)), run(Mode::Seeded(3)));
}

fn plain(body: impl Fn(&Arc<Machine>, &World) + Copy + Send + 'static) {
    worlds(EcpVariant::empty(), |_| (), body);
}

fn inside<T: Send + 'static>(
    world: &World,
    body: impl FnOnce(&Process) -> T + Send + 'static,
) -> T {
    let process = world.container.process("app.exe");
    let value = process.run(body);
    process.exit();
    value
}

#[test]
fn layers_show_through_with_the_topmost_first() {
    plain(|_, world| {
        inside(world, |p| {
            assert_eq!(p.read_file("C:\\windows\\A.DLL").unwrap(), b"top a");
            assert_eq!(p.read_file("\\Windows\\b.dll").unwrap(), b"base b");
            assert_eq!(
                p.list_directory("\\Windows").unwrap(),
                ["a.dll", "b.dll", "System32"]
            );
            assert_eq!(p.list_directory("\\").unwrap(), ["Windows"]);
            let missing = p.read_file("\\Windows\\none.dll").err();
            assert_eq!(missing, Some(STATUS_OBJECT_NAME_NOT_FOUND));
        });
    });
}

#[test]
fn placeholders_are_hidden_from_above_and_not_from_below() {
    plain(|_, world| {
        inside(world, |p| {
            let file = p
                .open(&OpenOptions::new("\\Windows\\b.dll").read())
                .unwrap();
            let info = file.info().unwrap();
            assert_eq!(info.attributes & w::FILE_ATTRIBUTE_REPARSE_POINT, 0);
            assert_eq!(info.length, 6);
            let section = file.create_section(w::PAGE_READONLY, 0).unwrap();
            assert_eq!(section.map().unwrap().read(0, 6).unwrap(), b"base b");
        });
        let fs = world.container.scratch().fs();
        assert_eq!(
            fs.contents("\\Windows\\b.dll").unwrap(),
            [0; 6],
            "no bytes of its own"
        );
        let node = fs.find("\\Windows\\b.dll").unwrap();
        assert_ne!(fs.space().node(node).unwrap().reparse_tag(), 0);
        assert_ne!(
            fs.space().node(node).unwrap().id.bytes(),
            world.id_on_host("\\layers\\base\\Windows\\b.dll"),
        );
    });
}

#[test]
fn a_write_copies_and_leaves_the_layer_alone() {
    for variant in [EcpVariant::empty(), EcpVariant::COPY_AT_OPEN] {
        worlds(
            variant,
            |_| (),
            |_, world| {
                inside(world, |p| {
                    let file = p
                        .open(&OpenOptions::new("\\Windows\\b.dll").read().write())
                        .unwrap();
                    file.write_at(0, b"EVIL").unwrap();
                    assert_eq!(file.read_to_end().unwrap(), b"EVIL b");
                    p.write_file("\\Windows\\a.dll", b"all new").unwrap();
                    assert_eq!(p.read_file("\\Windows\\a.dll").unwrap(), b"all new");
                    let file = p
                        .open(&OpenOptions::new("\\Windows\\System32\\c.exe").write())
                        .unwrap();
                    file.set_end_of_file(4).unwrap();
                });
                let scratch = world.container.scratch().fs();
                assert_eq!(scratch.contents("\\Windows\\b.dll").unwrap(), b"EVIL b");
                assert_eq!(
                    scratch.contents("\\Windows\\System32\\c.exe").unwrap(),
                    b"base"
                );
                let layer = world.host.fs().contents("\\layers\\base\\Windows\\b.dll");
                assert_eq!(layer.unwrap(), b"base b");
            },
        );
    }
}

#[test]
fn mapped_writes_copy_too() {
    plain(|m, world| {
        inside(world, |p| {
            let file = p
                .open(&OpenOptions::new("\\Windows\\b.dll").read().write())
                .unwrap();
            let section = file.create_section(w::PAGE_READWRITE, 0).unwrap();
            section.map().unwrap().write(0, b"MAP").unwrap();
        });
        cache::settle(m);
        let own = world.container.scratch().fs().contents("\\Windows\\b.dll");
        assert_eq!(own.unwrap(), b"MAPe b");
    });
}

#[test]
fn what_is_deleted_or_moved_stays_away() {
    plain(|_, world| {
        inside(world, |p| {
            p.delete_file("\\Windows\\a.dll").unwrap();
            let gone = p.read_file("\\Windows\\a.dll").err();
            assert_eq!(
                gone,
                Some(STATUS_OBJECT_NAME_NOT_FOUND),
                "the lower layer's is hidden too"
            );
            p.rename_file("\\Windows\\b.dll", "\\Windows\\moved.dll", false)
                .unwrap();
            assert_eq!(p.read_file("\\Windows\\moved.dll").unwrap(), b"base b");
            assert_eq!(
                p.list_directory("\\Windows").unwrap(),
                ["moved.dll", "System32"]
            );
            p.write_file("\\Windows\\a.dll", b"mine").unwrap();
            assert_eq!(p.read_file("\\Windows\\a.dll").unwrap(), b"mine");
            let whole = p.rename_file("\\Windows", "\\W", false);
            assert_eq!(
                whole,
                Err(STATUS_NOT_SAME_DEVICE),
                "a merged directory cannot move"
            );
        });
    });
}

#[test]
fn a_container_that_starts_again_finds_its_own() {
    plain(|m, world| {
        inside(world, |p| {
            p.delete_file("\\Windows\\a.dll").unwrap();
            p.write_file("\\Windows\\b.dll", b"mine").unwrap();
        });
        cache::settle(m);
        world.container.stop();
        let scratch = Arc::clone(world.container.scratch());
        let host = Process::create(m, "host.exe", &scratch, None);
        host.run(|p| {
            assert_eq!(p.read_file("\\Windows\\b.dll").unwrap(), b"mine");
        });
        host.exit();
        let layers = world.container.filter().overlay().layers().to_vec();
        let options = ContainerOptions {
            layers,
            ..ContainerOptions::default()
        };
        let whiteouts = Arc::clone(world.container.whiteouts());
        let again = Container::start(m, &options, &scratch, whiteouts);
        let process = again.process("app.exe");
        process.run(|p| {
            assert_eq!(p.read_file("\\Windows\\b.dll").unwrap(), b"mine");
            let gone = p.read_file("\\Windows\\a.dll").err();
            assert_eq!(gone, Some(STATUS_OBJECT_NAME_NOT_FOUND));
            assert_eq!(
                p.read_file("\\Windows\\System32\\c.exe").unwrap(),
                b"base c"
            );
        });
        process.exit();
    });
}

#[test]
fn the_redirection_ecp_is_answered_as_documented() {
    plain(|_, world| {
        let read = |path: &str| world.ask(OpenOptions::new(path).read());
        let (acknowledged, flags, id, guid) = read("\\Windows\\b.dll");
        assert!(acknowledged);
        assert_eq!(flags, w::CREATE_REDIRECTION_FLAGS_SERVICED_FROM_LAYER);
        assert_eq!(id, world.id_on_host("\\layers\\base\\Windows\\b.dll"));
        assert_eq!(guid, world.guid_of_host());
        inside(world, |p| {
            p.write_file("\\Windows\\b.dll", b"mine").unwrap()
        });
        let scratch = w::CREATE_REDIRECTION_FLAGS_SERVICED_FROM_SCRATCH;
        assert_eq!(read("\\Windows\\b.dll"), (true, scratch, [0; 16], [0; 16]));
        let made = world.ask(OpenOptions::new("\\new").write().create_new());
        assert_eq!(made.1, scratch);
    });
}

#[test]
fn registered_and_remote_layers_are_told() {
    worlds(
        EcpVariant::empty(),
        |layer| layer.registered = true,
        |_, world| {
            let answer = world.ask(OpenOptions::new("\\Windows\\b.dll").read());
            assert_eq!(answer, (true, 5, [0; 16], [0; 16]));
        },
    );
    worlds(
        EcpVariant::IDS_FOR_REGISTERED,
        |layer| layer.registered = true,
        |_, world| {
            let (_, flags, id, _) = world.ask(OpenOptions::new("\\Windows\\b.dll").read());
            assert_eq!(
                (flags, id),
                (5, world.id_on_host("\\layers\\base\\Windows\\b.dll"))
            );
        },
    );
    worlds(
        EcpVariant::REGISTERED_AS_PLAIN,
        |layer| layer.registered = true,
        |_, world| {
            assert_eq!(world.ask(OpenOptions::new("\\Windows\\b.dll").read()).1, 1);
        },
    );
    worlds(
        EcpVariant::IDS_FOR_REGISTERED,
        |layer| layer.remote = true,
        |_, world| {
            let answer = world.ask(OpenOptions::new("\\Windows\\b.dll").read());
            assert_eq!(
                answer,
                (true, 9, [0; 16], [0; 16]),
                "never ids for a remote layer"
            );
        },
    );
}

#[test]
fn variants_leave_out_what_they_say() {
    let b = || OpenOptions::new("\\Windows\\b.dll").read();
    worlds(
        EcpVariant::SILENT,
        |_| (),
        move |_, world| assert!(!world.ask(b()).0),
    );
    worlds(
        EcpVariant::ZERO_IDS,
        |_| (),
        move |_, world| {
            assert_eq!(world.ask(b()), (true, 1, [0; 16], [0; 16]));
        },
    );
    worlds(
        EcpVariant::NO_DIRECTORIES,
        |_| (),
        |_, world| {
            assert!(!world.ask(OpenOptions::new("\\Windows").list()).0);
        },
    );
    plain(|_, world| assert!(world.ask(OpenOptions::new("\\Windows").list()).0));
}

#[test]
fn a_second_pass_finds_the_first_ones_answer() {
    let both = EcpVariant::REPARSE | EcpVariant::STALE_ANSWER;
    worlds(
        both | EcpVariant::OR_FLAGS,
        |_| (),
        |_, world| {
            let answer = world.ask(OpenOptions::new("\\Windows\\b.dll").read());
            assert_eq!(
                answer.1, 0xd,
                "stale REGISTERED and REMOTE stay where nobody resets them"
            );
        },
    );
    worlds(
        both,
        |_| (),
        |_, world| {
            let answer = world.ask(OpenOptions::new("\\Windows\\b.dll").read());
            assert_eq!(answer.1, 1);
            assert_eq!(
                inside(world, |p| p.read_file("\\Windows\\b.dll").unwrap()),
                b"base b"
            );
        },
    );
}

#[test]
fn other_filters_share_the_ecp() {
    plain(|m, world| {
        let other = Arc::new(OtherAntivirus::new("328010"));
        let scratch = world.container.scratch();
        attach::attach(m, scratch, Arc::clone(&other) as Arc<dyn NativeFilter>);
        attach::attach(m, scratch, Arc::new(Reissue::new("325000", scratch)));
        let answer = world.ask(OpenOptions::new("\\Windows\\b.dll").read());
        assert_eq!((answer.0, answer.1), (true, 1));
        assert!(other.attached() >= 1);
        attach::attach(m, scratch, Arc::new(Projected::new("189800")));
        let answer = world.ask(OpenOptions::new("\\Windows\\System32\\c.exe").read());
        assert_eq!(answer.1 & 1, 1);
    });
}

#[test]
fn opens_by_id_and_from_the_host_see_the_layer_too() {
    plain(|m, world| {
        let scratch = Arc::clone(world.container.scratch());
        let id = inside(world, |p| {
            p.open(&OpenOptions::new("\\Windows\\b.dll").read())
                .unwrap()
                .file_id()
                .unwrap()
        });
        let by = Arc::clone(&scratch);
        let host = Process::create(m, "host.exe", &scratch, None);
        host.run(move |p| {
            assert_eq!(p.read_file("\\Windows\\b.dll").unwrap(), b"base b");
            let file = p.open(&OpenOptions::by_id(&by, &id).read()).unwrap();
            assert_eq!(file.read_to_end().unwrap(), b"base b");
        });
        host.exit();
    });
}

#[test]
fn many_containers_share_one_layer() {
    let outcome = Machine::builder().scheduler(Mode::Seeded(11)).run(|m| {
        let host = Volume::mount_kind(m, FsKind::Ntfs);
        host.fs().place("\\l\\f", b"shared").unwrap();
        let layer = Layer {
            volume: Arc::clone(&host),
            root: "\\l".to_owned(),
            registered: false,
            remote: false,
        };
        let options = ContainerOptions {
            layers: vec![layer],
            ..ContainerOptions::default()
        };
        let containers: Vec<_> = (0..10).map(|_| m.create_container(&options)).collect();
        let tasks: Vec<_> = containers
            .iter()
            .enumerate()
            .map(|(number, container)| {
                container.process("app.exe").spawn("app", move |p| {
                    assert_eq!(p.read_file("\\f").unwrap(), b"shared");
                    if number % 2 == 0 {
                        p.write_file("\\f", format!("own {number}").as_bytes())
                            .unwrap();
                    }
                    p.read_file("\\f").unwrap()
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            let expected = if number % 2 == 0 {
                format!("own {number}")
            } else {
                "shared".into()
            };
            assert_eq!(task.join(), expected.as_bytes());
        }
        for container in &containers {
            container.destroy();
        }
    });
    outcome.unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn an_answer_without_ids_clears_old_ones_unless_it_keeps_them() {
    let both = EcpVariant::REPARSE | EcpVariant::STALE_ANSWER;
    let read = || OpenOptions::new("\\Windows\\b.dll").read();
    worlds(
        both,
        |layer| layer.registered = true,
        move |_, world| assert_eq!(world.ask(read()), (true, 5, [0; 16], [0; 16])),
    );
    worlds(
        both | EcpVariant::KEEP_IDS,
        |layer| layer.registered = true,
        move |_, world| assert_eq!(world.ask(read()), (true, 5, [0x5a; 16], [0x5a; 16])),
    );
}
