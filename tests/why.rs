//! `siloscan why` beside the built driver: each open shows with its reason, nothing is collected
//! when nobody listens, and whoever listens delays nobody.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use clap::Parser;
use filterhost::Mode;
use filterhost::container::{Container, ContainerOptions};
use filterhost::kernel::etw::Tracing;
use filterhost::layout::GUID;
use filterhost::remote::{Client, RemoteError, Server, ServerOptions};
use filterhost::user::OpenOptions;
use filterhost::volume::random_guid;
use serde_json::Value;
use siloscan_core::reason::Event;
use siloscan_core::trace::{Level, PROVIDER_GUID, keyword};
use siloscan_service::engine::eicar_test_file;
use siloscan_service::why::{self, source};
use siloscan_worlds::everywhere::once;
use siloscan_worlds::opens;
use siloscan_worlds::scene::{INFECTED, OTHER, TOOL, layer, options};
use siloscan_worlds::world::World;

/// The variable that makes this program the command, with its arguments one a line.
const ARGUMENTS: &str = "SILOSCAN_TEST_WHY";
const ENTRY: &str = "this_program_is_the_command";
/// No event came within the time asked for.
const STATUS_TIMEOUT: u32 = 0x102;

/// The command as `siloscan` has it.
#[derive(Parser)]
struct Whole {
    #[command(flatten)]
    options: why::Options,
}

#[test]
fn this_program_is_the_command() {
    if let Ok(arguments) = std::env::var(ARGUMENTS) {
        let arguments = ["why"].into_iter().chain(arguments.lines());
        let Whole { options } = Whole::parse_from(arguments);
        let code = why::run(&options);
        let codes = [0, 1, 2].into_iter();
        let code = codes
            .map(|number| (number, ExitCode::from(number)))
            .find_map(|(number, same)| (same == code).then_some(number));
        std::process::exit(code.map_or(3, i32::from));
    }
}

/// A world with a bridge.
struct Hosted<'a> {
    world: &'a World,
    server: Server,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl<'a> Hosted<'a> {
    fn new(world: &'a World) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("bridge");
        let options = ServerOptions {
            path: socket.clone(),
            user_sid: None,
        };
        let server = Server::start(world.machine(), options).expect("the bridge listens");
        Self {
            world,
            server,
            socket,
            _folder: folder,
        }
    }

    fn container(&self) -> Container {
        let m = self.world.machine();
        m.create_container(&ContainerOptions {
            layers: vec![layer(self.world)],
            container_id: Some(random_guid(m)),
            ..ContainerOptions::default()
        })
    }

    fn finish(self) {
        self.server.stop();
    }

    /// Waits as a thread of the machine.
    fn wait(&self, what: &str, ready: impl Fn() -> bool) {
        for _ in 0..6_000 {
            if ready() {
                return;
            }
            self.world
                .machine()
                .sched()
                .sleep(Duration::from_millis(10));
        }
        panic!("{what} does not come");
    }
}

/// The command as a process, which has begun to listen.
struct Listening {
    child: Child,
    said: Receiver<String>,
    errors: Receiver<String>,
}

/// What came of it.
struct Ended {
    code: Option<i32>,
    said: String,
    errors: String,
}

impl Listening {
    fn start(hosted: &Hosted<'_>, arguments: &[&str]) -> Self {
        let socket = hosted.socket.to_str().expect("a plain path");
        let all = [&["--socket", socket], arguments].concat().join("\n");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([ENTRY, "--exact", "--nocapture", "--test-threads=1"])
            .env(ARGUMENTS, all)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = lines(child.stdout.take().expect("piped"));
        let errors = lines(child.stderr.take().expect("piped"));
        let mut listening = Self {
            child,
            said,
            errors,
        };
        let first = listening.errors.recv().expect("it says something");
        if !first.contains("listening to the driver") {
            let ended = listening.end();
            panic!("{first}{}", ended.errors);
        }
        listening
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = self.child.id().cast_signed();
        let id = rustix::process::Pid::from_raw(id).expect("a process");
        rustix::process::kill_process(id, signal).expect("it is there");
    }

    /// Waits until it ends by itself.
    fn end(&mut self) -> Ended {
        let status = self.child.wait().expect("it ends");
        let text = |lines: &Receiver<String>| lines.iter().collect::<String>();
        let said = text(&self.said);
        Ended {
            code: status.code(),
            // The test harness says something before.
            said: said
                .split_once("the_command ... ")
                .map_or(said.clone(), |(_, after)| after.to_owned()),
            errors: text(&self.errors),
        }
    }

    /// What it said until a line with this word, that line included.
    fn until(&self, word: &str) -> String {
        let mut said = String::new();
        for line in &self.said {
            said.push_str(&line);
            if line.contains(word) {
                return said;
            }
        }
        panic!("no {word} in: {said}");
    }

    /// What came of it, if it has ended by itself.
    fn ended(&mut self) -> Option<Ended> {
        let ended = self.child.try_wait().expect("its state");
        ended.map(|_| self.end())
    }

    /// Ctrl-C.
    fn interrupt(&mut self) -> Ended {
        self.signal(rustix::process::Signal::INT);
        self.end()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of a pipe, each with its end, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A package file twice, another one, and a new one that is infected.
fn work(container: &Container) {
    container.process("app").run(|p| {
        for name in [TOOL, TOOL, OTHER] {
            let file = p.open(&OpenOptions::new(name).execute()).expect("clean");
            file.close().expect("an open handle");
        }
        p.write_file(r"C:\Evil.com", &eicar_test_file())
            .expect("writing is allowed");
        assert_eq!(p.read_file(r"C:\Evil.com"), Err(INFECTED));
    });
}

/// The objects among the lines.
fn json(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// What containers did with a file whose name ends so.
fn of(told: &[Value], file: &str) -> Vec<(String, String, String)> {
    let of_container = told.iter().filter(|open| open["container"].is_string());
    let of_file = of_container.filter(|open| {
        let name = open["file"].as_str().unwrap_or_default();
        name.to_lowercase().ends_with(&file.to_lowercase())
    });
    let text = |open: &Value, key: &str| open[key].as_str().unwrap_or("?").to_owned();
    of_file
        .map(|open| {
            (
                text(open, "route"),
                text(open, "reason"),
                text(open, "decision"),
            )
        })
        .collect()
}

fn three(route: &str, reason: &str, decision: &str) -> (String, String, String) {
    (route.to_owned(), reason.to_owned(), decision.to_owned())
}

/// Runs the scenario on a machine that others can reach.
fn hosted(scenario: impl Fn(&Hosted<'_>) + Send + Sync + 'static) {
    let run = move |world: &World| {
        let hosted = Hosted::new(world);
        scenario(&hosted);
        hosted.finish();
    };
    if let Err(report) = once(Mode::Free, &options(), Arc::new(run)) {
        panic!("{report}");
    }
}

/// What the driver was told that sessions want.
fn wanted(hosted: &Hosted<'_>) -> Option<(u8, u64)> {
    let provider = u128::to_be_bytes(PROVIDER_GUID);
    let [a @ .., _, _, _, _, _, _, _, _] = provider;
    let [_, _, _, _, _, _, _, _, data4 @ ..] = provider;
    let [a0, a1, a2, a3, b0, b1, c0, c1] = a;
    let provider = GUID {
        data1: u32::from_be_bytes([a0, a1, a2, a3]),
        data2: u16::from_be_bytes([b0, b1]),
        data3: u16::from_be_bytes([c0, c1]),
        data4,
    };
    let tracing = hosted.world.machine().state::<Tracing>();
    tracing.wanted_of(&provider)
}

#[test]
fn each_open_of_a_container_shows_with_its_reason() {
    hosted(|hosted| {
        let mut why = Listening::start(hosted, &["--json", "--explain"]);
        // Nobody scans what the layer is made of: its first open misses.
        let world = options();
        hosted.world.stop_service();
        let container = hosted.container();
        let engine = world.engine.expect("a scanner");
        hosted.world.start_service(engine, world.threads);
        work(&container);
        let mut said = why.until("-infected");
        let ended = why.interrupt();
        said.push_str(&ended.said);
        let told = json(&said);
        let tool = [
            three("look-up", "layer", "scanned-clean"),
            three("look-up", "layer", "cached-clean"),
        ];
        assert_eq!(of(&told, "tool.exe"), tool, "{said}");
        let evil = of(&told, r"\evil.com");
        assert_eq!(evil.first(), Some(&three("ignore", "not-opened", "")));
        let (route, reason, decision) = evil.last().expect("it was opened");
        assert_eq!((route.as_str(), reason.as_str()), ("look-up", "scratch"));
        let denied: Vec<_> = told
            .iter()
            .filter(|open| open["decision"] == decision.as_str())
            .collect();
        assert_eq!(denied.len(), 1, "{said}");
        let denied = denied[0];
        assert_eq!(denied["container"].as_str().map(str::len), Some(36));
        assert!(denied["process_id"].as_u64() > Some(0), "{denied}");
        assert!(denied["duration_100ns"].as_u64() > Some(0), "{denied}");
        let means = denied["explain"][1].as_str().expect("a sentence");
        assert!(decision.ends_with("-infected"), "{denied}");
        assert!(!means.is_empty(), "{denied}");
        assert!(
            denied["time_ms"].as_u64() > Some(1_600_000_000_000),
            "{denied}"
        );
        assert_eq!(ended.code, Some(1), "something was denied");
        assert!(
            ended.errors.contains(&format!("1 {decision}")),
            "{}",
            ended.errors
        );
        assert!(ended.errors.contains("0 events lost"), "{}", ended.errors);
        container.destroy();
    });
}

#[test]
fn filters_choose_and_several_listen_at_one_time() {
    hosted(|hosted| {
        let (one, other) = (hosted.container(), hosted.container());
        let mut tool = Listening::start(hosted, &["--path", "TOOL.exe", "--count", "4"]);
        let mut denied = Listening::start(hosted, &["--denied", "--count", "2", "--explain"]);
        let mut found = Listening::start(hosted, &["--events", "--json"]);
        let mut slow = Listening::start(hosted, &["--slow", "3600000", "--for", "2"]);
        work(&one);
        work(&other);

        let tool = tool.end();
        assert_eq!(tool.said.lines().count(), 4, "{}", tool.said);
        let hits = tool.said.matches("look-up/layer → cached-clean ").count();
        assert!(hits >= 2, "{}", tool.said);
        assert!(!tool.said.contains('\u{1b}'), "no colours in a pipe");
        assert_eq!(tool.code, Some(0));

        let denied = denied.end();
        let why = denied.said.matches("look-up/scratch → ").count();
        assert_eq!(why, 2, "{}", denied.said);
        assert_eq!(denied.said.lines().count(), 6, "{}", denied.said);
        assert_eq!(denied.code, Some(1));

        let said = found.until("Detection");
        let told = json(&said);
        let detection = told.iter().find(|told| told["event"] == "Detection");
        let detection = detection.expect("it is there");
        assert_eq!(detection["rule"], "EICAR_Test_File");
        let container = detection["container"].as_str().expect("a container");
        found.interrupt();

        let slow = slow.end();
        assert_eq!((slow.code, slow.said.trim()), (Some(0), ""));
        assert!(!slow.errors.contains(" 0 opens seen"), "{}", slow.errors);

        let begins = container[..8].to_uppercase();
        let arguments = [
            "--container",
            &begins,
            "--path",
            "tool",
            "--count",
            "2",
            "--json",
        ];
        let mut of_one = Listening::start(hosted, &arguments);
        // The other one first: without the filter it would be shown.
        for container in [&other, &one] {
            container.process("app").run(|p| {
                for _ in 0..2 {
                    let file = p.open(&OpenOptions::new(TOOL).execute()).expect("clean");
                    file.close().expect("an open handle");
                }
            });
        }
        let told = json(&of_one.end().said);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told.iter().all(|open| open["container"] == container),
            "{told:?}"
        );
        one.destroy();
        other.destroy();
    });
}

#[test]
fn the_session_ends_with_the_command_however_that_ends() {
    hosted(|hosted| {
        let before = wanted(hosted);
        assert_ne!(before.map(|(level, _)| level), Some(Level::Verbose as u8));
        for signal in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
            let mut first = Listening::start(hosted, &[]);
            let mut second = Listening::start(hosted, &["--events"]);
            assert_eq!(wanted(hosted), Some((Level::Verbose as u8, 0)));
            first.signal(signal);
            first.end();
            second.signal(signal);
            second.end();
            hosted.wait("the end of the sessions", || wanted(hosted) == before);
        }
        // The driver heard of it: what it writes without being asked would be kept here.
        let _what_came_before = opens::take(hosted.world.machine());
        let container = hosted.container();
        work(&container);
        assert_eq!(opens::take(hosted.world.machine()), []);
        container.destroy();
    });
}

#[test]
fn a_flood_delays_no_open_and_what_is_lost_is_told() {
    const OPENS: u64 = 6_000;
    hosted(|hosted| {
        let container = hosted.container();
        work(&container);
        let client = Client::connect(&hosted.socket, "sleepy").expect("the bridge is there");
        let session = client
            .begin_trace(source::provider(), Level::Verbose as u8, keyword::OPENS)
            .expect("a session");
        let mut why = Listening::start(hosted, &["--denied", "--count", "1"]);
        // The command sleeps, and so does the other one: nobody takes anything.
        why.signal(rustix::process::Signal::STOP);
        let before = opens_counted(hosted.world);
        container.process("busy").run(|p| {
            for _ in 0..OPENS {
                let file = p.open(&OpenOptions::new(TOOL).execute()).expect("clean");
                file.close().expect("an open handle");
            }
        });
        let opened = opens_counted(hosted.world) - before;
        assert!(opened >= OPENS);
        assert_eq!(hosted.world.count(Event::TraceDropped), 0);
        let (mut told, mut lost) = (0, 0);
        loop {
            match client.take_events(session, Duration::ZERO) {
                Ok(taken) => {
                    told += taken.events.len() as u64;
                    lost += taken.lost;
                }
                Err(RemoteError::Status(STATUS_TIMEOUT)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(told > 0 && lost > 0, "{told} told, {lost} lost");
        assert_eq!(told + lost, opened);

        why.signal(rustix::process::Signal::CONT);
        let denied = || {
            container
                .process("late")
                .run(|p| assert_eq!(p.read_file(r"C:\Evil.com"), Err(INFECTED)));
        };
        let ended = loop {
            // Its buffer may be full still.
            denied();
            if let Some(ended) = why.ended() {
                break ended;
            }
            hosted
                .world
                .machine()
                .sched()
                .sleep(Duration::from_millis(50));
        };
        let lost = ended.errors.split(" events lost").next().expect("a part");
        let lost = lost.rsplit(' ').next().expect("a number");
        assert!(
            lost.parse::<u64>().expect("a number") > 0,
            "{}",
            ended.errors
        );
        container.destroy();
    });
}

/// Opens that the driver decided or ignored so far.
fn opens_counted(world: &World) -> u64 {
    let counts = world.counts();
    let named = counts.named().into_iter();
    let routes = ["ignore", "skip", "look-up", "scan"];
    named
        .filter(|(kind, _, _)| routes.contains(kind))
        .map(|(_, _, number)| number)
        .sum()
}
