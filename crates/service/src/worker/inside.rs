//! What a worker process does: makes its engine once, then scans one file after another.

use std::io;

use super::os::{Inside, View};
use super::wire::{AGAIN, Answer, KEEP, LOAD, Order, PACKED_BYTES_MAX, SCAN, Told};
use crate::engine::{EngineError, EngineKind, Scanner};
use zerocopy::IntoBytes;

/// The order was made by another version of this program.
pub(super) fn not_of_this_version() -> io::Error {
    io::Error::other(
        "the service speaks another version; install programs of one release beside each other",
    )
}

/// Serves as a worker until the service ends or lets go. For a process that the service started.
///
/// # Errors
/// Why this process cannot be a worker: it was not started by the service, or the engine cannot be
/// made.
pub fn serve(kind: &dyn EngineKind) -> Result<(), String> {
    let inside = Inside::open().map_err(|cause| {
        format!("this is for siloscand alone, which starts its workers itself: {cause}")
    })?;
    let load = load(&inside).map_err(|cause| format!("a worker cannot begin: {cause}"))?;
    let Some((order, packed)) = load else {
        return Ok(());
    };
    let mut scanner = match kind.unpack(&packed) {
        Ok(scanner) => scanner,
        Err(cause) => {
            let told = Told::Done(Err(EngineError::Failed(cause.clone())));
            // Without a service nobody needs the answer.
            let _ = inside.answer(Answer::new(order.number.get(), &told).as_bytes());
            return Err(cause);
        }
    };
    drop(packed);
    // What an engine makes at its first scan it makes now. Whatever it says of no bytes is no news.
    let _ = scanner.scan(&[], None);
    let ready = Answer::new(order.number.get(), &Told::Ready);
    let mut answered = inside.answer(ready.as_bytes());
    let mut kept: Option<View> = None;
    while answered.is_ok() {
        let (order, copy) = match inside.next() {
            Ok(Some(next)) => next,
            Ok(None) => return Ok(()),
            Err(cause) => return Err(format!("a worker got no order: {cause}")),
        };
        let told = match (order.kind.get(), copy, &kept) {
            (SCAN | KEEP, Some(copy), _) => match View::map(&copy) {
                Ok(view) => {
                    let told = scan(&order, &view, &mut *scanner);
                    kept = if order.kind.get() == KEEP {
                        Some(view)
                    } else {
                        kept
                    };
                    told
                }
                Err(cause) => unmapped(&cause.to_string()),
            },
            (AGAIN, None, Some(view)) => scan(&order, view, &mut *scanner),
            _ => return Err("a worker got an order that means nothing".to_owned()),
        };
        answered = inside.answer(Answer::new(order.number.get(), &told).as_bytes());
    }
    // The service is gone.
    Ok(())
}

/// The first order and the signatures; nothing if the service has ended.
fn load(inside: &Inside) -> io::Result<Option<(Order, Vec<u8>)>> {
    let Some((order, _)) = inside.next()? else {
        return Ok(None);
    };
    if order.kind.get() != LOAD || order.size.get() > PACKED_BYTES_MAX {
        return Err(not_of_this_version());
    }
    Inside::limit(&order)?;
    let size = usize::try_from(order.size.get()).map_err(io::Error::other)?;
    let mut packed = vec![0; size];
    inside.read(&mut packed)?;
    Ok(Some((order, packed)))
}

/// Scans one copy.
fn scan(order: &Order, view: &View, scanner: &mut (dyn Scanner + '_)) -> Told {
    let size = usize::try_from(order.size.get()).unwrap_or(usize::MAX);
    match view.bytes().get(..size) {
        Some(bytes) => Told::Done(scanner.scan(bytes, order.limit())),
        None => unmapped("it has fewer bytes than the order says"),
    }
}

fn unmapped(cause: &str) -> Told {
    let cause = format!("the copy of the file cannot be mapped: {cause}");
    Told::Done(Err(EngineError::Unavailable(cause)))
}
