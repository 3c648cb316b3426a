//! Names in a transaction: what is renamed or deleted there keeps its name for everybody else
//! until the transaction is committed.
//!
//! Whoever deletes a file in a transaction does not see it there from then on, be its handle open
//! or not; links and short names are not changed in transactions here.

use std::sync::Arc;

use super::MemFs;
use super::open::Open;
use super::outcome::Stop;
use super::set::{Destination, final_name, old_replace};
use crate::status::{
    NtStatus, STATUS_FILE_DELETED, STATUS_NOT_SUPPORTED, STATUS_OBJECT_NAME_COLLISION,
    STATUS_TRANSACTIONAL_CONFLICT,
};
use crate::volume::name::fold;
use crate::volume::namespace::{Namespace, Replace, Resolved};
use crate::volume::node::{LinkId, NodeId};

/// A name that is another one, or none, in a transaction.
#[derive(Debug)]
pub(super) struct NameChange {
    pub(super) transaction: usize,
    node: NodeId,
    link: LinkId,
    /// Directory and name; none where it is deleted.
    to: Option<(NodeId, Vec<u16>, Replace)>,
}

impl NameChange {
    fn leads_to(&self, parent: NodeId, name: &[u16]) -> bool {
        let to = self.to.as_ref();
        to.is_some_and(|(at, to, _)| *at == parent && fold(to) == fold(name))
    }

    /// What comes of it when the transaction is committed.
    pub(super) fn commit(self, space: &mut Namespace, now: i64) {
        // Its file may be gone: others may delete what they have open.
        let _done = match self.to {
            None => space.unlink(self.node, self.link, now),
            Some((parent, name, replace)) => {
                space.rename(self.node, self.link, parent, &name, replace, now)
            }
        };
    }
}

impl MemFs {
    /// Where a name leads in a transaction.
    pub(super) fn resolved_in(
        &self,
        space: &Namespace,
        transaction: usize,
        resolved: Resolved,
    ) -> Result<Resolved, NtStatus> {
        if transaction == 0 {
            return Ok(resolved);
        }
        let (parent, name, found) = match &resolved {
            Resolved::Missing { parent, name } => (*parent, name.clone(), None),
            Resolved::Found {
                node,
                link: Some(link),
            } => {
                let named = space.link(*node, *link)?;
                (named.parent, named.name.clone(), Some(*link))
            }
            _ => return Ok(resolved),
        };
        let all = self.transactions.lock();
        let mut own = all.names.iter().filter(|it| it.transaction == transaction);
        if let Some(moved) = own.clone().find(|it| it.leads_to(parent, &name)) {
            return Ok(Resolved::Found {
                node: moved.node,
                link: Some(moved.link),
            });
        }
        if own.any(|it| Some(it.link) == found) {
            return Ok(Resolved::Missing { parent, name });
        }
        Ok(resolved)
    }

    /// Deletes the file in the transaction, or takes that back.
    pub(super) fn dispose_in(
        &self,
        open: &Arc<Open>,
        transaction: usize,
        delete: bool,
    ) -> Result<(), Stop> {
        let space = self.space();
        if delete {
            self.check_deletable(&space, open, 0, false)?;
        }
        self.change_name(open, transaction, delete.then_some(None))
    }

    /// Gives the file another name in the transaction.
    pub(super) fn rename_in(
        &self,
        open: &Arc<Open>,
        transaction: usize,
        buffer: &[u8],
        to: &Destination,
    ) -> Result<(), Stop> {
        let space = self.space();
        let link = open.link().ok_or(STATUS_FILE_DELETED)?;
        let parent = to.parent.unwrap_or(space.link(open.node, link)?.parent);
        let (name, replace) = (final_name(buffer)?, old_replace(buffer, to));
        if space.child(parent, &name)?.is_some() && replace == Replace::No {
            return Err(STATUS_OBJECT_NAME_COLLISION.into());
        }
        self.change_name(open, transaction, Some(Some((parent, name, replace))))
    }

    /// Puts a change in place of what was before; nothing takes it back.
    fn change_name(
        &self,
        open: &Arc<Open>,
        transaction: usize,
        to: Option<Option<(NodeId, Vec<u16>, Replace)>>,
    ) -> Result<(), Stop> {
        if !open.stream.name.is_empty() {
            return Err(STATUS_NOT_SUPPORTED.into());
        }
        let link = open.link().ok_or(STATUS_FILE_DELETED)?;
        let mut all = self.transactions.lock();
        let others = |it: &NameChange| it.link == link && it.transaction != transaction;
        if all.names.iter().any(others) {
            return Err(STATUS_TRANSACTIONAL_CONFLICT.into());
        }
        all.names.retain(|it| it.link != link);
        let node = open.node;
        all.names.extend(to.map(|to| NameChange {
            transaction,
            node,
            link,
            to,
        }));
        Ok(())
    }
}
