//! Raising and lowering the interrupt request level.

use crate::exports;
use crate::exports::Call;
use crate::irql::{self, Irql};
use crate::verifier;

fn raise(c: &Call<'_>, to: Irql) -> u8 {
    let now = c.thread.irql();
    if to < now {
        c.violation(
            &verifier::irql::RAISE,
            format!("raises from {now} to {to}, which is lower"),
        );
    }
    c.thread.set_irql(to).0
}

exports! {
    EXPORTS = "ntoskrnl.exe";

    /// The level of the caller.
    [ANY, 0, "wdm/nf-wdm-kegetcurrentirql"]
    fn KeGetCurrentIrql(c) -> u8 {
        c.thread.irql().0
    }

    /// Raises the level; gives the old one.
    [ANY, 0, "wdm/nf-wdm-keraiseirql"]
    fn KfRaiseIrql(c, level: u8) -> u8 {
        raise(c, Irql(level))
    }

    /// Raises the level to `DISPATCH_LEVEL`; gives the old one.
    [DISPATCH, 0, "wdm/nf-wdm-keraiseirqltodpclevel"]
    fn KeRaiseIrqlToDpcLevel(c) -> u8 {
        raise(c, irql::DISPATCH)
    }

    /// Lowers the level to one that an earlier raise gave.
    [ANY, 0, "wdm/nf-wdm-kelowerirql"]
    fn KeLowerIrql(c, level: u8) {
        let (now, to) = (c.thread.irql(), Irql(level));
        if to > now {
            let detail = format!("lowers from {now} to {to}, which is higher");
            c.violation(&verifier::irql::LOWER, detail);
        }
        let held = c.thread.spin_locks();
        if to < irql::DISPATCH && held > 0 {
            let detail = format!("lowers to {to} with {held} spin locks held");
            c.violation(&verifier::spin_lock::LOWERED, detail);
        }
        c.thread.set_irql(to);
    }
}
