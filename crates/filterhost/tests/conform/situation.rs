//! What the first part of a case's name says: the situation that the case is to run in.
//!
//! A situation is a list of words, such as `network_post_create`. The last ones say when the
//! case runs, the others what is special about it. An unknown word is an error, so that a
//! misspelled case cannot pass for another.

use crate::guest::Moment;

/// When a case runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// On a system thread, outside of any operation.
    Passive,
    /// In `DriverEntry`, before the harness registers.
    Entry,
    /// While the instance of a new volume is set up.
    Setup,
    /// While a user does this to a file.
    During(Moment),
    /// While instances are torn down because the filter unloads.
    Unload,
    /// While instances are torn down because their volume goes away.
    Dismount,
    /// After the filter was unregistered.
    Unloaded,
}

/// What is special about the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// NTFS, nothing special.
    #[default]
    Plain,
    /// The network redirector.
    Network,
    /// Write-protected.
    ReadOnly,
    /// Mapped writes do not pass the I/O stack.
    Dax,
    /// The mount manager does not know it.
    Nameless,
}

/// What is special about the file that is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// `\conform\file.txt`, 11 bytes.
    #[default]
    File,
    /// `\conform\file.txt:more`.
    Stream,
    /// `\conform\empty.txt`.
    Empty,
    /// `\conform\missing.txt`, which is not there.
    Missing,
    /// `\conform`.
    Directory,
    /// The volume itself.
    Volume,
    /// A paging file.
    PagingFile,
}

/// What is special about the user who opens it, or about what happens beside the case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    #[default]
    Nothing,
    /// Another user holds a byte-range lock on the file.
    Locked,
    /// Another user has the file mapped writable.
    Writable,
    /// The open carries an extra create parameter from user mode.
    UserEcp,
    /// The user starts a program after the case, and ends it.
    Program,
    /// The same, but the driver refuses it with ACCESS_DENIED.
    Refused,
    /// The user is in a container.
    Silo,
    /// The user is in an application silo on the host.
    AppSilo,
    /// The user is in an application silo within a container.
    Nested,
    /// The handle is asynchronous.
    Async,
    /// The open is for writing too.
    Writing,
    /// The write is the lazy writer's.
    Paging,
    /// Another thread cancels the operation while the case waits.
    Abort,
    /// Another thread ends the user's thread while the case waits.
    Dying,
    /// The filter begins to unload while the case waits.
    Ending,
    /// The open is to fail with ACCESS_DENIED in the end.
    Cancelled,
    /// No trace session listens.
    Untraced,
    /// The service key defines no instances.
    Unlisted,
    /// A client of the port answers messages.
    Answered,
    /// A client of the port is connected and does nothing.
    Silent,
    /// A client of the port takes messages and does not reply.
    Deaf,
    /// A client of the port has been and gone.
    Gone,
    /// A client of the port leaves instead of replying.
    Leaving,
    /// A client of the port sends a message to the driver.
    Sending,
    /// Somebody below holds the create up, and the filter is unloaded meanwhile.
    Draining,
}

/// A parsed situation.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// When the case runs.
    pub when: When,
    /// The volume.
    pub disk: Disk,
    /// The file.
    pub target: Target,
    /// What else there is.
    pub beside: Beside,
    /// The next call of the function fails on demand.
    pub fault: bool,
    /// The next pool allocation fails.
    pub starved: bool,
    /// The run is to end with a report.
    pub stops: bool,
    /// A transaction is under way; afterwards it is committed.
    pub transaction: bool,
    /// The transaction is rolled back instead.
    pub rolled: bool,
    /// Instances are registered for data scans.
    pub scan: bool,
    /// The volume is mounted before the driver is loaded.
    pub mounted: bool,
    /// Post-operation callbacks run at DISPATCH_LEVEL wherever that is allowed.
    pub dispatch: bool,
    /// Pool blocks end where a page begins that cannot be touched.
    pub special: bool,
}

const CREATE: u8 = 0;
const CLOSE: u8 = 2;
const READ: u8 = 3;
const WRITE: u8 = 4;
const FLUSH: u8 = 9;
const CLEANUP: u8 = 0x12;
/// `IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION`, which is no IRP.
const SECTION: u8 = 0xff;

impl Situation {
    /// Reads the words.
    ///
    /// # Errors
    /// The word that means nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (head, when) = split_when(text)?;
        let mut situation = Self {
            when,
            disk: Disk::Plain,
            target: Target::File,
            beside: Beside::Nothing,
            fault: false,
            starved: false,
            stops: false,
            transaction: false,
            rolled: false,
            scan: false,
            mounted: false,
            dispatch: false,
            special: false,
        };
        for word in head.split('_').filter(|word| !word.is_empty()) {
            situation.add(word)?;
        }
        Ok(situation)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        match word {
            "fault" => self.fault = true,
            "scan" => self.scan = true,
            "starved" => self.starved = true,
            "stops" => self.stops = true,
            "transaction" => self.transaction = true,
            "rolled" => self.rolled = true,
            "mounted" => self.mounted = true,
            "dispatch" => self.dispatch = true,
            "special" => self.special = true,
            "network" => self.disk = Disk::Network,
            "readonly" => self.disk = Disk::ReadOnly,
            "dax" => self.disk = Disk::Dax,
            "nameless" => self.disk = Disk::Nameless,
            "stream" => self.target = Target::Stream,
            "empty" => self.target = Target::Empty,
            "missing" => self.target = Target::Missing,
            "directory" => self.target = Target::Directory,
            "volume" => self.target = Target::Volume,
            "pagefile" => self.target = Target::PagingFile,
            _ => self.beside = beside(word)?,
        }
        Ok(())
    }
}

fn beside(word: &str) -> Result<Beside, String> {
    Ok(match word {
        "locked" => Beside::Locked,
        "writable" => Beside::Writable,
        "userecp" => Beside::UserEcp,
        "program" => Beside::Program,
        "refused" => Beside::Refused,
        "silo" => Beside::Silo,
        "appsilo" => Beside::AppSilo,
        "nested" => Beside::Nested,
        "async" => Beside::Async,
        "writing" => Beside::Writing,
        "paging" => Beside::Paging,
        "abort" => Beside::Abort,
        "dying" => Beside::Dying,
        "ending" => Beside::Ending,
        "cancelled" => Beside::Cancelled,
        "untraced" => Beside::Untraced,
        "unlisted" => Beside::Unlisted,
        "answered" => Beside::Answered,
        "silent" => Beside::Silent,
        "deaf" => Beside::Deaf,
        "gone" => Beside::Gone,
        "leaving" => Beside::Leaving,
        "sending" => Beside::Sending,
        "draining" => Beside::Draining,
        _ => return Err(format!("`{word}` is no situation")),
    })
}

fn split_when(text: &str) -> Result<(&str, When), String> {
    let table = [
        ("passive", When::Passive),
        ("entry", When::Entry),
        ("mounting", When::Setup),
        ("teardown", When::Unload),
        ("dismount", When::Dismount),
        ("unloaded", When::Unloaded),
        ("pre_create", When::During(Moment::Pre(CREATE))),
        ("post_create", When::During(Moment::Post(CREATE))),
        ("pre_read", When::During(Moment::Pre(READ))),
        ("post_write", When::During(Moment::Post(WRITE))),
        ("post_read", When::During(Moment::Post(READ))),
        ("pre_flush", When::During(Moment::Pre(FLUSH))),
        ("pre_section", When::During(Moment::Pre(SECTION))),
        ("post_section", When::During(Moment::Post(SECTION))),
        ("pre_cleanup", When::During(Moment::Pre(CLEANUP))),
        ("pre_close", When::During(Moment::Pre(CLOSE))),
    ];
    let found = table
        .iter()
        .find_map(|(end, when)| Some((text.strip_suffix(end)?, *when)));
    found.ok_or_else(|| format!("`{text}` does not say when"))
}
