//! Files in a transaction (TxF): what is written there is seen in the transaction alone until it is
//! committed, and is gone when it is rolled back.
//!
//! Bytes and sizes of files, new files, and names (`names_in.rs`). A reader in a transaction keeps
//! what was committed when it opened the file. Whether a file has one `FsContext` for a
//! transaction's view and for everybody else is not documented: a volume does either, as its
//! serial number has it.
//! <https://learn.microsoft.com/windows/win32/fileio/txf-basic-concepts>

use std::collections::BTreeSet;
use std::sync::Arc;

use super::MemFs;
use super::create::CreateParams;
use super::names_in::NameChange;
use super::open::Open;
use super::outcome::Stop;
use crate::layout::FILE_DELETE_ON_CLOSE;
use crate::status::{
    NtStatus, STATUS_NOT_SUPPORTED, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SHARING_VIOLATION,
    STATUS_TRANSACTION_NOT_ACTIVE, STATUS_TRANSACTIONAL_CONFLICT,
};
use crate::volume::bytes::Bytes;
use crate::volume::namespace::Namespace;
use crate::volume::node::{LinkId, Node, NodeId};
use crate::volume::share::{APPEND_DATA, WRITE_DATA};
use crate::volume::stream::Stream;

/// What transactions have changed on a volume and not committed.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    views: Vec<View>,
    made: Vec<(usize, NodeId, LinkId)>,
    ended: BTreeSet<usize>,
    pub(super) names: Vec<NameChange>,
}

/// A stream as one transaction sees it.
#[derive(Debug)]
struct View {
    transaction: usize,
    base: Arc<Stream>,
    stream: Arc<Stream>,
}

/// A file that another transaction has made is not there.
///
/// # Errors
/// `OBJECT_NAME_NOT_FOUND`, or `TRANSACTIONAL_CONFLICT` for who would make it.
pub(super) fn check_there(
    node: &Node,
    transaction: usize,
    would_make: bool,
) -> Result<(), NtStatus> {
    match node.made_in {
        Some(other) if other != transaction && would_make => Err(STATUS_TRANSACTIONAL_CONFLICT),
        Some(other) if other != transaction => Err(STATUS_OBJECT_NAME_NOT_FOUND),
        _ => Ok(()),
    }
}

impl MemFs {
    /// The stream that an open of `base` sees: in a transaction that writes, a view of its own.
    pub(super) fn seen_in(
        &self,
        space: &mut Namespace,
        params: &CreateParams,
        base: Arc<Stream>,
        access: u32,
        fresh: bool,
    ) -> Result<Arc<Stream>, Stop> {
        let own = params.transaction;
        let writes = access & (WRITE_DATA | APPEND_DATA) != 0 || params.overwrites();
        let mut all = self.transactions.lock();
        let view = all.views.iter().find(|view| Arc::ptr_eq(&view.base, &base));
        if own == 0 {
            // Even if it is shared for writing.
            return match view {
                Some(_) if writes => Err(STATUS_SHARING_VIOLATION.into()),
                _ => Ok(base),
            };
        }
        self.check_possible(&all, space.node(base.node)?, params, &base, fresh)?;
        let node = space.node_mut(base.node)?;
        if fresh {
            node.made_in = Some(own);
            let link = node.links.keys().next().copied();
            all.made.extend(link.map(|link| (own, base.node, link)));
            return Ok(base);
        }
        if node.made_in == Some(own) {
            return Ok(base);
        }
        match view {
            Some(view) if view.transaction == own => return Ok(Arc::clone(&view.stream)),
            Some(_) if writes => return Err(STATUS_TRANSACTIONAL_CONFLICT.into()),
            _ if !writes => return Ok(self.view_of(&base)?),
            _ => {}
        }
        if base.scb().share.has_writers() {
            return Err(STATUS_SHARING_VIOLATION.into());
        }
        let stream = self.view_of(&base)?;
        all.views.push(View {
            transaction: own,
            base,
            stream: Arc::clone(&stream),
        });
        Ok(stream)
    }

    /// What can be opened in a transaction here.
    fn check_possible(
        &self,
        all: &Transactions,
        node: &Node,
        params: &CreateParams,
        base: &Stream,
        fresh: bool,
    ) -> Result<(), NtStatus> {
        if all.ended.contains(&params.transaction) {
            return Err(STATUS_TRANSACTION_NOT_ACTIVE);
        }
        let new_stream = fresh && !base.name.is_empty();
        let deletes = params.options & FILE_DELETE_ON_CLOSE != 0;
        if !self.kind.transactions() || new_stream || deletes || node.is_directory() {
            return Err(STATUS_NOT_SUPPORTED);
        }
        Ok(())
    }

    fn view_of(&self, base: &Arc<Stream>) -> Result<Arc<Stream>, NtStatus> {
        let bytes = Bytes::default();
        bytes.write(0, &base.bytes.view_snapshot()?)?;
        let one_context = self.serial() & 2 != 0;
        Ok(Stream::view(base, bytes, one_context))
    }

    /// Is the transaction of this open, if it has one, still under way?
    ///
    /// # Errors
    /// `TRANSACTION_NOT_ACTIVE`.
    pub(super) fn check_active(&self, open: &Open) -> Result<(), NtStatus> {
        let own = open.state().transaction;
        if own != 0 && self.transactions.lock().ended.contains(&own) {
            return Err(STATUS_TRANSACTION_NOT_ACTIVE);
        }
        Ok(())
    }

    /// The transaction is committed: everybody sees what it wrote. Or it is rolled back, and nobody
    /// will.
    pub(crate) fn end_transaction(&self, transaction: usize, commit: bool, now: i64) {
        let mut space = self.space();
        let mut all = self.transactions.lock();
        all.ended.insert(transaction);
        let views = core::mem::take(&mut all.views);
        for view in views {
            if view.transaction != transaction {
                all.views.push(view);
            } else if commit && publish(&view).is_ok() {
                space.written(view.base.node, now);
            }
        }
        for change in core::mem::take(&mut all.names) {
            if change.transaction != transaction {
                all.names.push(change);
            } else if commit {
                change.commit(&mut space, now);
            }
        }
        for (of, node, link) in core::mem::take(&mut all.made) {
            if of != transaction {
                all.made.push((of, node, link));
            } else if !commit {
                // Its open may have failed after it was made: then it is gone already.
                let _gone = space.unlink(node, link, now);
            } else if let Ok(node) = space.node_mut(node) {
                node.made_in = None;
            }
        }
    }
}

/// The bytes of a view become those of the file.
fn publish(view: &View) -> Result<(), NtStatus> {
    let bytes = view.stream.bytes.snapshot()?;
    view.base.bytes.drop_source();
    // In this order nobody reads a file that is neither the one nor the other, but for its end.
    view.base.bytes.write(0, &bytes)?;
    view.base.bytes.set_length(bytes.len() as u64)
}
