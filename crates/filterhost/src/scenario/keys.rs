//! Every key that a scenario file may have: the reader refuses others, and the reference is made
//! from the same lists.

use std::fmt::Write as _;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// An integer, 0 or more.
    Number,
    /// `true` or `false`.
    Flag,
    /// An array of strings.
    Texts,
}

impl Kind {
    /// In the words of an error.
    #[must_use]
    pub const fn article(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Number => "an integer of 0 or more",
            Self::Flag => "true or false",
            Self::Texts => "an array of strings",
        }
    }
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub kind: Kind,
    /// What it is for, and its default.
    pub about: &'static str,
}

/// A table of a scenario file.
#[derive(Debug)]
pub struct Section {
    /// Its header, brackets included.
    pub header: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// What a step can do.
#[derive(Debug)]
pub struct Deed {
    /// The value of `do`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Keys that it must have.
    pub needs: &'static [&'static str],
    /// Keys that it may have.
    pub may: &'static [&'static str],
}

const fn text(name: &'static str, about: &'static str) -> Key {
    let kind = Kind::Text;
    Key { name, kind, about }
}

const fn number(name: &'static str, about: &'static str) -> Key {
    let kind = Kind::Number;
    Key { name, kind, about }
}

const fn flag(name: &'static str, about: &'static str) -> Key {
    let kind = Kind::Flag;
    Key { name, kind, about }
}

const fn texts(name: &'static str, about: &'static str) -> Key {
    let kind = Kind::Texts;
    Key { name, kind, about }
}

/// `[machine]`.
pub static MACHINE: Section = Section {
    header: "[machine]",
    about: "The machine; may be left out.",
    keys: &[
        number("build", "Build number of Windows. 20348 (Server 2022)."),
        number(
            "seed",
            "One thread runs at a time, chosen by this seed; without it, all run at once.",
        ),
        flag(
            "special-pool",
            "Each pool block lies at a page that cannot be touched. false.",
        ),
        texts(
            "without-rules",
            "Rules that are not judged (`filterhost rules` lists them).",
        ),
    ],
};

/// `[driver]`.
pub static DRIVER: Section = Section {
    header: "[driver]",
    about: "The service of the driver; may be left out.",
    keys: &[
        text(
            "service",
            "Name of its service. The image's name without ending.",
        ),
        text("altitude", "Altitude of its instance. 320999.5."),
    ],
};

/// `[[driver-value]]`.
pub static DRIVER_VALUE: Section = Section {
    header: "[[driver-value]]",
    about: "A value below the service's registry key.",
    keys: &[
        text("key", "Key below the service's. The service's own."),
        text("name", "Name of the value. Needed."),
        number("dword", "A REG_DWORD."),
        text("string", "A REG_SZ. One of `dword` and `string` is needed."),
    ],
};

/// `[[volume]]`.
pub static VOLUME: Section = Section {
    header: "[[volume]]",
    about: "A volume. Without any there is one NTFS volume C.",
    keys: &[
        text("drive", "Its letter in every process on the host. Needed."),
        text(
            "kind",
            "ntfs, refs, fat, exfat, udf, cimfs, raw, lanman or csvfs. ntfs.",
        ),
        flag("read-only", "It is write-protected. false."),
        flag("dax", "Mapped writes do not pass the filters. false."),
        flag("late", "It is mounted after the driver was loaded. false."),
        text(
            "import",
            "A folder of this machine, relative to the scenario file, that fills it.",
        ),
    ],
};

/// `[[file]]`.
pub static FILE: Section = Section {
    header: "[[file]]",
    about: "A file that is there before the driver is; made without any operation.",
    keys: &[
        text(
            "path",
            r"Path with drive, such as `C:\folder\name.txt`. Needed.",
        ),
        text("text", "Its bytes, as UTF-8."),
        text("hex", "Its bytes, as hexadecimal digits."),
        number("repeat", "How often these bytes come. 1."),
    ],
};

/// `[[container]]`.
pub static CONTAINER: Section = Section {
    header: "[[container]]",
    about: "A Windows container: a silo with a scratch volume, and `wcifs` on it.",
    keys: &[
        text("name", "Its name in this file. Needed."),
        texts(
            "layers",
            r"Folders of its image, topmost first, such as `C:\layer`. None.",
        ),
    ],
};

/// `[[filter]]`.
pub static FILTER: Section = Section {
    header: "[[filter]]",
    about: "Another filter.",
    keys: &[
        text(
            "image",
            "An image to load beside the driver, relative to the scenario file.",
        ),
        text(
            "kind",
            "A filter of the host's: antivirus, projected or reissue. One of both is needed.",
        ),
        text("altitude", "Its altitude. Needed."),
        text(
            "drive",
            "The volume that one of the host's filters is on. The first.",
        ),
    ],
};

/// `[[process]]`.
pub static PROCESS: Section = Section {
    header: "[[process]]",
    about: "A process. Without any there is one on the host, called `user`.",
    keys: &[
        text("name", "Its name. Needed."),
        text(
            "container",
            "The container that it is in; its drive C is the scratch volume then.",
        ),
    ],
};

/// `[[step]]`.
pub static STEP: Section = Section {
    header: "[[step]]",
    about: "Something that a thread does. A thread's steps come in the order of the file; \
        threads run side by side.",
    keys: &[
        text("do", "What is done: one of the list below. Needed."),
        text("thread", "The thread that does it. main."),
        text(
            "process",
            "The thread's process; its first step says it. The first process.",
        ),
        text("name", "Name of the step, for `after`."),
        text(
            "after",
            "The step waits until the step of this name is over.",
        ),
        text(
            "status",
            "What it ends with: a name, a number such as `0xC0000022`, or `any`. STATUS_SUCCESS.",
        ),
        text(
            "path",
            r"A path with drive, such as `C:\name.txt` or `C:\name.txt:stream`.",
        ),
        text("to", "The new path of a rename, or the new name's."),
        text(
            "as",
            "Name for what is made: an open file, a view, a port, a program, a transaction.",
        ),
        text("file", "The `as` of an open file."),
        text("view", "The `as` of a view."),
        text(
            "port",
            r"The `as` of a connection; for `connect` the port's name, such as `\Port`.",
        ),
        text("program", "The `as` of a program."),
        text("transaction", "The `as` of a transaction."),
        texts("access", "read, write, execute, delete, list. read."),
        text(
            "disposition",
            "open, create, open-if, overwrite, overwrite-if or supersede. open.",
        ),
        texts(
            "options",
            "directory, file, unbuffered, asynchronous, delete-on-close, open-reparse-point, \
             kernel.",
        ),
        number("share", "FILE_SHARE_* bits. 7."),
        number("at", "Offset in bytes. 0."),
        number("length", "Bytes; for a read 65536 unless said."),
        number("attributes", "FILE_ATTRIBUTE_* bits."),
        number("class", "An information class."),
        number("code", "A control code."),
        number("room", "Bytes that the answer has room for. 4096."),
        number(
            "milliseconds",
            "A time, virtual in seeded runs. For `get-message` 1000.",
        ),
        flag("replace", "A file at the new path goes. false."),
        flag("exclusive", "Nobody else may lock the range. true."),
        text("protection", "read, write, copy or image. read."),
        text("text", "Bytes, as UTF-8."),
        text("hex", "Bytes, as hexadecimal digits."),
        number("repeat", "How often these bytes come. 1."),
        text("expect-text", "The bytes that come back, as UTF-8."),
        text(
            "expect-hex",
            "The bytes that come back, as hexadecimal digits.",
        ),
        texts("expect-names", "The names that come back, sorted."),
        text("drive", "The volume. The first."),
        text("instance", "Name of the instance."),
        text("altitude", "Altitude of the new instance."),
        number("nth", "Which one from now on; 1 is the next. 1."),
        text("function", "A function that the host provides."),
        number("reply-status", "Status of the reply. 0."),
    ],
};

/// Every table, in the order of the reference.
pub static SECTIONS: &[&Section] = &[
    &MACHINE,
    &DRIVER,
    &DRIVER_VALUE,
    &VOLUME,
    &FILE,
    &CONTAINER,
    &FILTER,
    &PROCESS,
    &STEP,
];

/// Keys that every step may have.
pub static ALWAYS: &[&str] = &["do", "thread", "process", "name", "after", "status"];

const fn deed(
    name: &'static str,
    about: &'static str,
    needs: &'static [&'static str],
    may: &'static [&'static str],
) -> Deed {
    Deed {
        name,
        about,
        needs,
        may,
    }
}

const DATA: &[&str] = &["text", "hex", "repeat"];

/// Everything that a step can do.
pub static DEEDS: &[Deed] = &[
    deed(
        "open",
        "Opens a file; without `as` it is closed at once.",
        &["path"],
        &[
            "as",
            "access",
            "disposition",
            "options",
            "share",
            "attributes",
            "transaction",
        ],
    ),
    deed("close", "Closes a file's handle.", &["file"], &[]),
    deed(
        "read",
        "Reads.",
        &["file"],
        &["at", "length", "expect-text", "expect-hex"],
    ),
    deed(
        "write",
        "Writes.",
        &["file"],
        &["at", "text", "hex", "repeat"],
    ),
    deed("append", "Writes at the end.", &["file"], DATA),
    deed(
        "set-size",
        "Moves the end of file.",
        &["file", "length"],
        &[],
    ),
    deed(
        "set-allocation",
        "Sets space aside.",
        &["file", "length"],
        &[],
    ),
    deed(
        "set-attributes",
        "Sets attributes.",
        &["file", "attributes"],
        &[],
    ),
    deed("rename", "Renames.", &["file", "to"], &["replace"]),
    deed(
        "link",
        "Gives the file another name.",
        &["file", "to"],
        &["replace"],
    ),
    deed(
        "delete",
        "The file goes with its last handle.",
        &["file"],
        &[],
    ),
    deed("undelete", "It stays after all.", &["file"], &[]),
    deed("flush", "Writes what is only in the cache.", &["file"], &[]),
    deed(
        "lock",
        "Locks a range of bytes.",
        &["file", "length"],
        &["at", "exclusive"],
    ),
    deed("unlock", "Lets a range go.", &["file", "length"], &["at"]),
    deed(
        "query",
        "Asks for an information class.",
        &["file", "class"],
        &["room", "expect-hex"],
    ),
    deed(
        "query-volume",
        "The same of the volume.",
        &["file", "class"],
        &["room", "expect-hex"],
    ),
    deed(
        "set",
        "Sets an information class.",
        &["file", "class"],
        DATA,
    ),
    deed(
        "control",
        "Sends a file system control.",
        &["file", "code"],
        &["room", "text", "hex", "repeat", "expect-text", "expect-hex"],
    ),
    deed("list", "Lists a directory.", &["path"], &["expect-names"]),
    deed("make-directory", "Makes a directory.", &["path"], &[]),
    deed(
        "map",
        "Maps a file; the view outlives its handle.",
        &["file", "as"],
        &["protection"],
    ),
    deed(
        "read-view",
        "Reads from a view.",
        &["view"],
        &["at", "length", "expect-text", "expect-hex"],
    ),
    deed(
        "write-view",
        "Writes into a view.",
        &["view"],
        &["at", "text", "hex", "repeat"],
    ),
    deed("unmap", "Takes a view away.", &["view"], &[]),
    deed(
        "start-program",
        "Starts a process from a file.",
        &["path"],
        &["as"],
    ),
    deed("end-program", "Ends it.", &["program"], &[]),
    deed("begin", "Begins a transaction.", &["as"], &[]),
    deed("commit", "Commits it.", &["transaction"], &[]),
    deed("roll-back", "Rolls it back.", &["transaction"], &[]),
    deed(
        "connect",
        "Connects to a filter's port.",
        &["port", "as"],
        DATA,
    ),
    deed(
        "send",
        "Sends to the filter's message callback.",
        &["port"],
        &["room", "text", "hex", "repeat", "expect-text", "expect-hex"],
    ),
    deed(
        "get-message",
        "Waits for a message of the filter.",
        &["port"],
        &["room", "milliseconds", "expect-text", "expect-hex"],
    ),
    deed(
        "reply",
        "Replies to the last message that this port's `get-message` gave.",
        &["port"],
        &["reply-status", "text", "hex", "repeat"],
    ),
    deed("disconnect", "Closes a connection.", &["port"], &[]),
    deed(
        "attach",
        "As `fltmc attach`.",
        &["instance", "altitude"],
        &["drive"],
    ),
    deed("detach", "As `fltmc detach`.", &[], &["drive", "instance"]),
    deed("dismount", "The volume goes away.", &[], &["drive"]),
    deed("unload", "Unloads the driver.", &[], &[]),
    deed("sleep", "Waits.", &["milliseconds"], &[]),
    deed(
        "fail-allocation",
        "An allocation of pool fails.",
        &[],
        &["nth"],
    ),
    deed(
        "fail-call",
        "A call of a function fails.",
        &["function"],
        &["nth"],
    ),
];

/// The reference of scenario files, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let _ = writeln!(out, "### `{}`\n\n{}\n", section.header, section.about);
        out.push_str("| key | value | what it says, and its default |\n| --- | --- | --- |\n");
        for key in section.keys {
            let (kind, about) = (key.kind.article(), key.about);
            let _ = writeln!(out, "| `{}` | {kind} | {about} |", key.name);
        }
        out.push('\n');
    }
    out.push_str("### What a step can do\n\n| `do` | does | needs | may have |\n");
    out.push_str("| --- | --- | --- | --- |\n");
    let list = |names: &[&str]| {
        let quoted = names.iter().map(|name| format!("`{name}`"));
        quoted.collect::<Vec<_>>().join(", ")
    };
    for deed in DEEDS {
        let (needs, may) = (list(deed.needs), list(deed.may));
        let _ = writeln!(
            out,
            "| `{}` | {} | {needs} | {may} |",
            deed.name, deed.about
        );
    }
    out
}
