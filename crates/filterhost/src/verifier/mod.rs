//! What is judged: one file for each family of rules. And what ends a run otherwise.
//!
//! A rule is a value ([`Rule`]) in its family's file, with its demand and Microsoft's page. Each
//! can be switched off by its name ([`crate::MachineBuilder::without_rules`]); the run then goes
//! on as Windows would without a verifier, or, where nothing sensible can follow, ends with a
//! crash that is no rule's report. `docs/verifier.md` lists them all.

pub mod callback_data;
pub mod context;
pub mod draining;
pub mod ecp;
pub mod irp;
pub mod irql;
pub mod lifetime;
pub mod lock_order;
pub mod name;
pub mod object;
pub mod own_io;
pub mod paging;
pub mod pool;
pub mod port;
pub mod post_operation;
pub mod pre_operation;
pub mod push_lock;
pub mod reference;
pub mod region;
pub mod registers;
pub mod registry;
mod report;
pub mod resource;
mod rule;
pub mod section;
pub mod special_pool;
pub mod spin_lock;
pub mod stack;
pub mod sync;
pub mod thread;
pub mod transaction;
pub(crate) mod unload;
pub mod wait;
pub mod work_item;

use rule::rules;

pub use report::{Frame, Report, ThreadState};
pub use rule::{Family, Rule};

use crate::machine::{self, Machine};

/// All families, in the order of the documentation.
pub static FAMILIES: &[&Family] = &[
    &irql::FAMILY,
    &wait::FAMILY,
    &spin_lock::FAMILY,
    &push_lock::FAMILY,
    &resource::FAMILY,
    &lock_order::FAMILY,
    &region::FAMILY,
    &sync::FAMILY,
    &pool::FAMILY,
    &special_pool::FAMILY,
    &paging::FAMILY,
    &stack::FAMILY,
    &registers::FAMILY,
    &thread::FAMILY,
    &object::FAMILY,
    &pre_operation::FAMILY,
    &post_operation::FAMILY,
    &draining::FAMILY,
    &callback_data::FAMILY,
    &context::FAMILY,
    &ecp::FAMILY,
    &name::FAMILY,
    &reference::FAMILY,
    &section::FAMILY,
    &transaction::FAMILY,
    &port::FAMILY,
    &work_item::FAMILY,
    &own_io::FAMILY,
    &irp::FAMILY,
    &registry::FAMILY,
    &lifetime::FAMILY,
];

/// Every rule.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    FAMILIES
        .iter()
        .flat_map(|family| family.rules.iter().copied())
}

/// The rule of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.name == name)
}

/// Notes that the driver broke `rule`: ends the run with a report about the calling thread,
/// which parks for ever. Returns only where the rule is switched off.
///
/// `detail` says what was done and what is right.
pub fn violation(rule: &'static Rule, detail: impl Into<String>) {
    let m = machine::current();
    if m.judges(rule) {
        end(&m, rule.name, detail.into(), None)
    }
}

/// As [`violation`], but tells `stack` (where a leaked block was allocated, say) instead of
/// where the calling thread is.
pub fn violation_at(rule: &'static Rule, detail: impl Into<String>, stack: Vec<Frame>) {
    let m = machine::current();
    if m.judges(rule) {
        end(&m, rule.name, detail.into(), Some(stack))
    }
}

/// As [`violation`], for what cannot be survived: with the rule switched off the run ends with
/// `crash`, as the machine would.
pub fn fatal(rule: &'static Rule, detail: impl Into<String>) -> ! {
    let detail = detail.into();
    violation(rule, detail.clone());
    stop("crash", detail)
}

/// Ends the run for what is no rule: a crash that every machine has (`access-violation`,
/// `bug-check`), or trouble of the host's own (`host-…`, `unsupported`).
pub fn stop(name: &'static str, detail: impl Into<String>) -> ! {
    end(&machine::current(), name, detail.into(), None)
}

fn end(m: &Machine, name: &'static str, detail: String, stack: Option<Vec<Frame>>) -> ! {
    // Telling where the thread is reads the image, whose pageable sections may be out.
    m.paging().set(false);
    let thread = machine::current_thread();
    let report = Report::violation(m, &thread, name, detail);
    m.fail(match stack {
        Some(stack) => report.with_stack(stack),
        None => report,
    });
    machine::park_forever()
}
