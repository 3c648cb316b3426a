//! The fleet's verdicts, in a real Redis and with servers that mean harm: slower, never wrong.
#![cfg(unix)]

mod told;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use siloscan_verdicts::{FleetSettings, Place, Secret, Settings, Verdict, Verdicts};
use told::{Told, infected, key};

const LONG: Duration = Duration::from_mins(2);

/// A redis-server with a folder of its own.
struct Redis {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    fn new() -> Self {
        // Free a moment ago: good enough, a server that finds it taken ends and the test says so.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut redis = Self {
            folder: tempfile::tempdir().expect("a folder"),
            port,
            child: None,
        };
        drop(listener);
        redis.start();
        redis
    }

    fn start(&mut self) {
        let child = Command::new("/usr/bin/redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .args(["--requirepass", "pass word"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("redis-server starts; install redis-server");
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert_eq!(child.try_wait().expect("a child"), None, "it ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child = Some(child);
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }

    fn url(&self) -> String {
        format!("redis://:pass%20word@127.0.0.1:{}/3", self.port)
    }

    /// Says something to it as anybody with the password can, and reads the answer's beginning.
    fn say(&self, words: &[&[u8]]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it runs");
        let before: [&[&[u8]]; 2] = [&[b"AUTH", b"pass word"], &[b"SELECT", b"3"]];
        let mut answer = vec![0; 1 << 20];
        let mut length = 0;
        for words in before.into_iter().chain([words]) {
            let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
            for word in words {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
            stream.write_all(&bytes).expect("it listens");
            length = stream.read(&mut answer).expect("it answers");
        }
        answer.truncate(length);
        answer
    }

    /// The first key that it has.
    fn a_key(&self) -> Vec<u8> {
        let said = self.say(&[b"RANDOMKEY"]);
        let said = String::from_utf8(said).expect("text");
        said.lines().nth(1).expect("a key").as_bytes().to_vec()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}

/// A host: a store of its own, and what it complained of.
struct Host {
    verdicts: Verdicts,
    told: Told,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new(url: &str, secret: u8) -> Self {
        // A busy machine may take longer than a product should wait.
        Self::with(url, secret, |fleet| fleet.patience = LONG)
    }

    fn with(url: &str, secret: u8, change: impl FnOnce(&mut FleetSettings)) -> Self {
        let url = url.parse().expect("an address");
        let mut fleet = FleetSettings::new(url, Secret::from_bytes([secret; 32]));
        fleet.rest_min = Duration::from_millis(20);
        fleet.rest_max = Duration::from_millis(200);
        change(&mut fleet);
        let folder = tempfile::tempdir().expect("a folder");
        let settings = Settings {
            fleet: Some(fleet),
            ..Settings::new(folder.path().join("verdicts"))
        };
        let told = Told::default();
        Self {
            verdicts: Verdicts::open(settings, told.tell()).expect("a store"),
            told,
            _folder: folder,
        }
    }

    fn keep(&self, number: u64, verdict: &Verdict) {
        self.verdicts.remember(&key(1, number), verdict);
        assert!(self.verdicts.flush(LONG));
    }

    fn recall(&self, number: u64) -> Option<(Verdict, Place)> {
        let known = self.verdicts.recall(&key(1, number), LONG)?;
        Some((known.verdict, known.place))
    }

    fn forged(&self) -> u64 {
        self.verdicts.figures().fleet_forged
    }
}

#[test]
#[ignore = "needs Debian's redis-server: cargo xtask test --only unit"]
fn what_one_host_learned_the_others_know() {
    let redis = Redis::new();
    let (one, other) = (Host::new(&redis.url(), 1), Host::new(&redis.url(), 1));
    assert_eq!(one.recall(7), None);
    one.keep(7, &infected("Bad"));
    one.keep(8, &Verdict::Clean);
    assert_eq!(one.recall(7), Some((infected("Bad"), Place::Local)));
    assert_eq!(other.recall(7), Some((infected("Bad"), Place::Fleet)));
    assert_eq!(other.recall(8), Some((Verdict::Clean, Place::Fleet)));
    // From there on it has it itself.
    assert!(other.verdicts.flush(LONG));
    assert_eq!(other.recall(7), Some((infected("Bad"), Place::Local)));
    // Under other rules nothing is known.
    assert_eq!(other.verdicts.recall(&key(2, 7), LONG), None);
    let figures = other.verdicts.figures();
    assert_eq!((figures.fleet_hits, figures.local_hits), (2, 1));
    assert_eq!((figures.misses, figures.fleet_failed), (1, 0));
    assert_eq!(one.verdicts.figures().fleet_kept, 2);
    let left = String::from_utf8(redis.say(&[b"TTL", &redis.a_key()])).expect("a number");
    let left: u64 = left[1..].trim().parse().expect("seconds");
    let month = 30 * 24 * 3600;
    assert!((month - 3600..=month).contains(&left), "{left}");
    // All is wiped: nothing is known, and nothing is wrong.
    redis.say(&[b"FLUSHALL"]);
    let third = Host::new(&redis.url(), 1);
    assert_eq!(third.recall(7), None);
    assert_eq!(third.verdicts.figures().fleet_failed, 0);
    for host in [one, other, third] {
        assert_eq!(host.told.all(), [""; 0]);
    }
}

#[test]
#[ignore = "needs Debian's redis-server: cargo xtask test --only unit"]
fn nobody_without_the_fleets_key_can_put_a_verdict_there() {
    let redis = Redis::new();
    let stranger = Host::new(&redis.url(), 2);
    stranger.keep(7, &Verdict::Clean);
    let host = Host::new(&redis.url(), 1);
    assert_eq!((host.recall(7), host.forged()), (None, 1));
    let complaint = host.told.all();
    assert!(complaint[0].contains("is not believed"), "{complaint:?}");
    assert!(!complaint[0].contains("pass"), "{complaint:?}");
    // What it learns itself takes the forgery's place.
    host.keep(7, &infected("Bad"));
    let next = || Host::new(&redis.url(), 1);
    assert_eq!(next().recall(7), Some((infected("Bad"), Place::Fleet)));

    // A true record of a clean content under the key of an infected one.
    let bad = redis.a_key();
    host.keep(8, &Verdict::Clean);
    let clean = String::from_utf8(bad.clone()).expect("text");
    let seven = format!("{:016x}", 7);
    let clean = clean.replace(&seven, &format!("{:016x}", 8));
    let clean = clean.strip_suffix('7').map(|key| format!("{key}8"));
    let clean = clean.expect("a key ends with its size");
    let copied = redis.say(&[b"COPY", clean.as_bytes(), &bad, b"REPLACE"]);
    assert_eq!(copied, b":1\r\n");
    let victim = next();
    assert_eq!((victim.recall(7), victim.forged()), (None, 1));
    assert_eq!(victim.recall(8), Some((Verdict::Clean, Place::Fleet)));

    // Cut, grown, of another type, and 64 MiB: made there, so that this process has them not.
    let make: [&[&[u8]]; 4] = [
        &[b"SET", &bad, b"\x01\x01"],
        &[b"APPEND", &bad, b"more"],
        &[b"SETRANGE", &bad, b"67108863", b"x"],
        &[
            b"EVAL",
            b"redis.call('del', KEYS[1]) return redis.call('lpush', KEYS[1], 'x')",
            b"1",
            &bad,
        ],
    ];
    for words in make {
        host.verdicts.remember(&key(1, 7), &infected("Bad"));
        assert!(host.verdicts.flush(LONG));
        let said = redis.say(words);
        assert_ne!(said[0], b'-', "{}", String::from_utf8_lossy(&said));
        let victim = next();
        let before = memory();
        assert_eq!((victim.recall(7), victim.forged()), (None, 1));
        assert!(memory() < before + (16 << 20), "it was not read");
        assert_eq!(victim.recall(8), Some((Verdict::Clean, Place::Fleet)));
        assert_eq!(victim.verdicts.figures().fleet_failed, 0);
    }
}

/// The most memory that this process has had, in bytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.expect("a number").parse::<u64>().expect("a number") << 10
}

#[test]
#[ignore = "needs Debian's redis-server: cargo xtask test --only unit"]
fn a_redis_that_goes_and_comes_back_costs_hits_alone() {
    let mut redis = Redis::new();
    let host = Host::with(&redis.url(), 1, |fleet| {
        fleet.patience = LONG;
        fleet.rest_min = Duration::from_hours(1);
        fleet.rest_max = Duration::from_hours(1);
    });
    host.keep(7, &Verdict::Clean);
    assert_eq!(host.recall(99), None);
    redis.end();
    for number in 100..200 {
        assert_eq!(host.recall(number), None);
    }
    let figures = host.verdicts.figures();
    assert_eq!(figures.fleet_failed, 1, "one was held up, nobody else");
    assert_eq!(figures.fleet_rested, 99);
    assert_eq!(host.recall(7), Some((Verdict::Clean, Place::Local)));
    for number in 100..200 {
        host.keep(number, &Verdict::Clean);
    }
    let figures = host.verdicts.figures();
    assert_eq!((figures.fleet_puts_failed, figures.dropped), (1, 99));
}

#[test]
#[ignore = "needs Debian's redis-server: cargo xtask test --only unit"]
fn a_redis_that_is_back_is_asked_again() {
    let mut redis = Redis::new();
    let host = Host::new(&redis.url(), 1);
    host.keep(7, &Verdict::Clean);
    assert_eq!(host.recall(100), None);
    redis.end();
    assert_eq!(host.recall(101), None);
    host.verdicts.remember(&key(1, 8), &Verdict::Clean);
    assert!(host.verdicts.flush(LONG));
    let figures = host.verdicts.figures();
    assert_eq!((figures.fleet_failed, figures.fleet_puts_failed), (1, 1));
    assert_eq!(host.told.count("files are scanned instead"), 2);
    redis.start();
    // It has nothing any more, and takes it anew.
    let mut number = 1000;
    while host.verdicts.figures().fleet_kept < 2 {
        number += 1;
        host.keep(number, &Verdict::Clean);
        std::thread::sleep(Duration::from_millis(5));
    }
    let other = Host::new(&redis.url(), 1);
    other.keep(9, &infected("Bad"));
    while host.recall(9).is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(host.verdicts.figures().fleet_hits, 1);
}

#[test]
#[ignore = "needs Debian's redis-server: cargo xtask test --only unit"]
fn a_refusal_is_told_without_the_password() {
    let redis = Redis::new();
    let url = redis.url().replace("word", "wrong");
    let host = Host::new(&url, 1);
    assert_eq!(host.recall(7), None);
    let complaint = host.told.all().concat();
    assert!(complaint.contains("WRONGPASS"), "{complaint}");
    assert!(!complaint.contains("wrong"), "{complaint}");
    assert_eq!(host.verdicts.figures().fleet_failed, 1);
}

/// A server that does `serve` with each connection, and how many there were.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let guests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&guests);
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    (format!("redis://:pass@127.0.0.1:{port}"), guests)
}

#[test]
fn a_server_that_says_nothing_holds_up_one_look_up_and_then_nobody() {
    let (forever, nobody) = mpsc::channel::<()>();
    let nobody = std::sync::Mutex::new(nobody);
    let (url, guests) = server(move |stream| {
        let _ended = nobody.lock().map(|nobody| nobody.recv());
        drop(stream);
    });
    let host = Host::with(&url, 1, |fleet| {
        fleet.patience = Duration::from_millis(50);
        fleet.rest_min = Duration::from_hours(1);
        fleet.rest_max = Duration::from_hours(1);
    });
    for number in 0..1000 {
        assert_eq!(host.recall(number), None);
    }
    let figures = host.verdicts.figures();
    assert_eq!((figures.fleet_failed, figures.fleet_rested), (1, 999));
    assert_eq!(guests.load(Ordering::SeqCst), 1);
    // What is put waits nowhere, either: what the queue does not take is dropped.
    for number in 0..3000 {
        host.verdicts.remember(&key(1, number), &Verdict::Clean);
    }
    assert!(host.verdicts.figures().dropped > 0);
    drop(forever);
}

#[test]
fn a_server_that_lies_is_left_after_a_few_hundred_bytes() {
    let talk: [(&str, Vec<u8>); 5] = [
        ("a string without an end", b"$536870912\r\n".to_vec()),
        ("an array of arrays", b"*1\r\n".to_vec()),
        ("a line without an end", b"+".to_vec()),
        (
            "an error that repeats what was said",
            b"-AUTH pass ".to_vec(),
        ),
        ("nothing of the kind", b"HTTP/1.1 200 OK\r\n".to_vec()),
    ];
    for (what, first) in talk {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let (url, _guests) = server(move |mut stream| {
            let more = vec![b'x'; 1 << 16];
            let _first = stream.write_all(&first);
            // Until it hangs up, or 1 GiB.
            for _ in 0..(1 << 14) {
                if stream.write_all(&more).is_err() {
                    return;
                }
                counted.fetch_add(more.len(), Ordering::SeqCst);
            }
        });
        let host = Host::new(&url, 1);
        let before = memory();
        assert_eq!(host.recall(7), None, "{what}");
        assert_eq!(host.verdicts.figures().fleet_failed, 1, "{what}");
        assert!(memory() < before + (16 << 20), "{what}");
        // What the systems between them buffer, and no more.
        assert!(sent.load(Ordering::SeqCst) < 64 << 20, "{what}");
        let complaint = host.told.all().concat();
        assert!(complaint.contains("files are scanned instead"), "{what}");
        assert!(!complaint.contains("pass"), "{what}: {complaint}");
    }
}
