//! What an error of a container runtime most likely means on a host with scanners. Only codes that
//! Microsoft documents; what they hide is from public reports of such failures.

use serde::Serialize;

/// What was recognised, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The function of hcsshim, the runtimes' library.
    pub function: Option<&'static str>,
    /// What it does.
    pub does: Option<&'static str>,
    /// The file or folder that is named.
    pub path: Option<String>,
    /// The code, as it was written or found by its words.
    pub code: Option<u32>,
    /// Its name in Microsoft's headers.
    pub name: Option<&'static str>,
    /// What it most likely means here.
    pub likely: Option<&'static str>,
    /// What to do next, in order.
    pub next: Vec<&'static str>,
}

struct Known {
    code: u32,
    name: &'static str,
    /// Words of the system's English text for it, in lower case.
    words: &'static str,
    likely: &'static str,
    next: &'static [&'static str],
}

/// The functions whose failures are reported, longest names first where one begins another.
const FUNCTIONS: &[(&str, &str)] = &[
    (
        "ImportLayer",
        "writes the files of a layer while an image is pulled",
    ),
    (
        "ProcessBaseLayer",
        "prepares the files of a base image that was just pulled",
    ),
    (
        "ProcessUtilityVMImage",
        "prepares the utility VM of a base image that was just pulled",
    ),
    (
        "UnprepareLayer",
        "takes a container's file system apart at its end",
    ),
    (
        "PrepareLayer",
        "puts a container's file system together from its layers",
    ),
    ("DeactivateLayer", "detaches a container's disk at its end"),
    (
        "ActivateLayer",
        "attaches a container's disk before its start",
    ),
    ("CreateSandboxLayer", "makes a container's disk"),
    ("CreateScratchLayer", "makes a container's disk"),
    ("ExpandSandboxSize", "enlarges a container's disk"),
    ("DestroyLayer", "deletes a layer or a container's disk"),
    (
        "ExportLayer",
        "reads the files of a layer, for a commit or a push",
    ),
    (
        "GetLayerMountPath",
        "asks where a container's file system is",
    ),
    ("CreateComputeSystem", "makes a container or a utility VM"),
];

const FILTERS: &str = "`siloscan doctor`: the rows \"other scanners\" and \"legacy filters\"; stop \
                       those one by one and try again after each";

const CODES: &[Known] = &[
    Known {
        code: 0x1,
        name: "ERROR_INVALID_FUNCTION",
        words: "incorrect function",
        likely: "a filter answers a control code that it does not know instead of passing it on; \
                 reported with cloud storage, encryption and backup filters, mostly in \
                 PrepareLayer. siloscan passes control codes on untouched",
        next: &[
            FILTERS,
            "the log \"System\" for \"Filter Manager failed to attach to volume\"",
        ],
    },
    Known {
        code: 0x2,
        name: "ERROR_FILE_NOT_FOUND",
        words: "cannot find the file",
        likely: "a file of the layer is gone: a scanner moved it to its quarantine, or the pull \
                 was broken off. siloscan never moves or deletes a file of a layer",
        next: &[
            "the quarantine and the log of every other scanner",
            "remove the image and pull it again",
        ],
    },
    Known {
        code: 0x3,
        name: "ERROR_PATH_NOT_FOUND",
        words: "cannot find the path",
        likely: "a folder of the layer is gone, or the runtime's data folder was moved",
        next: &[
            "whether the folder that is named is there, and its parents in layerchain.json",
            "remove the image and pull it again",
        ],
    },
    Known {
        code: 0x5,
        name: "ERROR_ACCESS_DENIED",
        words: "access is denied",
        likely: "a scanner holds a file of the layer or denies it without a verdict, or the \
                 rights of the runtime's folder were changed. siloscan answers what it found with \
                 0xE1; 0x5 is its answer only where a file cannot be scanned and OnFailure or \
                 OnEvasion say deny",
        next: &[
            "`siloscan policy`, and the counters failure/* of `siloscan status`",
            FILTERS,
            "icacls on the folder that is named",
        ],
    },
    Known {
        code: 0x20,
        name: "ERROR_SHARING_VIOLATION",
        words: "being used by another process",
        likely: "somebody has a file of the layer open: a scanner, an indexer, a backup, a shell \
                 in the folder. The code hides other causes, too: a container's build that does \
                 not fit the host's was reported with it. siloscan scans what the caller has \
                 opened, and gives way",
        next: &[
            "who has it: `openfiles`, or handle.exe of Sysinternals",
            FILTERS,
            "compare the builds: `cmd /c ver`, and os.version of `docker image inspect`",
        ],
    },
    Known {
        code: 0x70,
        name: "ERROR_DISK_FULL",
        words: "not enough space on the disk",
        likely: "the volume of the runtime's data folder is full; layers whose removal fails stay",
        next: &[
            "`docker system df`, and what is called \"-removing\" in the data folder",
            "`siloscan doctor`: the room of the quarantine, if it is on that volume",
        ],
    },
    Known {
        code: 0xb7,
        name: "ERROR_ALREADY_EXISTS",
        words: "when that file already exists",
        likely: "the rest of a pull or of a container that was broken off is in the way",
        next: &["restart the runtime's service, which clears such rests, and try again"],
    },
    Known {
        code: 0xe1,
        name: "ERROR_VIRUS_INFECTED",
        words: "contains a virus",
        likely: "a scanner found something in a file. If it was siloscan, an event `detection` \
                 names file and rule; the layer itself is never touched",
        next: &[
            "the events `detection` and `layer_detection` of siloscan, and the log of every other \
             scanner",
            "a false alarm: `siloscan exclude add file sha256:…` allows that content alone; then \
             pull again",
        ],
    },
    Known {
        code: 0xe2,
        name: "ERROR_VIRUS_DELETED",
        words: "deleted from this location",
        likely: "a scanner found something and deleted the file. siloscan never answers this",
        next: &["the log of every other scanner", FILTERS],
    },
    Known {
        code: 0x8037_0100,
        name: "HCS_E_TERMINATED_DURING_START",
        words: "exited unexpectedly while starting",
        likely: "the container or its VM ended while it started: a program in it failed, or was \
                 denied",
        next: &[
            "`siloscan status`: the line \"denied\"",
            "the container's log",
        ],
    },
    Known {
        code: 0x8037_0101,
        name: "HCS_E_IMAGE_MISMATCH",
        words: "does not match the host operating system",
        likely: "the image is of another build of Windows than the host. No scanner has a part in \
                 it",
        next: &["an image of the host's build, or Hyper-V isolation"],
    },
    Known {
        code: 0x8037_0102,
        name: "HCS_E_HYPERV_NOT_INSTALLED",
        words: "a required feature is not installed",
        likely: "the utility VM cannot start: Hyper-V or virtualisation is missing. No scanner \
                 has a part in it",
        next: &["install Hyper-V, switch virtualisation on, or use process isolation"],
    },
    Known {
        code: 0x8037_0106,
        name: "HCS_E_UNEXPECTED_EXIT",
        words: "container exited unexpectedly",
        likely: "the container or its VM ended by itself",
        next: &[
            "the container's log",
            "`siloscan status`: the line \"denied\"",
        ],
    },
    Known {
        code: 0x8037_0109,
        name: "HCS_E_CONNECTION_TIMEOUT",
        words: "because a response was not received",
        likely: "the container or its VM did not answer in time: a loaded host, or opens that \
                 wait for scans while the cache is cold",
        next: &[
            "`siloscan top`: what containers' starts waited",
            "`siloscan warm DIR` before the next start",
        ],
    },
];

/// Other spellings of the same cause: `NTSTATUS` values that Microsoft documents with it.
const STATUSES: &[(u32, u32)] = &[
    (0xc000_0010, 0x1),
    (0xc000_000f, 0x2),
    (0xc000_0034, 0x2),
    (0xc000_003a, 0x3),
    (0xc000_0022, 0x5),
    (0xc000_0043, 0x20),
    (0xc000_007f, 0x70),
    (0xc000_0906, 0xe1),
    (0xc000_0907, 0xe2),
];

/// Explains a code or a text with one. Words count as well: not every program prints the code.
pub fn explain(text: &str) -> Explanation {
    let text = text.trim();
    let function = FUNCTIONS.iter().find(|(name, _)| text.contains(name));
    let path = path(text);
    let mut rest = text.to_owned();
    if let Some(path) = &path {
        // A digest in a folder's name is no code.
        rest = rest.replace(path.as_str(), " ");
    }
    let code = number(text).or_else(|| written(&rest));
    let lower = rest.to_lowercase();
    let worded = || CODES.iter().find(|known| lower.contains(known.words));
    let known = match code {
        Some(code) => CODES.iter().find(|known| known.code == plain(code)),
        None => worded(),
    };
    let mut next: Vec<&'static str> = known.map(|known| known.next.to_vec()).unwrap_or_default();
    if known.is_none() {
        next.push(
            "give the whole line, with the code in brackets at its end, such as (0x20); codes of \
             Windows are at https://learn.microsoft.com/windows/win32/debug/system-error-codes",
        );
        next.push(FILTERS);
    }
    Explanation {
        function: function.map(|(name, _)| *name),
        does: function.map(|(_, does)| *does),
        path,
        code: code.or(known.map(|known| known.code)),
        name: known.map(|known| known.name),
        likely: known.map(|known| known.likely),
        next,
    }
}

/// A text that is a number and nothing else.
fn number(text: &str) -> Option<u32> {
    hexadecimal(text).or_else(|| {
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_decimal)
    })
}

fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))?;
    let good = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| good)
}

/// The last code of a text: in brackets where any is.
fn written(text: &str) -> Option<u32> {
    let words = || text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '(' || c == ')'));
    let inner = |word: &str| hexadecimal(word.strip_prefix('(')?.strip_suffix(')')?);
    let in_brackets = words().filter_map(inner).next_back();
    let plain = |word: &str| hexadecimal(word.trim_matches(['(', ')']));
    in_brackets.or_else(|| words().filter_map(plain).next_back())
}

/// The code that the cause has among Windows' own.
fn plain(code: u32) -> u32 {
    if let Some((_, plain)) = STATUSES.iter().find(|(status, _)| *status == code) {
        return *plain;
    }
    match code >> 16 {
        // An HRESULT of FACILITY_WIN32.
        0x8007 => code & 0xffff,
        // hcsshim's older spelling of the host compute service's codes.
        0xc037 => code & 0xffff | 0x8037_0000,
        _ => code,
    }
}

/// The first path of Windows in a text: a drive or a device, up to what ends it in a message.
fn path(text: &str) -> Option<String> {
    let drive = text
        .char_indices()
        .zip(text.chars().skip(1))
        .zip(text.chars().skip(2));
    let drive = drive.map(|(((at, one), two), three)| (at, one, two, three));
    let drive = drive.filter(|(at, one, two, three)| {
        let before = text
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        let begins = !before.is_some_and(|before| before.is_ascii_alphanumeric());
        begins && one.is_ascii_alphabetic() && *two == ':' && *three == '\\'
    });
    let drive = { drive }.map(|(at, ..)| at).next();
    let device = text.find(r"\\?\").or_else(|| text.find(r"\\.\"));
    let begin = match (drive, device) {
        (Some(drive), Some(device)) => drive.min(device),
        (one, other) => one.or(other)?,
    };
    let rest = text.get(begin..)?;
    // The drive's own colon is behind the first letters.
    let skipped = rest.find(":\\").map_or(0, |colon| colon + 1);
    let ends = |c: char| matches!(c, ':' | '"' | '\'' | '\n' | '\r' | '<' | '>' | '|' | '*');
    let end = rest
        .get(skipped..)?
        .find(ends)
        .map_or(rest.len(), |end| skipped + end);
    Some(
        rest.get(..end)?
            .trim_end_matches([' ', '.', ','])
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = r"\\?\C:\ProgramData\docker\windowsfilter\0x20f88cf836f751a8464ac6d55";

    #[test]
    fn whole_lines_are_taken_apart() {
        let line = format!(
            "failed to register layer: re-exec error: exit status 1: output: \
             hcsshim::ProcessBaseLayer {LAYER}: The system cannot find the path specified. (0x3)"
        );
        let told = explain(&line);
        assert_eq!(told.function, Some("ProcessBaseLayer"));
        assert_eq!(told.path.as_deref(), Some(LAYER));
        assert_eq!(
            (told.code, told.name),
            (Some(3), Some("ERROR_PATH_NOT_FOUND"))
        );

        // Without its code, by its words.
        let line = format!("hcsshim::ImportLayer - failed {LAYER}: Access is denied.");
        let told = explain(&line);
        assert_eq!((told.function, told.code), (Some("ImportLayer"), Some(5)));
        assert!(told.likely.is_some_and(|said| said.contains("OnEvasion")));

        let told =
            explain("hcsshim::PrepareLayer - failed failed in Win32: Incorrect function. (0x1)");
        assert_eq!((told.function, told.code), (Some("PrepareLayer"), Some(1)));
        let told = explain("hcsshim::UnprepareLayer failed in Win32: … (0x20)");
        assert_eq!(
            (told.function, told.code),
            (Some("UnprepareLayer"), Some(0x20))
        );

        // In another language and without a code nothing is guessed, and the exit status is none.
        let told = explain(&format!(
            "exit status 1: hcsshim::ProcessBaseLayer {LAYER}: Accès refusé."
        ));
        assert_eq!((told.code, told.likely), (None, None));
        assert_eq!(told.path.as_deref(), Some(LAYER));
        assert!(told.next[0].contains("brackets"));
        let told = explain(r#"open "D:\data root\x.txt": being used by another process"#);
        assert_eq!(told.path.as_deref(), Some(r"D:\data root\x.txt"));
        assert_eq!(told.code, Some(0x20));
    }

    #[test]
    fn every_spelling_of_a_code_is_the_same_cause() {
        for (text, code) in [
            ("0x20", 0x20),
            ("32", 0x20),
            ("0xE1", 0xe1),
            ("225", 0xe1),
            ("5", 5),
            (" 0X5 ", 5),
            ("0x80070005", 5),
            ("0xC0000022", 5),
            ("STATUS 0xc0000906", 0xe1),
            ("The container … (0xc0370101)", 0x8037_0101),
            ("encountered 0x1 before (0x70)", 0x70),
        ] {
            let told = explain(text);
            let known = CODES
                .iter()
                .find(|known| known.code == code)
                .map(|known| known.name);
            assert_eq!(told.name, known, "{text}");
        }
        for none in [
            "",
            "0x",
            "-5",
            "+5",
            "0x+5",
            "0x123456789",
            "99999999999",
            "é:\\",
            "\\\\?\\",
            "7",
        ] {
            assert_eq!(explain(none).likely, None, "{none}");
        }
    }

    #[test]
    fn what_is_told_is_whole() {
        for known in CODES {
            assert!(!known.next.is_empty() && known.words == known.words.to_lowercase());
            assert_eq!(
                explain(&format!("it {}.", known.words)).name,
                Some(known.name)
            );
        }
    }
}
