//! Containers and layers that the connected service excludes. The driver asks for the list and
//! believes it for as long as that connection lives; nobody else can set one, and a service that is
//! gone leaves none.
//!
//! A container is known by its id. Whether a file lies in an excluded layer only the service can
//! say: it is asked instead of a scan, and only by an open that an acknowledged answer told that a
//! layer holds its bytes. What it says is kept beside the verdicts and dies with the list.
#![forbid(unsafe_code)]

use siloscan_core::exclusion::{Excluded, Exclusions, Exemption};
use siloscan_core::wire::List;

use crate::kernel::file::File;
use crate::kernel::lock::SpinLock;
use crate::kernel::silo::{self, Place};
use crate::{port, trace};

/// The containers, for opens to look at.
static CONTAINERS: Exclusions = Exclusions::new();

/// The layers, likewise.
static LAYERS: Exclusions = Exclusions::new();

/// The service's number of the list in the tables; zero for none. Its lock is for those who change
/// the tables, and for leaders, who ask the service.
static LISTED: SpinLock<u32> = SpinLock::new(0);

/// A list, and the connection that it is believed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed {
    connection: u64,
    /// The service's number of the list; zero for none.
    pub list: u32,
}

/// The list under which the service may say that a file lies in an excluded layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The service's number of it, never zero.
    pub list: u32,
    /// Our own number, which no other list ever has.
    ours: u64,
}

/// The containers, to be told.
#[must_use]
pub fn containers() -> &'static Exclusions {
    &CONTAINERS
}

/// The layers, to be told.
#[must_use]
pub fn layers() -> &'static Exclusions {
    &LAYERS
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

/// Excludes what this list names and nothing else, if the connection of `before` lives.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn replace(before: Listed, list: &List<'_>) {
    put(before, list.number, Some(list));
}

/// Excludes nothing, if the connection of `before` lives.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn clear(before: Listed) {
    put(before, 0, None);
}

fn put(before: Listed, number: u32, list: Option<&List<'_>>) {
    {
        let mut listed = LISTED.lock();
        // One that ends just now is forgotten afterwards, under this lock.
        if before.connection == 0 || port::current() != before.connection {
            return;
        }
        *listed = number;
        let (containers, layers) = list.map_or((&[][..], &[][..]), |l| (l.containers, l.layers));
        CONTAINERS.replace(containers.iter().copied());
        LAYERS.replace(layers.iter().copied());
    }
    let [containers, layers] = [&CONTAINERS, &LAYERS].map(|table| table.hits().count());
    trace::exclusions(number, containers, layers);
}

/// The connection has ended, and with it every exclusion.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn forget() {
    let had_one = {
        let mut listed = LISTED.lock();
        let had_one = core::mem::take(&mut *listed) != 0;
        CONTAINERS.replace(core::iter::empty());
        LAYERS.replace(core::iter::empty());
        had_one
    };
    if had_one {
        trace::exclusions(0, 0, 0);
    }
}

/// The exclusion of the container that a file is opened in. One relaxed load where there is none.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn of(file: File<'_>) -> Option<Excluded> {
    if CONTAINERS.is_empty() || silo::place(file) != Place::Container {
        return None;
    }
    CONTAINERS.find(&silo::of(file)?.container)
}

/// The exclusion by which a layer's file was let through before, if its list is in force. No lock.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn of_layer(exemption: &Exemption) -> Option<Excluded> {
    LAYERS.holds(exemption).then_some(exemption.place)
}

/// The list that a request about a layer's file names. `None` where no layer is excluded.
///
/// # IRQL
/// At most DISPATCH_LEVEL.
#[must_use]
pub fn asked() -> Option<Asked> {
    if LAYERS.is_empty() {
        return None;
    }
    let listed = LISTED.lock();
    let ours = LAYERS.list();
    (*listed != 0).then_some(Asked {
        list: *listed,
        ours,
    })
}

/// What the service said of a file when asked under a list: that it lies in the layer of this
/// place.
///
/// # Errors
/// Whether the answer makes no sense, as against one about a list that is not in force any more.
pub fn said(asked: Asked, place: u32) -> Result<Exemption, Unsaid> {
    let named = LAYERS.at(place);
    if LAYERS.list() != asked.ours {
        return Err(Unsaid::Over);
    }
    let place = named.ok_or(Unsaid::Nonsense)?;
    Ok(Exemption {
        list: asked.ours,
        place,
    })
}

/// Why what the service said does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsaid {
    /// Another list is in force, or none.
    Over,
    /// The list has no such layer.
    Nonsense,
}
