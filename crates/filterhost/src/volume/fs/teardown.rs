//! IRP_MJ_CLEANUP and IRP_MJ_CLOSE: the end of an open, and of what it had marked for deletion.

use std::sync::Arc;

use super::MemFs;
use super::open::{Open, OpenKind};
use super::outcome::Stop;
use crate::volume::namespace::Namespace;
use crate::volume::node::LinkId;

impl MemFs {
    /// The last handle is closed. Sharing, locks and oplock end; what was marked is deleted.
    ///
    /// # Errors
    /// Only [`Stop::Conflict`]: a section for a data scan is to give way before the file goes.
    pub(super) fn cleanup(&self, open: &Arc<Open>, file: usize, now: i64) -> Result<(), Stop> {
        let mut space = self.space();
        if open.state().cleaned {
            return Ok(());
        }
        if self.will_delete(&space, open) && self.needs_notice(&open.stream) {
            return Err(Stop::Conflict(Arc::clone(&open.stream)));
        }
        open.state().cleaned = true;
        {
            let mut scb = open.stream.scb();
            scb.share.remove(open.sharing);
            scb.locks.unlock_file(file);
            scb.oplock.release(file);
            scb.handles = scb.handles.saturating_sub(1);
        }
        if open.kind == OpenKind::Volume {
            return Ok(());
        }
        self.apply_delete_on_close(&mut space, open);
        let Some(link) = open.link() else {
            return Ok(());
        };
        if let Ok(found) = space.link_mut(open.node, link) {
            found.handles = found.handles.saturating_sub(1);
        }
        self.delete_marked(&mut space, open, link, now);
        Ok(())
    }

    /// True if this cleanup takes the file's bytes away.
    fn will_delete(&self, space: &Namespace, open: &Arc<Open>) -> bool {
        let state = open.state();
        let Some(link) = state.link.and_then(|link| space.link(open.node, link).ok()) else {
            return false;
        };
        let last = link.handles <= 1 || state.posix_delete;
        last && (link.delete_pending || state.delete_on_close)
    }

    fn apply_delete_on_close(&self, space: &mut Namespace, open: &Arc<Open>) {
        if !open.state().delete_on_close {
            return;
        }
        if !open.stream.name.is_empty() {
            open.stream.scb().delete_pending = true;
            return;
        }
        let allowed = self.check_deletable(space, open, 0, false).is_ok();
        let Some(link) = open.link().filter(|_| allowed) else {
            return;
        };
        if let Ok(link) = space.link_mut(open.node, link) {
            link.delete_pending = true;
        }
    }

    fn delete_marked(&self, space: &mut Namespace, open: &Arc<Open>, link: LinkId, now: i64) {
        let (stream_goes, handles) = {
            let scb = open.stream.scb();
            (
                scb.delete_pending && !open.stream.name.is_empty(),
                scb.handles,
            )
        };
        if stream_goes
            && handles == 0
            && let Ok(node) = space.node_mut(open.node)
        {
            node.named
                .retain(|_, stream| !Arc::ptr_eq(stream, &open.stream));
        }
        let Ok(found) = space.link(open.node, link) else {
            return;
        };
        let posix = open.state().posix_delete;
        if found.delete_pending && (found.handles == 0 || posix) {
            // The link was found a moment ago under the same lock.
            let _gone = space.unlink(open.node, link, now);
        }
    }

    /// The last reference is gone. Gives the address of the stream control block if this was the
    /// stream's last open.
    pub(super) fn close(&self, open: &Arc<Open>) -> Option<usize> {
        let mut space = self.space();
        let gone = {
            let mut scb = open.stream.scb();
            scb.opens = scb.opens.saturating_sub(1);
            if scb.opens == 0 {
                open.stream.hide_block(&mut scb)
            } else {
                None
            }
        };
        space.release(open.node);
        gone
    }
}
