//! An engine that does what a file tells it to: the worst that one can do in a worker process.

use std::hint::black_box;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use siloscan_service::engine::{Digest, EngineError, EngineKind, Finding, Packed, Scanner};
use siloscan_service::worker::Workers;

use crate::own_worker;

/// The rule set of this number, as the service packs it.
pub fn packed(number: u8) -> Packed {
    Packed {
        digest: Digest([number; 32]),
        rules: 1,
        // Most of what it does is waiting.
        computes: false,
        bytes: vec![number],
        problems: Vec::new(),
    }
}

/// Workers for rule set 1.
pub fn start(entry: &str, threads: usize) -> Arc<Workers> {
    Workers::start(packed(1), own_worker::settings(entry, threads)).expect("workers start")
}

/// The engine. Rule set 0 cannot be loaded.
pub struct Unruly;

impl EngineKind for Unruly {
    fn pack(&self, _folder: Option<&Path>) -> Packed {
        packed(1)
    }

    fn unpack(&self, packed: &[u8]) -> Result<Box<dyn Scanner>, String> {
        match packed {
            [0] => Err("rule set 0 is broken on purpose".to_owned()),
            _ => Ok(Box::new(Self)),
        }
    }
}

impl Scanner for Unruly {
    fn scan(&mut self, bytes: &[u8], _limit: Option<Duration>) -> Result<Finding, EngineError> {
        let mut words = bytes.split(|byte| *byte == b' ');
        let word = words.next().unwrap_or_default();
        match word {
            b"HANG" => loop {
                thread::sleep(Duration::from_secs(1));
            },
            b"UNTIL" => {
                let path = String::from_utf8_lossy(words.next().unwrap_or_default());
                while !Path::new(&*path).exists() {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            b"SLOW" => thread::sleep(Duration::from_millis(100)),
            b"TAKE" => {
                let time = String::from_utf8_lossy(words.next().unwrap_or_default());
                thread::sleep(Duration::from_millis(time.parse().expect("milliseconds")));
            }
            b"FORK" => {
                // It inherits the standard input, which is the way to the service.
                let child = process::Command::new("sleep").arg("300").spawn();
                child.expect("sleep starts");
                process::abort();
            }
            b"CRASH" => process::abort(),
            b"PANIC" => panic!("a file told it to"),
            b"LEAVE" => process::exit(0),
            b"EAT" => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            b"NONSENSE" => say(&[0xff; 1024]),
            b"CUT" => say(&[1; 100]),
            b"FORGE" => {
                // "Clean", twice: also for the order that has not come yet.
                let number: u64 = words
                    .next()
                    .and_then(|word| std::str::from_utf8(word).ok()?.parse().ok())
                    .expect("the number of this order");
                let answers = [number, number + 1].map(clean);
                say(&answers.concat());
            }
            b"WHO" => {
                return Ok(Finding::Infected {
                    rule: process::id().to_string(),
                    origin: String::new(),
                });
            }
            b"FAIL" => return Err(EngineError::Failed("a file told it to".to_owned())),
            _ => {}
        }
        Ok(match bytes.first() {
            Some(b'!') => Finding::Infected {
                rule: "Bang".to_owned(),
                origin: "unruly".to_owned(),
            },
            _ => Finding::Clean,
        })
    }
}

/// The bytes of the answer "clean" to order `number`.
fn clean(number: u64) -> Vec<u8> {
    let mut answer = 0x5357_0001_u32.to_le_bytes().to_vec();
    answer.extend_from_slice(&2_u32.to_le_bytes());
    answer.extend_from_slice(&number.to_le_bytes());
    answer.resize(1024, 0);
    answer
}

/// Answers in the worker's place, and goes on as if nothing had happened.
fn say(bytes: &[u8]) {
    let way = std::io::stdin().as_fd().try_clone_to_owned();
    let mut way = UnixStream::from(way.expect("a descriptor"));
    way.write_all(bytes).expect("the service listens");
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}
