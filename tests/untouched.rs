//! Controls and information classes that siloscan does not know reach the file system with every
//! byte that their caller gave, and their caller gets every byte and the status that came back. A
//! filter below plays the file system: the one of the filter host would refuse them either way.

use std::sync::{Arc, Mutex};

use filterhost::Machine;
use filterhost::fltmgr::{NativeFilter, Pre, native};
use filterhost::layout::{
    FLT_CALLBACK_DATA, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_QUERY_INFORMATION,
    IRP_MJ_SET_INFORMATION, PVOID,
};
use filterhost::status::{NtStatus, STATUS_SUCCESS};
use filterhost::user::{FileHandle, OpenOptions, Process};
use filterhost::volume::request::{copy_in, copy_out};
use filterhost::volume::{Request, Volume};
use filterhost::wcifs::EcpVariant;
use siloscan_core::reason::Event;
use siloscan_worlds::everywhere::everywhere;
use siloscan_worlds::scene::{containers, layer, options};
use siloscan_worlds::world::World;

const FILE: &str = r"C:\notes.txt";
/// Bytes that a caller gives.
const GIVEN: u8 = 40;
/// Bytes that a caller has room for, and those of them that the answer fills.
const ROOM: usize = 64;
const ANSWERED: usize = 48;
/// A failure that nothing here would make up.
const ODD: NtStatus = NtStatus(0xC0AB_1234_u32.cast_signed());

/// The savepoint of a transaction, and codes that nobody knows: each method of each access, a
/// vendor's own device type with either access.
fn codes() -> Vec<u32> {
    let unknown = (0..4).flat_map(|access| (0..4).map(move |method| (access, method)));
    let unknown = unknown.map(|(access, method)| 0x9_2af0 | access << 14 | method);
    [0x98178, 0x222_3008, 0x222_b008]
        .into_iter()
        .chain(unknown)
        .collect()
}

/// Beyond the last class that is known, and what is no class at all.
const CLASSES: [i32; 8] = [0, -1, 90, 100, 0x1000, 0x12_3456, i32::MAX, i32::MIN];

/// What came down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Came {
    major: u8,
    number: i64,
    /// The buffer of a class, the input of a control.
    given: Vec<u8>,
    /// A control's output buffer as it came.
    room: Vec<u8>,
}

/// A caller's buffer.
fn bytes(at: PVOID, length: u32) -> Vec<u8> {
    let length = usize::try_from(length).expect("a length of memory");
    copy_in(at, length).expect("a buffer of that length")
}

/// The bytes and the status that go up.
fn answer(number: i64) -> (Vec<u8>, NtStatus) {
    let bytes = number.to_le_bytes().into_iter().cycle().take(ANSWERED);
    let status = if number % 3 == 1 { ODD } else { STATUS_SUCCESS };
    (bytes.collect(), status)
}

/// Answers what is under test, and lets the rest through.
#[derive(Default)]
struct FileSystem(Mutex<Vec<Came>>);

impl FileSystem {
    fn came(&self, major: u8, number: i64, given: Vec<u8>, room: Vec<u8>) {
        self.0.lock().expect("no filter panics").push(Came {
            major,
            number,
            given,
            room,
        });
    }

    fn control(&self, request: Request) -> Pre {
        let asked = request.fs_control();
        if !codes().contains(&asked.code) {
            return Pre::NoCallback;
        }
        let number = i64::from(asked.code);
        let given = bytes(asked.input_buffer, asked.input_buffer_length);
        let room = bytes(asked.output_buffer, asked.output_buffer_length);
        self.came(IRP_MJ_FILE_SYSTEM_CONTROL, number, given, room);
        let (out, status) = answer(number);
        copy_out(asked.output_buffer, &out).expect("as long as its caller said");
        request.finish(status, out.len());
        Pre::Complete
    }

    fn set(&self, request: Request) -> Pre {
        let asked = request.set_info();
        if !CLASSES.contains(&asked.class) {
            return Pre::NoCallback;
        }
        let number = i64::from(asked.class);
        let given = bytes(asked.info_buffer, asked.length);
        self.came(IRP_MJ_SET_INFORMATION, number, given, Vec::new());
        request.finish(answer(number).1, 0);
        Pre::Complete
    }

    fn query(&self, request: Request) -> Pre {
        let asked = request.query_info();
        if !CLASSES.contains(&asked.class) {
            return Pre::NoCallback;
        }
        let number = i64::from(asked.class);
        let room = bytes(asked.buffer, asked.length);
        self.came(IRP_MJ_QUERY_INFORMATION, number, Vec::new(), room);
        let (out, status) = answer(number);
        copy_out(asked.buffer, &out).expect("as long as its caller said");
        request.finish(status, out.len());
        Pre::Complete
    }
}

impl NativeFilter for FileSystem {
    fn altitude(&self) -> &'static str {
        "40000"
    }

    fn name(&self) -> &'static str {
        "another file system"
    }

    fn pre(&self, _m: &Arc<Machine>, data: *mut FLT_CALLBACK_DATA) -> Pre {
        let request = Request::new(data);
        match request.major() {
            IRP_MJ_FILE_SYSTEM_CONTROL => self.control(request),
            IRP_MJ_SET_INFORMATION => self.set(request),
            IRP_MJ_QUERY_INFORMATION => self.query(request),
            _ => Pre::NoCallback,
        }
    }
}

/// What a caller gets of an answer.
fn got(number: i64) -> Result<Vec<u8>, NtStatus> {
    let (bytes, status) = answer(number);
    status.ok().map(|()| bytes)
}

/// Sends everything on one handle.
fn send(file: &FileHandle, below: &FileSystem) {
    let given: Vec<u8> = (0..GIVEN).map(|at| 0xa0 ^ at).collect();
    let one = |major, number, given: &[u8], room| {
        let came = std::mem::take(&mut *below.0.lock().expect("no filter panics"));
        let expected = Came {
            major,
            number,
            given: given.to_vec(),
            room: vec![0; room],
        };
        assert_eq!(came, [expected], "{number:#x}");
    };
    for code in codes() {
        let number = i64::from(code);
        assert_eq!(file.control(code, &given, ROOM), got(number), "{code:#x}");
        one(IRP_MJ_FILE_SYSTEM_CONTROL, number, &given, ROOM);
    }
    for class in CLASSES {
        let number = i64::from(class);
        let set = file.set(class, &given);
        assert_eq!(set, got(number).map(drop), "setting {class}");
        one(IRP_MJ_SET_INFORMATION, number, &given, 0);
        assert_eq!(file.query(class, ROOM), got(number), "asking {class}");
        one(IRP_MJ_QUERY_INFORMATION, number, &[], ROOM);
    }
}

/// Sends everything on a file and on its volume.
fn send_all(world: &World, user: &Process, volume: &Arc<Volume>) {
    let below = Arc::new(FileSystem::default());
    native::attach(world.machine(), volume, Arc::clone(&below) as _);
    let volume = Arc::clone(volume);
    let dropped = world.count(Event::KeyDropped);
    user.run(move |p| {
        p.write_file(FILE, b"bytes").expect("a new file");
        let of_file = OpenOptions::new(FILE).read().write();
        let of_volume = OpenOptions::of_volume(&volume).read();
        for options in [of_file, of_volume] {
            let file = p.open(&options).expect("clean");
            send(&file, &below);
            file.close().expect("an open handle");
        }
    });
    assert!(
        world.count(Event::KeyDropped) > dropped,
        "what needs write access is watched all the same"
    );
}

#[test]
fn i8_unknown_controls_and_classes_pass_untouched_and_so_do_their_answers() {
    everywhere(&options(), |world| {
        send_all(world, &world.process("user"), world.system());
    });
}

#[test]
fn i8_so_they_do_in_a_container() {
    everywhere(&options(), |world| {
        let layer = layer(world);
        let containers = containers(world, &layer, 1, EcpVariant::default());
        let app = containers[0].process("app");
        send_all(world, &app, containers[0].scratch());
        containers[0].destroy();
    });
}
