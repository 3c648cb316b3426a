//! Containers that the connected service excludes. The driver asks for the list and believes it for
//! as long as that connection lives; nobody else can set one, and a service that is gone leaves
//! none.
#![forbid(unsafe_code)]

use siloscan_core::exclusion::{ContainerId, Excluded, Exclusions};

use crate::kernel::file::File;
use crate::kernel::lock::SpinLock;
use crate::kernel::silo::{self, Place};
use crate::{port, trace};

/// What opens look at.
static TABLE: Exclusions = Exclusions::new();

/// The service's number of the list in the table; zero for none. Its lock is for those who change
/// the table.
static LISTED: SpinLock<u32> = SpinLock::new(0);

/// A list, and the connection that it is believed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    connection: u64,
    /// The service's number of the list; zero for none.
    pub list: u32,
}

/// The table, to be told.
#[must_use]
pub fn table() -> &'static Exclusions {
    &TABLE
}

/// The list in force. What is learnt from the service after this is believed only if the
/// connection still is the one that lived then.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn listed() -> Listed {
    let connection = port::current();
    let list = *LISTED.lock();
    Listed { connection, list }
}

/// Excludes these containers and no others, if the connection of `before` lives.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn replace(before: Listed, list: u32, containers: impl Iterator<Item = ContainerId>) {
    {
        let mut listed = LISTED.lock();
        // One that ends just now is forgotten afterwards, under this lock.
        if before.connection == 0 || port::current() != before.connection {
            return;
        }
        *listed = list;
        TABLE.replace(containers);
    }
    trace::exclusions(list, TABLE.hits().count());
}

/// The connection has ended, and with it every exclusion.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn forget() {
    let had_one = {
        let mut listed = LISTED.lock();
        let had_one = core::mem::take(&mut *listed) != 0;
        TABLE.replace(core::iter::empty());
        had_one
    };
    if had_one {
        trace::exclusions(0, 0);
    }
}

/// The exclusion of the container that a file is opened in. One relaxed load where there is none.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn of(file: File<'_>) -> Option<Excluded> {
    if TABLE.is_empty() || silo::place(file) != Place::Container {
        return None;
    }
    TABLE.find(&silo::of(file)?.container)
}
