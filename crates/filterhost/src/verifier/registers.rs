//! Registers that a callback must leave as it found them.

super::rules! {
    "Registers", "registers";

    FLOATING_POINT = "floating-point-control":
        "A callback leaves the control bits of MXCSR and of the x87 control word as they were."
        ["MxCsr",
         "https://learn.microsoft.com/previous-versions/visualstudio/visual-studio-2013/yxty7t75(v=vs.120)"]
        off: "The bits are set back.";
}

/// The control bits of a thread's floating-point units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    mxcsr: u32,
    x87: u16,
}

/// `MXCSR[0:5]` are status flags, which belong to nobody.
const MXCSR_STATUS: u32 = 0x3f;

impl Control {
    /// As they are now.
    pub(crate) fn now() -> Self {
        let (mxcsr, x87) = crate::exports::floating_point_control();
        let mxcsr = mxcsr & !MXCSR_STATUS;
        Self { mxcsr, x87 }
    }

    /// Judges what a callback left, and sets it back.
    pub(crate) fn check(self, callback: &str) {
        let after = Self::now();
        if after == self {
            return;
        }
        crate::exports::set_floating_point_control(self.mxcsr, self.x87);
        let (Self { mxcsr: old, x87 }, new) = (self, after.mxcsr);
        let detail = format!(
            "{callback} began with MXCSR {old:#06x} and x87 control {x87:#06x}, ended with \
             {new:#06x} and {:#06x}",
            after.x87
        );
        super::violation(&FLOATING_POINT, detail);
    }
}
