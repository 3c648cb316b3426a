//! What the service's answer and its configuration say of its health.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use siloscan_configuration::Configuration;
use siloscan_core::limits::ParameterId;
use siloscan_service::exclusions::read_file;
use siloscan_service::metrics::Status;

use super::Row;
use crate::exclude;
use crate::figures::{size, span};
use crate::policy::InForce;

/// An exclusion that let nothing through for so long is one that nobody needs, in milliseconds.
const UNUSED_MS: u64 = 24 * 3_600_000;
/// Less room for the quarantine is too little, in bytes.
const ROOM_LOW: u64 = 1 << 30;
const ROOM_BAD: u64 = 100 << 20;
/// A clock before the first release is wrong, in seconds since 1970: 2026-01-01.
const RELEASED: u64 = 1_767_225_600;
/// A file may be so much younger than the clock.
const AHEAD: Duration = Duration::from_secs(24 * 3_600);

/// Of a service that answered.
pub fn of_status(status: &Status) -> Vec<Row> {
    let up = format!("{}, up {}", status.service, span(status.uptime_ms));
    let mut rows = vec![Row::ok("service", &up)];
    rows.push(match status.connected {
        true => Row::ok("connection", "to the driver"),
        false => Row::bad(
            "connection",
            "none to the driver, so nothing is scanned",
            "load the driver; the service's log says why it is refused",
        ),
    });
    let count = status.rules.count.unwrap_or_default();
    rows.push(match count {
        0..=1 => Row::warning(
            "rules",
            "only the built-in rule is in use",
            "name a folder of rules: `rules` in [engine]",
        ),
        count => Row::ok(
            "rules",
            &format!("{count} of digest {}", status.rules.digest),
        ),
    });
    let epoch = status.driver.epoch;
    let epoch = epoch.map_or_else(|| "not told yet".to_owned(), |it| it.to_string());
    rows.push(match status.driver.warm_wanted {
        true => Row::warning(
            "signature epoch",
            &format!("{epoch}; verdicts of older signatures are met"),
            "`siloscan warm DIR`, or `enabled = true` in [proactive]",
        ),
        false => Row::ok("signature epoch", &epoch),
    });
    rows.push(workers(status));
    rows.push(queue(status));
    rows.push(match status.audit {
        true => Row::warning(
            "audit",
            "nothing is denied",
            "`audit = false` in [detections]",
        ),
        false => Row::ok("audit", "what is found is denied"),
    });
    rows.push(match status.counts.bad_messages {
        0 => Row::ok("messages", "all made sense"),
        bad => Row::warning(
            "messages",
            &format!("{bad} of the driver made no sense"),
            "install driver and service of one release",
        ),
    });
    rows.push(unused(status));
    rows
}

fn workers(status: &Status) -> Row {
    const CHECK: &str = "workers";
    let Some(workers) = &status.workers else {
        return Row::ok(CHECK, "none: the engine runs in the service");
    };
    let found = format!("{} of {} alive", workers.alive, workers.wanted);
    match &workers.trouble {
        Some(trouble) => Row::bad(CHECK, trouble, "see the service's log; it tries again"),
        None if workers.alive == 0 => Row::bad(CHECK, &found, "see the service's log"),
        None => Row::ok(CHECK, &found),
    }
}

fn queue(status: &Status) -> Row {
    let load = &status.load;
    let found = format!(
        "{} of {} threads busy, {} wait",
        load.scanning, load.threads, load.waiting
    );
    match load.waiting >= load.threads.max(1) {
        true => Row::warning("threads", &found, "more of them: `threads` in [scan]"),
        false => Row::ok("threads", &found),
    }
}

fn unused(status: &Status) -> Row {
    const CHECK: &str = "exclusions in force";
    let all = status.exclusions.len();
    let unused = { status.exclusions.iter() }.filter(|of| of.hits == 0);
    let unused: Vec<String> = unused
        .map(|of| format!("{} {}", of.kind, of.name))
        .collect();
    let found = format!("{all}, of which {} let nothing through", unused.len());
    if unused.is_empty() || status.uptime_ms < UNUSED_MS {
        return Row::ok(CHECK, &found);
    }
    let found = format!("{found}: {}", unused.join(", "));
    let next = "what nobody needs only an attacker uses: `siloscan exclude remove`";
    Row::warning(CHECK, &found, next)
}

/// Layers that were scanned ahead.
pub fn coverage(status: &Status, all: Option<&Configuration>) -> Row {
    const CHECK: &str = "proactive scans";
    let counts = &status.counts;
    let found = format!(
        "{} layers scanned, {} volumes covered",
        counts.proactive_layers, counts.proactive_covered
    );
    match all.map(|all| all.proactive) {
        Some(false) => Row::ok(CHECK, "off; each layer is scanned at its first opens"),
        Some(true) if counts.proactive_layers == 0 && status.uptime_ms > UNUSED_MS => Row::warning(
            CHECK,
            &found,
            "see the events of proactive scans, and [proactive]",
        ),
        _ => Row::ok(CHECK, &found),
    }
}

/// Of what is configured, and of the files that it names.
pub fn of_configuration(file: &Path, read: &Result<Configuration, String>) -> Vec<Row> {
    let place = file.display().to_string();
    let all = match read {
        Ok(all) => all,
        Err(cause) => {
            let next = "correct it; a running service keeps the one before";
            return vec![Row::bad("configuration", cause, next)];
        }
    };
    let mut rows = vec![Row::ok(
        "configuration",
        &format!("nothing is wrong with {place}"),
    )];
    rows.push(rules(all));
    rows.push(match all.metrics {
        None => Row::warning(
            "metrics",
            "nobody can ask the service",
            "`listen = \"127.0.0.1:9753\"` in [metrics]",
        ),
        Some(at) if !at.ip().is_loopback() => Row::warning(
            "metrics",
            &format!("at {at}, which other machines may reach"),
            "who asks there is told what is excluded: 127.0.0.1, or a firewall",
        ),
        Some(at) => Row::ok("metrics", &at.to_string()),
    });
    rows.extend(exclusions(all));
    rows.extend(all.quarantine.as_deref().map(room));
    rows
}

fn rules(all: &Configuration) -> Row {
    const CHECK: &str = "rules folder";
    let Some(folder) = &all.rules else {
        let next = "`rules` in [engine]; the built-in rule finds a test file";
        return Row::warning(CHECK, "none is configured", next);
    };
    let place = folder.display().to_string();
    match fs::read_dir(folder) {
        Ok(_) => Row::ok(CHECK, &place),
        Err(cause) => {
            let found = format!("cannot read {place}: {cause}");
            Row::bad(
                CHECK,
                &found,
                "make it, with the right to read for the service",
            )
        }
    }
}

fn exclusions(all: &Configuration) -> Option<Row> {
    const CHECK: &str = "exclusions";
    let file = all.exclusions.as_deref()?;
    let name = file.display().to_string();
    let read = read_file(file).map_err(|cause| format!("cannot read {name}: {cause}"));
    let listed = read
        .and_then(|bytes| exclude::list(&name, &bytes).map_err(|cause| format!("{name}: {cause}")));
    Some(match listed {
        Err(cause) => Row::warning(CHECK, &cause, "nothing is excluded until it can be read"),
        Ok(listing) if listing.problems.is_empty() => Row::ok(
            CHECK,
            &format!("{} entries in {name}", listing.entries.len()),
        ),
        Ok(listing) => {
            let next = "correct the lines; until then those entries are left out";
            Row::warning(CHECK, &listing.problems.join("\n"), next)
        }
    })
}

fn room(folder: &Path) -> Row {
    const CHECK: &str = "quarantine";
    let place = folder.display().to_string();
    let next = "delete what nobody needs (`siloscan quarantine delete`), or name another folder";
    match free(folder) {
        Err(cause) => Row::warning(
            CHECK,
            &format!("cannot tell the room of {place}: {cause}"),
            "the service makes the folder at its start",
        ),
        Ok(free) => {
            let found = format!("{} free for {place}", size(free));
            match free {
                0..ROOM_BAD => Row::bad(CHECK, &found, next),
                ROOM_BAD..ROOM_LOW => Row::warning(CHECK, &found, next),
                _ => Row::ok(CHECK, &found),
            }
        }
    }
}

#[cfg(unix)]
fn free(folder: &Path) -> std::io::Result<u64> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

#[cfg(windows)]
fn free(folder: &Path) -> std::io::Result<u64> {
    crate::windows::free_bytes(folder)
}

/// Of the machine's clock; `rules` is a file that should not be of the future.
pub fn clock(now: SystemTime, rules: Option<SystemTime>) -> Row {
    const CHECK: &str = "clock";
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let found = format!("{seconds} s since 1970");
    let next = "set the clock: events, and when signatures came, are told by it";
    if seconds < RELEASED {
        return Row::bad(CHECK, &format!("{found}, before this release"), next);
    }
    let ahead = rules.and_then(|rules| rules.duration_since(now).ok());
    match ahead.is_some_and(|ahead| ahead > AHEAD) {
        true => Row::warning(
            CHECK,
            &format!("{found}; the rules are of the future"),
            next,
        ),
        false => Row::ok(CHECK, &found),
    }
}

/// Of the driver's values.
pub fn of_policy(all: &InForce) -> Row {
    const CHECK: &str = "policy";
    let wrong = all.taken.iter().filter(|taken| taken.nonsense.is_some());
    let wrong: Vec<String> = wrong
        .map(|taken| format!("{}: {}", taken.parameter.name, taken.source()))
        .chain(
            all.unknown
                .iter()
                .map(|name| format!("the driver knows no \"{name}\"")),
        )
        .collect();
    if !wrong.is_empty() {
        return Row::bad(
            CHECK,
            &wrong.join("\n"),
            "`siloscan policy set`, or `reset`",
        );
    }
    if all.parameters.failure_policy().audit_only {
        let next = "`siloscan policy set AuditOnly deny`";
        return Row::warning(CHECK, "AuditOnly is 1: nothing is denied", next);
    }
    let of = |id: ParameterId| {
        let taken = all.taken.iter().find(|taken| taken.parameter.id == id);
        taken.map(|taken| format!("{} = {}", taken.parameter.name, taken.text()))
    };
    let said = [of(ParameterId::OnFailure), of(ParameterId::OnEvasion)];
    let said: Vec<String> = said.into_iter().flatten().collect();
    Row::ok(
        CHECK,
        &format!("{}; `siloscan policy` shows the cases", said.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use siloscan_service::metrics::{ExclusionStatus, WorkersStatus};

    fn well() -> Status {
        let mut status = Status {
            connected: true,
            uptime_ms: 2 * UNUSED_MS,
            ..Status::default()
        };
        status.rules.count = Some(9);
        status.load.threads = 2;
        status
    }

    fn worst(status: &Status) -> Vec<(&'static str, State)> {
        let rows = of_status(status).into_iter();
        let wrong = rows.filter(|row| row.state != State::Ok);
        wrong.map(|row| (row.check, row.state)).collect()
    }

    #[test]
    fn each_fact_of_the_status_has_its_row() {
        assert_eq!(worst(&well()), []);
        type Change = fn(&mut Status);
        let changes: [(Change, &str, State); 9] = [
            (|it| it.connected = false, "connection", State::Bad),
            (|it| it.rules.count = Some(1), "rules", State::Warning),
            (
                |it| it.driver.warm_wanted = true,
                "signature epoch",
                State::Warning,
            ),
            (
                |it| it.workers = Some(WorkersStatus::default()),
                "workers",
                State::Bad,
            ),
            (
                |it| {
                    let trouble = Some("no such program".to_owned());
                    it.workers = Some(WorkersStatus {
                        alive: 1,
                        trouble,
                        ..Default::default()
                    });
                },
                "workers",
                State::Bad,
            ),
            (|it| it.load.waiting = 2, "threads", State::Warning),
            (|it| it.audit = true, "audit", State::Warning),
            (|it| it.counts.bad_messages = 1, "messages", State::Warning),
            (
                |it| it.exclusions.push(ExclusionStatus::default()),
                "exclusions in force",
                State::Warning,
            ),
        ];
        for (change, check, state) in changes {
            let mut status = well();
            change(&mut status);
            assert_eq!(worst(&status), [(check, state)]);
        }
        let mut young = well();
        young.uptime_ms = 1;
        young.exclusions.push(ExclusionStatus::default());
        assert_eq!(worst(&young), [], "it may yet be hit");
    }

    #[test]
    fn a_wrong_clock_is_told() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(clock(at(0), None).state, State::Bad);
        assert_eq!(clock(at(RELEASED), None).state, State::Ok);
        assert_eq!(
            clock(at(RELEASED), Some(at(RELEASED + 3_600))).state,
            State::Ok
        );
        let future = clock(at(RELEASED), Some(at(RELEASED + 90_000)));
        assert_eq!(future.state, State::Warning);
    }
}
