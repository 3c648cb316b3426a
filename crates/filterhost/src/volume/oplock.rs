//! Opportunistic locks, as far as an open can notice them.
//!
//! A holder is told to give way by having its break event noticed; until it acknowledges (or
//! closes), other opens wait, or return OPLOCK_BREAK_IN_PROGRESS if they asked for that.

/// What kind of caching the holder was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OplockKind {
    /// Batch or read-write-handle: broken by every other open.
    Batch,
    /// Read-handle: broken by an open that cannot share, and by writes.
    ReadHandle,
}

/// The oplock of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oplock {
    holder: Option<(usize, OplockKind)>,
    breaking: bool,
}

impl Oplock {
    /// Grants the oplock to a file object, if nobody has one.
    #[must_use]
    pub fn grant(&mut self, file: usize, kind: OplockKind) -> bool {
        if self.holder.is_some() {
            return false;
        }
        *self = Self {
            holder: Some((file, kind)),
            breaking: false,
        };
        true
    }

    /// An open by somebody else: begins a break if the kind asks for it. True if one is going on.
    pub fn break_for(&mut self, sharing_violation: bool) -> bool {
        match self.holder {
            Some((_, OplockKind::Batch)) => self.breaking = true,
            Some((_, OplockKind::ReadHandle)) if sharing_violation => self.breaking = true,
            _ => {}
        }
        self.breaking
    }

    /// A directory above is renamed: whoever caches a handle is asked to give way. True if a break
    /// is going on.
    /// <https://learn.microsoft.com/windows-hardware/drivers/ifs/irp-mj-set-information2>
    pub fn break_for_rename_above(&mut self) -> bool {
        self.breaking = self.holder.is_some();
        self.breaking
    }

    /// The holder acknowledges a break, or lets go by itself. True if it was the holder.
    pub fn release(&mut self, file: usize) -> bool {
        let held = matches!(self.holder, Some((holder, _)) if holder == file);
        if held {
            *self = Self::default();
        }
        held
    }

    /// The holder has been asked to give way.
    #[must_use]
    pub fn is_breaking(&self) -> bool {
        self.breaking
    }

    /// Somebody holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.holder.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_oplock_breaks_for_every_open_and_a_read_handle_one_for_conflicts() {
        let mut oplock = Oplock::default();
        assert!(!oplock.break_for(true));
        assert!(oplock.grant(1, OplockKind::Batch) && !oplock.grant(2, OplockKind::Batch));
        assert!(oplock.break_for(false) && oplock.is_breaking());
        assert!(!oplock.release(2) && oplock.release(1) && !oplock.is_held());
        assert!(oplock.grant(2, OplockKind::ReadHandle));
        assert!(!oplock.break_for(false) && oplock.break_for(true));
        assert!(oplock.release(2) && !oplock.break_for_rename_above());
        assert!(oplock.grant(3, OplockKind::ReadHandle) && oplock.break_for_rename_above());
        assert!(oplock.is_breaking());
    }
}
