//! The process that opens the files of a layer: `siloscan warm --paced`, at the pace that it is
//! told. It is not the service's process, so the driver scans what it opens.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

pub use crate::warm::paced::{Start, Word};

/// Bytes of one answer at most: a name of 32,767 units, three times, and as much for its cause.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Answers that wait to be taken; the helper waits with more.
const ANSWERS_MAX: usize = 1024;

/// Starts helpers.
pub trait Runner {
    /// A helper that runs. Dropping it ends it.
    type Helper: Helper;

    /// Starts one for the layer in `folder`.
    ///
    /// # Errors
    /// Why there is none.
    fn start(&self, folder: &Path, start: &Start) -> Result<Self::Helper, String>;
}

/// A helper. Neither call waits.
pub trait Helper {
    /// It may open so many more files.
    fn go(&mut self, files: u32);

    /// What it has said since the last call.
    ///
    /// # Errors
    /// It has ended, and did not say [`Word::Ended`]: how.
    fn said(&mut self) -> Result<Vec<Word>, String>;
}

/// Helpers as processes of this machine.
#[derive(Clone, Debug)]
pub struct Processes {
    /// The program `siloscan`.
    pub program: PathBuf,
}

/// A helper that is a process of this machine. It ends when its input does, so it dies with the
/// service, too.
pub struct Process {
    /// There until this is dropped.
    child: Option<Child>,
    /// There until it is dropped.
    input: Option<ChildStdin>,
    answers: Receiver<Result<Word, String>>,
    /// It has ended, but what it said before had to be told first.
    broken: Option<String>,
}

impl Process {
    /// The process's number in the system.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }
}

impl Runner for Processes {
    type Helper = Process;

    fn start(&self, folder: &Path, start: &Start) -> Result<Process, String> {
        let mut command = Command::new(&self.program);
        command.args(["warm", "--paced"]);
        if let Some(after) = &start.after {
            command.arg("--after").arg(after);
        }
        command.args(["--pass-over", &start.pass_over.to_string()]);
        command.arg("--").arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let unstarted = |cause: String| {
            let program = self.program.display();
            format!("cannot start {program}: {cause}; name the program with proactive.helper")
        };
        let mut child = command
            .spawn()
            .map_err(|cause| unstarted(cause.to_string()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (sender, answers) = sync_channel(ANSWERS_MAX);
        let process = Process {
            child: Some(child),
            input,
            answers,
            broken: None,
        };
        let output = output.ok_or_else(|| unstarted("it has no output".to_owned()))?;
        let listen = move || {
            let mut output = BufReader::new(output);
            while let Some(answer) = answer(&mut output) {
                let over = answer.is_err();
                if sender.send(answer).is_err() || over {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("helper".to_owned())
            .spawn(listen)
            .map_err(|cause| unstarted(cause.to_string()))?;
        Ok(process)
    }
}

/// The next answer; nothing at the end.
fn answer(output: &mut BufReader<ChildStdout>) -> Option<Result<Word, String>> {
    let mut line = Vec::new();
    match output.take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line) {
        Ok(0) => None,
        Ok(_) => Some(
            serde_json::from_slice(&line).map_err(|cause| format!("it talks nonsense: {cause}")),
        ),
        Err(cause) => Some(Err(format!("its answers cannot be read: {cause}"))),
    }
}

impl Helper for Process {
    fn go(&mut self, files: u32) {
        let lines = vec![b'\n'; files as usize];
        if let Some(input) = &mut self.input {
            // It fails only where the helper has ended, which its answers tell.
            let _ = input.write_all(&lines);
        }
    }

    fn said(&mut self) -> Result<Vec<Word>, String> {
        let mut words = Vec::new();
        while self.broken.is_none() {
            match self.answers.try_recv() {
                Ok(Ok(word)) => words.push(word),
                Ok(Err(cause)) => self.broken = Some(cause),
                Err(TryRecvError::Disconnected) => self.broken = Some(self.ending()),
                Err(TryRecvError::Empty) => return Ok(words),
            }
        }
        match &self.broken {
            Some(cause) if words.is_empty() => Err(cause.clone()),
            _ => Ok(words),
        }
    }
}

impl Process {
    /// How it ended. Its output is closed, so it is about to.
    fn ending(&mut self) -> String {
        let Some(child) = &mut self.child else {
            return "it ended".to_owned();
        };
        let _ = child.kill();
        match child.wait() {
            Ok(status) => format!("it ended: {status}"),
            Err(cause) => format!("it ended, nobody knows how: {cause}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        let Some(mut child) = self.child.take() else {
            return;
        };
        // It fails only where it has ended.
        let _ = child.kill();
        // An open that hangs in the system may keep it: nobody waits for that.
        let wait = move || child.wait().map(drop);
        let _ = std::thread::Builder::new()
            .name("helper ends".to_owned())
            .spawn(wait);
    }
}
