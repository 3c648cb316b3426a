//! Child processes: a clean environment, a time limit, and the whole group ended with the child.
#![expect(unsafe_code, reason = "kill(2) of a process group")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::trouble::{Outcome, Trouble};

/// A command without what the calling Cargo, rustup or the user's shell set for another build.
/// The choice of a rustup toolchain stays: without it, rustup would obey a toolchain file in the
/// folder of a dependency that is being compiled.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let names = [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "RUSTUP_HOME",
            "RUSTUP_TOOLCHAIN",
        ];
        let kept = names.contains(&&*text)
            || text.starts_with("CARGO_HTTP_")
            || text.starts_with("CARGO_REGISTR");
        let ours = [
            "CARGO",
            "RUST",
            "LD_LIBRARY_PATH",
            "BINDGEN_",
            "CC",
            "CFLAGS",
        ];
        if !kept && ours.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs to the end and returns what it printed; a failure carries its error output.
pub fn output(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| not_started(&name, &e))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&done.stderr);
    Err(Trouble::new(format!(
        "{name} failed ({}):\n{}",
        done.status,
        errors.trim_end()
    )))
}

/// Runs and hands each line of standard output to `line`; true if it succeeded.
pub fn lines(command: &mut Command, mut line: impl FnMut(&str)) -> Outcome<bool> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| not_started(&name, &e))?;
    if let Some(out) = child.stdout.take() {
        for text in BufReader::new(out).split(b'\n').map_while(Result::ok) {
            line(&String::from_utf8_lossy(&text));
        }
    }
    let status = child.wait().map_err(|e| not_started(&name, &e))?;
    Ok(status.success())
}

/// How a limited run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with success.
    Well,
    /// By itself, with a failure.
    Failed,
    /// It was ended because its time was over.
    Late,
}

/// Runs in a process group of its own, output and errors in `log` and line by line to `line`. The
/// whole group is ended when `limit` is over: it can never hang the caller.
pub fn limited(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Outcome<Ended> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut file = File::create(log).map_err(|e| Trouble::file("write", log, &e))?;
    let (reader, writer) = std::io::pipe().map_err(|e| not_started(&name, &e))?;
    let errors = writer.try_clone().map_err(|e| not_started(&name, &e))?;
    command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .process_group(0);
    let mut child = command.spawn().map_err(|e| not_started(&name, &e))?;
    // The command holds the writing ends: without this the pipe would never close.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for text in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
            if send.send(text).is_err() {
                return;
            }
        }
    });
    let start = Instant::now();
    loop {
        match receive.recv_timeout(Duration::from_millis(100)) {
            Ok(text) => {
                file.write_all(&[text.as_slice(), b"\n"].concat()).ok();
                line(&String::from_utf8_lossy(&text));
            }
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(20)),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if start.elapsed() > limit {
            end_group(&child);
            child.wait().ok();
            return Ok(Ended::Late);
        }
        if let Some(status) = child.try_wait().map_err(|e| not_started(&name, &e))? {
            while let Ok(text) = receive.recv_timeout(Duration::from_millis(300)) {
                file.write_all(&[text.as_slice(), b"\n"].concat()).ok();
                line(&String::from_utf8_lossy(&text));
            }
            end_group(&child);
            return Ok(if status.success() {
                Ended::Well
            } else {
                Ended::Failed
            });
        }
    }
}

fn end_group(child: &Child) {
    if let Ok(group) = i32::try_from(child.id()) {
        // SAFETY: a plain system call; the group is that of a child started here.
        unsafe { libc::kill(-group, libc::SIGKILL) };
    }
}

fn not_started(name: &str, error: &std::io::Error) -> Trouble {
    Trouble::new(format!("cannot run {name}: {error}"))
}

/// Is a program of this name on the path?
pub fn exists(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Duration) -> (Ended, String) {
        let name = format!("xtask-limited-{}-{:?}", std::process::id(), limit);
        let log = std::env::temp_dir().join(name);
        let mut seen = String::new();
        let mut shell = Command::new("sh");
        let ended = limited(shell.args(["-c", script]), &log, limit, |line| seen += line);
        std::fs::remove_file(&log).ok();
        (ended.unwrap(), seen)
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_its_children() {
        // Weeks: a run that waited for its children would not end.
        let (ended, seen) = run(
            "echo begun; sleep 9999999 & sleep 9999999",
            Duration::from_millis(700),
        );
        assert_eq!((ended, seen.as_str()), (Ended::Late, "begun"));
    }

    #[test]
    fn a_child_that_stays_behind_holds_nobody_up() {
        let (ended, seen) = run(
            "sleep 9999999 & echo done; exit 3",
            Duration::from_secs(9_999_999),
        );
        assert_eq!((ended, seen.as_str()), (Ended::Failed, "done"));
    }
}
