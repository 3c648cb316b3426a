//! The facts of one open, before the file is open and after, that core's route decides by.
#![forbid(unsafe_code)]

use core::sync::atomic::Ordering;

use siloscan_core::route::{self, OpenFacts};
use siloscan_core::stream::StreamName;

use crate::context::{InstanceContext, Owned, StreamContext};
use crate::ecp::List;
use crate::kernel::file::{self, Name};
use crate::kernel::silo::{self, Place};
use crate::registration::view::{Data, NameHint};
use crate::sys::constants::*;
use crate::{invalidate, port};

/// Access that reads, runs or changes data. What is not yet resolved counts as all of it.
const DATA_ACCESS: u32 =
    FILE_READ_DATA | FILE_EXECUTE | WRITE_ACCESS | GENERIC_READ | GENERIC_EXECUTE;

/// Access that writes data.
const WRITE_ACCESS: u32 =
    FILE_WRITE_DATA | FILE_APPEND_DATA | GENERIC_WRITE | GENERIC_ALL | MAXIMUM_ALLOWED;

/// Access that changes a file in any way.
const CHANGE_ACCESS: u32 = WRITE_ACCESS | DELETE | FILE_WRITE_ATTRIBUTES | FILE_WRITE_EA;

/// What is known before the file is open, and the list of ECPs where one was looked for.
pub(super) fn facts_before<'a>(data: &'a Data<'a>) -> (OpenFacts, Option<List<'a>>) {
    let flags = data.operation_flags();
    let create = data.create();
    let early = OpenFacts::NONE
        .with_if(OpenFacts::STACK_FILE_OBJECT, data.has_stack_file_object())
        .with_if(OpenFacts::PAGING_FILE, flags & SL_OPEN_PAGING_FILE != 0)
        .with_if(
            OpenFacts::TARGET_DIRECTORY,
            flags & SL_OPEN_TARGET_DIRECTORY != 0,
        )
        .with_if(
            OpenFacts::DIRECTORY,
            create.options & FILE_DIRECTORY_FILE != 0,
        )
        .with_if(OpenFacts::VOLUME, data.opens_volume());
    if route::ignored(early).is_some() {
        return (early, None);
    }
    let list = List::of(data);
    let origins = list.origins();
    let open = early
        .with_if(OpenFacts::PREFETCH, origins.prefetch)
        .with_if(OpenFacts::CSV_DOWN_LEVEL, origins.csv_down_level)
        .with_if(OpenFacts::SCANNER, port::is_scanner(data))
        .with_if(OpenFacts::NESTED, file::is_nested())
        .with(place(data))
        .with_if(OpenFacts::UNNAMED, data.name_hint() == NameHint::Unnamed);
    (open, Some(list))
}

/// Where the file is opened, as facts.
fn place(data: &Data<'_>) -> OpenFacts {
    match silo::place(data.file()) {
        Place::Host => OpenFacts::NONE,
        Place::Container => OpenFacts::CONTAINER,
        Place::Foreign => OpenFacts::CONTAINER.with(OpenFacts::FOREIGN_SILO),
    }
}

/// Whether the open may change a file, so that its stream has to be known.
pub(super) fn can_change(data: &Data<'_>) -> bool {
    let options = data.create().options;
    let disposition = options >> 24;
    data.desired_access() & CHANGE_ACCESS != 0
        || options & FILE_DELETE_ON_CLOSE != 0
        || disposition != FILE_DISPOSITION_OPEN
}

/// What is known once the file is open.
pub(super) fn facts_after(data: &Data<'_>, before: OpenFacts) -> OpenFacts {
    let status = data.status();
    let open = before
        .with_if(OpenFacts::FAILED, status < 0)
        .with_if(OpenFacts::REPARSE, status == STATUS_REPARSE);
    if open.has(OpenFacts::FAILED.with(OpenFacts::REPARSE)) {
        return open;
    }
    let access = data.desired_access();
    open.with_if(
        OpenFacts::OPLOCK_BREAK,
        status == STATUS_OPLOCK_BREAK_IN_PROGRESS,
    )
    .with_if(
        OpenFacts::DIRECTORY,
        file::is_directory(data.instance(), data.file()),
    )
    .with_if(OpenFacts::NO_DATA_ACCESS, access & DATA_ACCESS == 0)
    .with_if(OpenFacts::NOT_OPENED, data.information() != FILE_OPENED)
    .with_if(OpenFacts::TRANSACTION, data.in_transaction())
    .with_if(OpenFacts::CAN_WRITE, access & WRITE_ACCESS != 0)
}

/// The context of the opened stream: for every open that may change a file, and for every one
/// that is looked at.
pub(super) fn stream_of(
    data: &Data<'_>,
    open: OpenFacts,
    instance: &InstanceContext,
) -> Option<Owned<StreamContext>> {
    if open.has(OpenFacts::DIRECTORY.with(OpenFacts::STACK_FILE_OBJECT)) {
        return None;
    }
    if route::ignored(open).is_some() && !can_change(data) {
        return None;
    }
    let Ok(stream) = Owned::<StreamContext>::of_or_new(data.instance(), data.file()) else {
        // What is mapped through this open is not seen.
        instance.unseen.store(true, Ordering::Release);
        return None;
    };
    let may_ask = !open.has(OpenFacts::NESTED) && file::may_query();
    if may_ask {
        invalidate::learn_id(data, &stream, instance);
    }
    invalidate::first_seen(data, &stream, instance);
    if stream.state.name() == StreamName::Unknown {
        if open.has(OpenFacts::UNNAMED) {
            stream.state.set_name(true);
        } else if may_ask
            && let Some(unnamed) = Name::opened(data).ok().and_then(|n| n.is_unnamed())
        {
            stream.state.set_name(unnamed);
        }
    }
    Some(stream)
}
