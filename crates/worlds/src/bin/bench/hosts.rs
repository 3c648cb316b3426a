//! Hosts of a fleet that start containers of one image: how often each file is scanned.

use std::path::Path;
use std::sync::Arc;

use siloscan_worlds::load::hosts::{Host, Redis, Told, start_container, write_image};
use siloscan_worlds::load::own_workers;

use super::{load, table};

/// What becomes of Redis.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Up,
    Wiped,
    Slow,
    Down,
}

impl Case {
    fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Wiped => "wiped while the second host starts",
            Self::Slow => "stands still from then on",
            Self::Down => "down from then on",
        }
    }
}

/// Measures and prints; false where a file was scanned twice with Redis up, or anything was wrong.
pub fn run(image: &Path, hosts: usize, files: usize) -> Result<bool, String> {
    let folder = tempfile::tempdir().map_err(|cause| format!("no temporary folder: {cause}"))?;
    write_image(folder.path(), files).map_err(|cause| format!("cannot make files: {cause}"))?;
    println!("{}", load());
    println!(
        "\n{hosts} hosts, a container each, of one image with {files} files and an infected one"
    );
    let mut t = table(&[
        "Redis",
        "scans in all",
        "first host",
        "second",
        "each later one",
        "s, first",
        "s, second",
        "s, last",
    ]);
    let mut holds = true;
    for case in [Case::Up, Case::Wiped, Case::Slow, Case::Down] {
        let told = fleet(image, folder.path(), hosts, files, case)?;
        let scans: Vec<u64> = told.iter().map(|host| host.scanned).collect();
        let all: u64 = scans.iter().sum();
        let right = told.iter().all(|host| host.denied && host.refused == 0);
        holds &= right && (case != Case::Up || all == files as u64 + 1);
        let at = |number: usize| scans.get(number).map_or_else(String::new, u64::to_string);
        let later = scans.iter().skip(2).max();
        let seconds = |host: Option<&Told>| {
            host.map_or_else(String::new, |host| format!("{:.1}", host.seconds))
        };
        t.add_row([
            case.name().to_owned(),
            all.to_string(),
            at(0),
            at(1),
            later.map_or_else(String::new, u64::to_string),
            seconds(told.first()),
            seconds(told.get(1)),
            seconds(told.last()),
        ]);
        if !right {
            println!("wrong, with Redis {}: {told:?}", case.name());
        }
    }
    println!("{t}\n{}", load());
    Ok(holds)
}

fn fleet(
    image: &Path,
    layer: &Path,
    hosts: usize,
    files: usize,
    case: Case,
) -> Result<Vec<Told>, String> {
    let redis = Arc::new(parking_lot::Mutex::new(Redis::start()?));
    let mut told = Vec::new();
    for number in 0..hosts {
        let own = Arc::clone(&redis);
        let happens = move || match case {
            Case::Up => {}
            Case::Wiped => drop(own.lock().wipe()),
            Case::Slow => own.lock().freeze(),
            Case::Down => own.lock().end(),
        };
        let host = Host {
            image: image.to_owned(),
            layer: layer.to_owned(),
            files,
            workers: own_workers(&[], 2)?,
            midway: (number == 1).then(|| Arc::new(happens) as Arc<dyn Fn() + Send + Sync>),
        };
        // A copy of the way there: the lock is the midway's to take.
        let way = redis
            .lock()
            .fleet(matches!(case, Case::Slow | Case::Down))?;
        told.push(start_container(&host, Some(way))?);
    }
    Ok(told)
}
