//! The bridge, with a process that really is another one: calls, sections, death, garbage.
#![cfg(feature = "clang")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use filterhost::kernel::format::Messages;
use filterhost::remote::{
    Call, Channel, Client, Frame, RemoteError, ServeError, Server, ServerOptions,
};
use filterhost::status::*;
use filterhost::user::section::SectionHost;
use filterhost::user::{OpenOptions, Process};
use filterhost::volume::section::SectionUse;
use filterhost::volume::share::{DELETE, READ_DATA, SYNCHRONIZE};
use filterhost::volume::{FsKind, Volume};
use filterhost::{LoadOptions, Machine, Mode};

/// Names the socket to the other process.
const SOCKET: &str = "FILTERHOST_BRIDGE_SOCKET";

fn code<T: std::fmt::Debug>(result: Result<T, RemoteError>) -> u32 {
    match result {
        Err(RemoteError::Status(status)) => status,
        other => panic!("a status: {other:?}"),
    }
}

/// The other process. It is this test program, started by the test below with a socket.
#[test]
#[ignore = "it is the other process of the test below"]
fn the_other_process() {
    let socket = std::env::var(SOCKET).expect("started by the other test");
    let client = Client::connect(Path::new(&socket), "other.exe").unwrap();
    let absent = STATUS_OBJECT_NAME_NOT_FOUND.0.cast_unsigned();
    assert_eq!(code(client.connect_port("\\NoPort", b"hello")), absent);
    let refused = STATUS_INVALID_PARAMETER.0.cast_unsigned();
    assert_eq!(code(client.connect_port("\\BridgePort", b"x")), refused);
    let port = client.connect_port("\\BridgePort", b"hello").unwrap();
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| client.send_message(port, b"question", 64).unwrap());
        let message = client
            .get_message(port, 1024, Duration::from_secs(30))
            .unwrap();
        assert_eq!(message.body, b"question");
        assert!(message.reply_length >= 64);
        client
            .reply_message(port, message.id, 0, b"the answer")
            .unwrap();
        assert_eq!(asks.join().unwrap(), b"the answer");
        let late = STATUS_FLT_NO_WAITER_FOR_REPLY.0.cast_unsigned();
        assert_eq!(
            code(client.reply_message(port, message.id, 0, b"again")),
            late
        );
    });
    let none = client.get_message(port, 1024, Duration::from_millis(30));
    assert_eq!(code(none), STATUS_TIMEOUT.0.cast_unsigned());

    let mut lines = std::io::stdin().lines();
    let mut told = || lines.next().unwrap().unwrap();
    println!("\nBRIDGE connected {}", client.process_id());
    let handle: u64 = told().parse().unwrap();
    let section = client.open_section(handle).unwrap();
    assert_eq!(section.size, 10_000);
    let mut bytes = vec![0; 10_000];
    section.file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 7));
    assert!(section.file.write_at(b"x", 0).is_err(), "it is read-only");
    println!("\nBRIDGE read");
    assert_eq!(told(), "truncated");
    assert!(
        section.file.read_exact_at(&mut bytes, 0).is_err(),
        "it comes back short"
    );
    client.close_handle(handle).unwrap();
    let gone = STATUS_INVALID_HANDLE.0.cast_unsigned();
    assert_eq!(code(client.open_section(handle)), gone);
    assert_eq!(code(client.close_handle(handle)), gone);
    println!("\nBRIDGE waits");
    // Until it is killed, in the middle of this call.
    let _ = client.get_message(port, 1024, Duration::from_secs(600));
}

struct Other {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Other {
    fn start(socket: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_process", "--ignored", "--nocapture"])
            .env(SOCKET, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// Waits until it says a line that begins with these words; gives the rest.
    fn says(&mut self, words: &str) -> String {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.strip_prefix(words) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        panic!("the other process ended before it said {words:?}");
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{line}").unwrap();
    }
}

fn server(m: &Arc<Machine>, folder: &Path) -> Server {
    let options = ServerOptions {
        path: folder.join("bridge.sock"),
        user_sid: None,
    };
    Server::start(m, options).unwrap()
}

/// Waits, in real time, until `ready`.
fn until(ready: impl Fn() -> bool) {
    for _ in 0..3000 {
        if ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited too long");
}

fn said(m: &Machine, line: &str) -> usize {
    let all = m.state::<Messages>().all();
    all.iter().filter(|said| said.trim() == line).count()
}

/// Unregistering waits for it, and looks at it afterwards.
#[test]
fn a_connection_that_is_refused_while_its_filter_unloads_leaves_nothing_to_close() {
    let run = Machine::builder().scheduler(Mode::Seeded(1)).run(|m| {
        let disk = Volume::mount_kind(m, FsKind::Ntfs);
        let user = Process::create(m, "user.exe", &disk, None);
        let image = support::driver("bridge", &[]);
        let options = LoadOptions::new(image, "bridge").instance("one", "370999");
        let driver = m.load_driver(&options).expect("the driver loads");
        let caller = user.spawn("caller", |user| {
            user.connect_port("\\BridgePort", b"slowly").err()
        });
        m.sched().sleep(Duration::from_millis(10));
        driver.unload().expect("nothing is left");
        assert_eq!(caller.join(), Some(STATUS_INVALID_PARAMETER));
        user.exit();
    });
    run.unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn another_process_uses_a_port_reads_a_section_and_dies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    // The driver of this test hands a client's buffers on as they are: what travels is the point.
    let machine = Machine::builder().without_rules(&["user-address"]);
    let run = machine.scheduler(Mode::Free).run(move |m| {
        let disk = Volume::mount_kind(m, FsKind::Ntfs);
        disk.fs().place("\\file.bin", &[7; 10_000]).expect("a file");
        let user = Process::create(m, "user.exe", &disk, None);
        let image = support::driver("bridge", &[]);
        let options = LoadOptions::new(image, "bridge").instance("one", "370999");
        let driver = m.load_driver(&options).expect("the driver loads");
        let server = server(m, &path);

        let mut other = Other::start(&path.join("bridge.sock"));
        let id: u32 = other.says("BRIDGE connected").parse().unwrap();
        assert_eq!(said(m, "connect 5"), 1);
        let process = server
            .processes()
            .into_iter()
            .next()
            .expect("it is connected");
        assert_eq!((process.id(), process.name()), (id, "other.exe"));

        let volume = Arc::clone(&disk);
        let file = user.run(|user| user.open(&OpenOptions::new("\\file.bin").read().write()));
        let file = Arc::new(file.expect("the open passes"));
        let section = SectionHost::create(m, &volume, file.object(), SectionUse::Scan).unwrap();
        let handle = m.objects().open_handle(m, &process, &section, 4, 0);
        section.dereference(m);
        other.tell(&handle.to_string());
        other.says("BRIDGE read");
        // The file system would refuse to cut a file that is being mapped; a volume that fails
        // does not ask.
        let bytes = section.host::<SectionHost>().and_then(|host| host.bytes());
        bytes.unwrap().stream().bytes.set_length(10).unwrap();
        other.tell("truncated");
        other.says("BRIDGE waits");

        other.child.kill().unwrap();
        other.child.wait().unwrap();
        until(|| server.processes().is_empty());
        assert!(process.has_exited());
        assert_eq!(said(m, "disconnect"), 1);
        user.run(move |_| file.close()).expect("close cannot fail");
        driver.unload().expect("nothing is left");
        user.exit();
        server.stop();
    });
    run.unwrap_or_else(|report| panic!("{report}"));
    assert!(!folder.path().join("bridge.sock").exists());
}

#[test]
fn a_file_is_opened_by_its_id_read_and_deleted_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let run = Machine::builder().scheduler(Mode::Free).run(move |m| {
        let disk = Volume::mount_kind(m, FsKind::Ntfs);
        let bytes = vec![7; 100_000];
        disk.fs().place("\\file.bin", &bytes).expect("a file");
        let user = Process::create(m, "user.exe", &disk, None);
        let id = user.run(|user| user.open(&OpenOptions::new("\\file.bin"))?.file_id());
        let guid = disk.guid().expect("a volume of this machine");
        let mut volume = [0; 16];
        volume[..4].copy_from_slice(&guid.data1.to_le_bytes());
        volume[4..6].copy_from_slice(&guid.data2.to_le_bytes());
        volume[6..8].copy_from_slice(&guid.data3.to_le_bytes());
        volume[8..].copy_from_slice(&guid.data4);
        let file = (volume, id.expect("it is there"));
        let server = server(m, &path);
        let client = Client::connect(&path.join("bridge.sock"), "other.exe").unwrap();
        let (all, share) = (READ_DATA | DELETE | SYNCHRONIZE, 5);
        let nobody = ([9; 16], file.1);
        let absent = STATUS_OBJECT_NAME_NOT_FOUND.0.cast_unsigned();
        assert_eq!(code(client.open_file(nobody, all, share)), absent);

        let writer = user.run(|user| user.open(&OpenOptions::new("\\file.bin").write()));
        let writer = writer.expect("nobody has it open");
        let in_use = STATUS_SHARING_VIOLATION.0.cast_unsigned();
        assert_eq!(code(client.open_file(file, all, share)), in_use);
        user.run(move |_| writer.close()).expect("an open handle");

        let reader = client.open_file(file, READ_DATA | SYNCHRONIZE, 7).unwrap();
        let denied = STATUS_ACCESS_DENIED.0.cast_unsigned();
        assert_eq!(code(client.delete_file(reader)), denied, "not asked for");
        client.close_handle(reader).unwrap();
        let handle = client.open_file(file, all, share).unwrap();
        let mut read = Vec::new();
        loop {
            let part = client.read_file(handle, read.len() as u64, 30_000).unwrap();
            if part.is_empty() {
                break;
            }
            read.extend(part);
        }
        assert_eq!(read, bytes);
        client.delete_file(handle).unwrap();
        client.close_handle(handle).unwrap();
        let gone = STATUS_INVALID_HANDLE.0.cast_unsigned();
        assert_eq!(code(client.read_file(handle, 0, 1)), gone);
        assert_eq!(code(client.close_handle(handle)), gone);
        let there = user.run(|user| user.open(&OpenOptions::new("\\file.bin")).map(drop));
        assert_eq!(there, Err(STATUS_OBJECT_NAME_NOT_FOUND));
        drop(client);
        until(|| server.processes().is_empty());
        user.exit();
        server.stop();
    });
    run.unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn garbage_on_the_socket_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let run = Machine::builder().scheduler(Mode::Free).run(move |m| {
        let server = server(m, &path);
        let socket = path.join("bridge.sock");
        // First frames that make no process: each is refused, or the lane just closes.
        for number in 0..40_u32 {
            let lane = Channel::connect(&socket).unwrap();
            let first = Frame {
                code: number,
                arguments: [u64::from(number), 99, u64::MAX],
                payload: vec![0xff; number as usize * 50],
            };
            lane.send(&first, None).unwrap();
            let answered = lane.receive();
            assert!(answered.is_err() || answered.is_ok_and(|(answer, _)| answer.code != 0));
        }
        // Calls of every number and odd arguments: a status each, and the lane goes on.
        let client = Client::connect(&socket, "odd.exe").unwrap();
        let (id, token) = client.identity();
        let lane = Channel::connect(&socket).unwrap();
        lane.send(&Frame::new(Call::JOIN_PROCESS.0, [id, token ^ 1, 0]), None)
            .unwrap();
        assert_ne!(
            lane.receive().unwrap().0.code,
            0,
            "a wrong token is refused"
        );
        let lane = Channel::connect(&socket).unwrap();
        lane.send(&Frame::new(Call::JOIN_PROCESS.0, [id, token, 0]), None)
            .unwrap();
        assert_eq!(lane.receive().unwrap().0.code, 0);
        for number in 0..20_u32 {
            for argument in [0, 1, 4, 1 << 31, 1 << 40, u64::MAX] {
                for length in [0_usize, 1, 7, 5000] {
                    let payload = vec![0xee; length];
                    let request = Frame {
                        code: number,
                        arguments: [argument; 3],
                        payload,
                    };
                    lane.send(&request, None).unwrap();
                    assert_ne!(lane.receive().unwrap().0.code, 0, "{request:?}");
                }
            }
        }
        drop(client);
        until(|| server.processes().is_empty());
        server.stop();
    });
    run.unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn a_seeded_machine_and_a_taken_path_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.sock");
    std::fs::write(&path, b"taken").unwrap();
    for (mode, seeded) in [(Mode::Seeded(1), true), (Mode::Free, false)] {
        let path = path.clone();
        let run = Machine::builder().scheduler(mode).run(move |m| {
            Server::start(
                m,
                ServerOptions {
                    path,
                    user_sid: None,
                },
            )
            .err()
        });
        let error = run
            .unwrap_or_else(|report| panic!("{report}"))
            .value
            .expect("refused");
        assert_eq!(matches!(error, ServeError::Seeded), seeded, "{error}");
        assert!(
            seeded || error.to_string().contains("bridge.sock"),
            "{error}"
        );
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"taken");
}
