//! The functions that the host provides to drivers: how one is declared, found and entered.
//!
//! Each file of functions holds one [`exports!`] block, which makes a table; [`all`] joins the
//! tables. A declaration names the function's limit on the interrupt request level, the build
//! that it appeared in, the page that documents it, and, where it may fail, what an injected
//! failure returns.

mod definition;
mod thunk;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use definition::definitions;
pub use thunk::{Pcr, StartRoutine, leave_start_routine, run_start_routine};
pub(crate) use thunk::{floating_point_control, set_floating_point_control};

use crate::crash;
use crate::image::Registers;
use crate::irql::Irql;
use crate::machine::{self, Machine};
use crate::record::{self, What};
use crate::sched::SimThread;
use crate::verifier::registers::Control;
use crate::verifier::{self, Rule};

/// What is known of a provided function.
#[derive(Debug)]
pub struct Info {
    /// Module that Windows exports it from, in lower case (`ntoskrnl.exe`).
    pub module: &'static str,
    /// Its name, as in an import table.
    pub name: &'static str,
    /// Build number of the first Windows that has it; 0 for all that matter.
    pub since: u32,
    /// Highest level that it may be called at.
    pub irql: Irql,
    /// The page that documents it: a full address, or a path below [`PAGES`].
    pub url: &'static str,
}

/// Where Microsoft's pages on driver functions are.
pub const PAGES: &str = "https://learn.microsoft.com/windows-hardware/drivers/ddi/";

impl Info {
    /// Full address of the page that documents the function.
    #[must_use]
    pub fn page(&self) -> String {
        if self.url.starts_with("https:") {
            return self.url.to_owned();
        }
        format!("{PAGES}{}", self.url)
    }
}

/// A provided function: what is known of it, and where it is.
#[derive(Debug)]
pub struct Export {
    /// What is known of it.
    pub info: &'static Info,
    /// Its entry.
    pub entry: Entry,
}

/// Address of a function of the Microsoft calling convention.
#[derive(Clone, Copy, Debug)]
pub struct Entry(pub *const ());

#[expect(
    unsafe_code,
    reason = "a raw code address in a static needs a promise of Sync"
)]
// SAFETY: the address of a function is constant and only ever called, never written.
unsafe impl Sync for Entry {}
#[expect(
    unsafe_code,
    reason = "a raw code address in a static needs a promise of Send"
)]
// SAFETY: the address of a function means the same on every thread.
unsafe impl Send for Entry {}

impl Entry {
    /// The address as a number.
    #[must_use]
    pub fn address(self) -> usize {
        self.0.addr()
    }
}

/// A call between driver and host that has not returned yet.
#[derive(Clone, Copy, Debug)]
pub struct CallSite {
    /// Module of the called function; `host` for a call from the host into a driver.
    pub module: &'static str,
    /// Name of the called function, or of the kind of callback.
    pub name: &'static str,
    /// Registers of the driver code that called the host; `None` for a callback.
    pub caller: Option<Registers>,
    /// Where the stack was in the host, just above the driver's frames for a callback.
    pub stack: usize,
}

/// What a provided function gets besides its arguments.
pub struct Call<'a> {
    /// The machine.
    pub m: &'a Arc<Machine>,
    /// The calling thread.
    pub thread: &'a Arc<SimThread>,
    /// The function's own declaration.
    pub info: &'static Info,
}

impl Call<'_> {
    /// Notes that this call breaks `rule`; returns only where that is switched off.
    pub fn violation(&self, rule: &'static Rule, detail: impl std::fmt::Display) {
        verifier::violation(rule, format!("{}: {detail}", self.info.name));
    }

    /// As [`Call::violation`], for what cannot be survived.
    pub fn fatal(&self, rule: &'static Rule, detail: impl std::fmt::Display) -> ! {
        verifier::fatal(rule, format!("{}: {detail}", self.info.name))
    }

    /// Ends the run for what is no rule ([`verifier::stop`]).
    pub fn stop(&self, name: &'static str, detail: impl std::fmt::Display) -> ! {
        verifier::stop(name, format!("{}: {detail}", self.info.name))
    }

    /// True when a fault was asked for at this call.
    #[must_use]
    pub fn is_to_fail(&self) -> bool {
        self.m.faults().call(self.info.name)
    }
}

/// Runs the body of a provided function on behalf of a driver.
pub fn enter<R>(info: &'static Info, body: impl FnOnce(&Call<'_>) -> R) -> R {
    let Some((m, thread)) = machine::try_current() else {
        panic!("{} was called outside of a simulated thread", info.name);
    };
    if m.is_over() {
        machine::park_forever();
    }
    let caller = Some(thread.caller());
    crash::begin_call();
    thread.push_call(CallSite {
        module: info.module,
        name: info.name,
        caller,
        stack: (&raw const caller).addr(),
    });
    let call = Call {
        m: &m,
        thread: &thread,
        info,
    };
    check_stack(&call);
    record::judge_level(&m);
    verifier::stack::check(&thread);
    let level = thread.irql();
    if level > info.irql {
        call.violation(
            &verifier::irql::CALL,
            format!("called at {level}; allowed up to {}", info.irql),
        );
    }
    m.sched().yield_point(info.name);
    record::note(What::Call(info.module, info.name, level));
    match catch_unwind(AssertUnwindSafe(|| body(&call))) {
        Ok(value) => {
            thread.pop_call();
            crash::end_call();
            record::note(What::Back);
            record::to_driver();
            value
        }
        Err(panic) => call.stop("host-panic", panic_text(&*panic)),
    }
}

/// Stack that the host keeps for itself: a fault of its own in the middle of an allocation, say,
/// would leave locks held that other machines in the process need.
const HOST_STACK: usize = 256 << 10;

/// Ends the run when the driver has left the host too little stack to work on.
fn check_stack(call: &Call<'_>) {
    let here = (&raw const *call).addr();
    let (low, high) = call.thread.stack_limits();
    if here.saturating_sub(low) < HOST_STACK {
        let used = high.saturating_sub(here);
        let detail = format!("{used} bytes of stack are in use");
        call.violation(&verifier::stack::OVERFLOW, &detail);
        call.stop("access-violation", detail);
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
}

/// Runs `call`, which calls into driver code. Every call from the host into a driver goes
/// through here: it makes faults the driver's, shows in stacks as `name`, and checks that the
/// driver comes back at the level that it was called at.
pub fn callback<R>(name: &'static str, call: impl FnOnce() -> R) -> R {
    let thread = machine::current_thread();
    let before = thread.irql();
    let locks = thread.spin_locks();
    crash::begin_call();
    thread.push_call(CallSite {
        module: "host",
        name,
        caller: None,
        stack: (&raw const locks).addr(),
    });
    record::note(What::Callback(name));
    let registers = Control::now();
    let value = record::watched(|| {
        record::to_driver();
        call()
    });
    record::note(What::Returned);
    registers.check(name);
    if thread.irql() != before {
        let now = thread.irql();
        verifier::violation(
            &verifier::irql::UNBALANCED,
            format!("{name} began at {before}, ended at {now}"),
        );
        thread.set_irql(before);
    }
    if thread.spin_locks() != locks {
        let detail = format!("{name} ended with {} spin locks held", thread.spin_locks());
        verifier::violation(&verifier::spin_lock::UNBALANCED, detail);
        thread.add_spin_locks(locks - thread.spin_locks());
    }
    thread.pop_call();
    crash::end_call();
    value
}

/// The address to give a driver for `export`.
#[must_use]
pub fn address(export: &Export) -> usize {
    thunk::address(export)
}

/// Declares provided functions.
///
/// ```ignore
/// exports! {
///     EXPORTS = "ntoskrnl.exe";
///
///     /// Sets an event.
///     [DISPATCH, 0, "https://learn.microsoft.com/…"]
///     fn KeSetEvent(c, event: *mut KEvent, increment: i32, wait: u8) -> i32 { … }
///
///     [PASSIVE, 0, "https://…", fails STATUS_INSUFFICIENT_RESOURCES]
///     fn ZwOpenKey(c, key: *mut Handle, …) -> NTSTATUS { … }
/// }
/// ```
/// In the brackets: highest level (a constant of [`crate::irql`]), first build (0 = all), page,
/// and what an injected failure returns. `c` is the [`Call`].
#[macro_export]
macro_rules! exports {
    ($table:ident = $module:literal;
     $(
        $(#[$meta:meta])*
        [$irql:ident, $since:expr, $url:literal $(, fails $fault:expr)?]
        fn $name:ident($c:ident $(, $arg:ident: $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block
     )*) => {
        /// The functions that this file provides.
        pub static $table: &[$crate::exports::Export] = &[$({
            static INFO: $crate::exports::Info = $crate::exports::Info {
                module: $module,
                name: stringify!($name),
                since: $since,
                irql: $crate::irql::$irql,
                url: $url,
            };
            $(#[$meta])*
            extern "win64" fn entry($($arg: $ty),*) $(-> $ret)? {
                $crate::exports::enter(
                    &INFO,
                    move |$c: &$crate::exports::Call<'_>| $(-> $ret)? {
                        $(if $c.is_to_fail() {
                            return $fault;
                        })?
                        $body
                    },
                )
            }
            $crate::exports::Export {
                info: &INFO,
                entry: $crate::exports::Entry(entry as *const ()),
            }
        }),*];
    };
}

/// All tables. A file of functions adds one line.
const TABLES: &[&[Export]] = &[
    crate::fltmgr::context::EXPORTS,
    crate::fltmgr::create::EXPORTS,
    crate::fltmgr::dispatch::EXPORTS,
    crate::fltmgr::dispatch::ASKED_EXPORTS,
    crate::fltmgr::ecp::EXPORTS,
    crate::fltmgr::file::EXPORTS,
    crate::fltmgr::instance::EXPORTS,
    crate::fltmgr::name::EXPORTS,
    crate::fltmgr::port::EXPORTS,
    crate::fltmgr::registration::EXPORTS,
    crate::fltmgr::section::EXPORTS,
    crate::fltmgr::transaction::EXPORTS,
    crate::fltmgr::volume::EXPORTS,
    crate::fltmgr::wait::EXPORTS,
    crate::fltmgr::work::EXPORTS,
    crate::kernel::apc::EXPORTS,
    crate::kernel::crt::EXPORTS,
    crate::kernel::debug::EXPORTS,
    crate::kernel::etw::EXPORTS,
    crate::kernel::event::EXPORTS,
    crate::kernel::file::EXPORTS,
    crate::kernel::guid::EXPORTS,
    crate::kernel::irp::EXPORTS,
    crate::kernel::handles::EXPORTS,
    crate::kernel::key::EXPORTS,
    crate::kernel::level::EXPORTS,
    crate::kernel::notify::EXPORTS,
    crate::kernel::mdl::EXPORTS,
    crate::kernel::pool::EXPORTS,
    crate::kernel::pool::flt::EXPORTS,
    crate::kernel::resource::EXPORTS,
    crate::kernel::resource::flt::EXPORTS,
    crate::kernel::rundown::EXPORTS,
    crate::kernel::silo::EXPORTS,
    crate::kernel::spinlock::EXPORTS,
    crate::kernel::string::EXPORTS,
    crate::kernel::system::EXPORTS,
    crate::kernel::thread::EXPORTS,
    crate::kernel::time::EXPORTS,
    crate::kernel::wait::EXPORTS,
];

/// Every provided function.
pub fn all() -> impl Iterator<Item = &'static Export> {
    TABLES.iter().flat_map(|table| table.iter())
}

/// The function `name` of `module` (any case) on a machine of this build.
#[must_use]
pub fn find(module: &str, name: &str, build: u32) -> Option<&'static Export> {
    all().find(|export| {
        export.info.name == name
            && export.info.module.eq_ignore_ascii_case(module)
            && export.info.since <= build
    })
}
