//! The attacks of the day. Each ends with an open that must be denied.

use filterhost::status::NtStatus;
use filterhost::user::Process;
use siloscan_service::engine::eicar_test_file;

use super::{DayOptions, Named};
use crate::report::figures::Attack;

/// `STATUS_VIRUS_INFECTED`.
const INFECTED: NtStatus = NtStatus(0xC000_0906_u32.cast_signed());

/// Runs them all; each in a container of its own where there are enough.
pub(super) fn run(options: &DayOptions, named: &[Named]) -> Vec<Attack> {
    let files: Vec<String> = options
        .layers
        .iter()
        .flat_map(|layer| &layer.files)
        .map(|file| format!(r"C:\{}", file.display().to_string().replace('/', r"\")))
        .collect();
    let at = |share: usize| files[(files.len() - 1) * share / 4].clone();
    type Step = fn(&Process, &str) -> Result<(), NtStatus>;
    let plan: [(&str, String, Step); 3] = [
        ("drops EICAR", r"C:\dropped.com".to_owned(), drop_it),
        (
            "overwrites a clean file that was scanned",
            r"C:\notes.txt".to_owned(),
            overwrite,
        ),
        ("infects its copy of a package file", at(3), infect_copy),
    ];
    let mut attacks = Vec::new();
    for (number, (what, path, step)) in plan.into_iter().enumerate() {
        let Some(named) = named.get(number % named.len().max(1)) else {
            continue;
        };
        let container = named.name.clone();
        let target = path.clone();
        let denied = named.container.process("malware.exe").run(move |process| {
            let ready = step(process, &target);
            let read = process.read_file(&target);
            process.exit();
            ready.is_ok() && read == Err(INFECTED)
        });
        let (what, rule) = (what.to_owned(), String::new());
        attacks.push(Attack {
            what,
            container,
            path,
            rule,
            denied,
        });
    }
    attacks
}

fn drop_it(process: &Process, path: &str) -> Result<(), NtStatus> {
    process.write_file(path, &eicar_test_file())
}

fn overwrite(process: &Process, path: &str) -> Result<(), NtStatus> {
    process.write_file(path, b"nothing to see here")?;
    process.read_file(path)?;
    process.read_file(path)?;
    process.write_file(path, &eicar_test_file())
}

fn infect_copy(process: &Process, path: &str) -> Result<(), NtStatus> {
    process.read_file(path)?;
    process.write_file(path, &eicar_test_file())
}
