//! What a filter must have given back when it unregisters.
//!
//! On Windows `FltUnregisterFilter` waits for these, for ever if need be, and Filter Verifier
//! breaks in. Here the wait has an end, so that another thread may still release what it holds,
//! and then the run fails with the name of what is left.

use std::sync::Arc;
use std::time::Duration;

use crate::fltmgr::filter::Filter;
use crate::fltmgr::{FilterManager, Leak, Opaque, context, ecp, name, section, work};
use crate::image::Images;
use crate::kernel::irp;
use crate::machine::Machine;
use crate::verifier::{self, Rule};

/// How long unregistering waits for what other threads still hold.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until nothing is left, or fails the run with the rule that names it.
pub(super) fn check(m: &Arc<Machine>, filter: &Arc<Filter>) {
    let deadline = m.sched().now().after(PATIENCE);
    let clean = || (left(m, filter).is_none() && references(m, filter).is_none()).then_some(());
    if m.sched()
        .wait_until("FltUnregisterFilter", Some(deadline), clean)
        .is_ok()
    {
        return;
    }
    if let Some((rule, leaks)) = left(m, filter) {
        let what: Vec<&str> = leaks.iter().map(|leak| leak.what.as_str()).collect();
        let detail = format!(
            "filter {} unregisters and leaves {}",
            filter.name(),
            what.join("; ")
        );
        let stack = leaks
            .first()
            .map(|leak| leak.origin.stack.clone())
            .unwrap_or_default();
        verifier::violation_at(rule, detail, m.state::<Images>().describe(&stack));
    }
    if let Some((rule, what)) = references(m, filter) {
        let detail = format!("filter {} unregisters and leaves {what}", filter.name());
        verifier::violation(rule, detail);
    }
}

/// The first kind of thing that is left: its rule, and all of that kind.
fn left(m: &Arc<Machine>, filter: &Arc<Filter>) -> Option<(&'static Rule, Vec<Leak>)> {
    // Sections before contexts: a section that was not closed keeps its context too.
    let kinds = [
        (&verifier::section::LEAK, section::open(m, filter)),
        (&verifier::context::LEAK, context::alive(m, filter)),
        (&verifier::name::LEAK, name::alive(m, filter)),
        (&verifier::work_item::LEAK, work::outstanding(m, filter)),
        (&verifier::ecp::LEAK, ecp::leaks(m, filter)),
        (&verifier::irp::LEAK, irp::unsent(m)),
    ];
    kinds
        .into_iter()
        .find(|(rule, leaks)| m.judges(rule) && !leaks.is_empty())
}

/// Rundown references on the filter and its instances.
fn references(m: &Machine, filter: &Filter) -> Option<(&'static Rule, String)> {
    use verifier::reference::{FILTER_LEAK, INSTANCE_LEAK};
    let own = filter.life.lock().references;
    if own > 0 && m.judges(&FILTER_LEAK) {
        return Some((&FILTER_LEAK, format!("{own} references to the filter")));
    }
    if !m.judges(&INSTANCE_LEAK) {
        return None;
    }
    let manager = FilterManager::of(m);
    let state = manager.state.lock();
    state.live.values().find_map(|object| match object {
        Opaque::Instance(instance) if instance.filter().id() == filter.id() => {
            let references = instance.life.lock().references;
            let altitude = instance.altitude();
            let what = format!("{references} references to the instance at {altitude}");
            (references > 0).then_some((&INSTANCE_LEAK, what))
        }
        _ => None,
    })
}
