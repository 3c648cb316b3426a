//! The tape of a thread's recording, and the trap flag that fills it.
//!
//! The flag is set when the host is about to run driver code ([`to_driver`]) and taken away by the
//! trap's handler at the first instruction outside of an image: so a recording holds the driver's
//! instructions and no others.
#![expect(
    unsafe_code,
    reason = "sets the processor's trap flag and reads a signal's context"
)]

use core::arch::asm;
use core::cell::{Cell, RefCell};
use core::ptr::null;

use super::dispatch::Watched;
use super::{Event, Recording, What};
use crate::image::is_in_image;
use crate::machine;

/// `TRAP_TRACE`: the trap flag's own signal, not a breakpoint's.
const TRAP_TRACE: libc::c_int = 2;
/// The trap flag in the flags register.
const TRAP_FLAG: i64 = 0x100;

thread_local! {
    static TAPE: Cell<*const Tape> = const { Cell::new(null()) };
}

/// One instruction of driver code, before it is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// Its address.
    pub rip: usize,
    /// The stack pointer.
    pub rsp: usize,
}

/// Where a thread is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// In the host, with the flag off.
    Host,
    /// In the host, on its way into the driver.
    Way,
    /// In driver code.
    Driver,
}

/// What a thread's recording holds so far.
pub(super) struct Tape {
    steps: Box<[Cell<Step>]>,
    used: Cell<usize>,
    place: Cell<Place>,
    full: Cell<bool>,
    events: RefCell<Vec<Event>>,
    watched: Option<Watched>,
}

impl Tape {
    pub fn new(room: usize) -> Self {
        Self {
            steps: vec![Cell::new(Step::default()); room].into(),
            used: Cell::new(0),
            place: Cell::new(Place::Host),
            full: Cell::new(false),
            events: RefCell::default(),
            watched: None,
        }
    }

    /// A tape that keeps nothing and looks at each instruction.
    pub fn watching(watched: Watched) -> Self {
        Self {
            watched: Some(watched),
            ..Self::new(0)
        }
    }

    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    pub fn into_recording(self) -> Recording {
        let steps = self.steps.iter().take(self.used.get());
        Recording {
            steps: steps.map(Cell::get).collect(),
            events: self.events.into_inner(),
        }
    }

    fn push(&self, step: Step) {
        if let Some(watched) = &self.watched {
            return watched.step(step.rip);
        }
        let used = self.used.get();
        match self.steps.get(used) {
            Some(place) => {
                place.set(step);
                self.used.set(used + 1);
            }
            None => self.full.set(true),
        }
    }
}

/// Makes `tape` the calling thread's while `body` runs.
pub(super) fn with<T>(tape: &Tape, body: impl FnOnce() -> T) -> T {
    /// Takes the tape away, however `body` ends.
    struct Off(*const Tape);
    impl Drop for Off {
        fn drop(&mut self) {
            TAPE.set(self.0);
        }
    }
    let outer = TAPE.get();
    let _off = Off(outer);
    if outer.is_null() {
        TAPE.set(tape);
    }
    body()
}

fn on_tape<R>(run: impl FnOnce(&Tape) -> R) -> Option<R> {
    let tape = TAPE.get();
    // SAFETY: `with` set it to a tape that outlives its body, and sets it back afterwards.
    let tape = unsafe { tape.as_ref() };
    tape.map(run)
}

/// Whether the calling thread has a tape.
pub(super) fn is_on_tape() -> bool {
    !TAPE.get().is_null()
}

/// Runs this with what the calling thread's tape watches, if it does.
pub(super) fn on_watched<R>(run: impl FnOnce(&Watched) -> R) -> Option<R> {
    on_tape(|tape| tape.watched.as_ref().map(run)).flatten()
}

/// Notes an event on the calling thread's tape, if it has one.
pub(super) fn note(what: What) {
    on_tape(|tape| {
        if tape.watched.is_some() {
            return;
        }
        let at = tape.used.get();
        tape.events.borrow_mut().push(Event { at, what });
    });
}

/// The calling thread is about to run driver code: from there on each instruction traps, where
/// instructions are recorded.
#[inline(always)]
pub(crate) fn to_driver() {
    let steps = on_tape(|tape| {
        let wanted = !tape.steps.is_empty() || tape.watched.is_some();
        if wanted {
            tape.place.set(Place::Way);
        }
        if let Some(watched) = &tape.watched {
            watched.set_level(machine::current_thread().irql());
        }
        wanted
    });
    if steps == Some(true) {
        // SAFETY: sets the trap flag, whose signal `is_ours` handles while the tape is there.
        unsafe {
            asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq");
        }
    }
}

/// Whether a signal is the trap flag's, for the calling thread's tape; then it is dealt with. Safe
/// in a signal handler: nothing is allocated, and the tape is the thread's own.
pub(crate) fn is_ours(
    signal: libc::c_int,
    info: &libc::siginfo_t,
    context: &mut libc::ucontext_t,
) -> bool {
    if signal != libc::SIGTRAP || info.si_code != TRAP_TRACE {
        return false;
    }
    let general = &mut context.uc_mcontext.gregs;
    let register = |index: i32| general[index as usize].cast_unsigned() as usize;
    let step = Step {
        rip: register(libc::REG_RIP),
        rsp: register(libc::REG_RSP),
    };
    let goes_on = on_tape(|tape| {
        if is_in_image(step.rip) {
            tape.place.set(Place::Driver);
            tape.push(step);
            return true;
        }
        if tape.place.get() == Place::Way {
            return true;
        }
        tape.place.set(Place::Host);
        false
    });
    if goes_on != Some(true) {
        general[libc::REG_EFL as usize] &= !TRAP_FLAG;
    }
    // A trap that comes when the tape is gone already is still the flag's.
    true
}
