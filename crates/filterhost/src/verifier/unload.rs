//! What a driver must not leave behind: pool blocks, threads that still run its code.

use std::sync::Arc;

use super::callback_data::CompletionContexts;
use super::object::{KernelHandles, Taken};
use super::violation_at;
use crate::fltmgr::{self, FilterManager};
use crate::image::{Image, Images};
use crate::kernel::etw::Tracing;
use crate::kernel::notify::Notifications;
use crate::machine::Machine;
use crate::pool::tag_text;

/// Ends the run when the driver in `image`, loaded at pool mark `since`, left anything.
pub(crate) fn check(m: &Arc<Machine>, image: &Arc<Image>, since: u64) {
    for (error, block) in m.pool().check() {
        let stack = m.state::<Images>().describe(&block.request.stack);
        let tag = tag_text(block.request.tag);
        violation_at(
            error.rule(),
            format!("{error} (tag {tag}, seen at unload)"),
            stack,
        );
    }
    check_threads(m, image);
    check_references(m, image);
    check_handles(m, image);
    check_locks(m, image);
    crate::kernel::resource::image_gone(m, image);
    check_providers(m, image);
    check_routines(m, image);
    let leaked: Vec<_> = m
        .pool()
        .in_use()
        .into_iter()
        .filter(|block| block.number > since)
        .filter(|block| {
            block
                .request
                .stack
                .iter()
                .any(|address| image.contains(*address))
        })
        .collect();
    let mut lost = Vec::new();
    for block in leaked {
        match CompletionContexts::rule_of(m, &block) {
            Some((rule, detail)) => {
                let stack = m.state::<Images>().describe(&block.request.stack);
                violation_at(rule, detail, stack);
            }
            None => lost.push(block),
        }
    }
    let leaked = lost;
    let Some(first) = leaked.first() else { return };
    let bytes: usize = leaked.iter().map(|block| block.request.size).sum();
    let stack = m.state::<Images>().describe(&first.request.stack);
    let tag = tag_text(first.request.tag);
    let detail = format!(
        "{} left {} pool blocks, {bytes} bytes; the first has tag {tag}, {} bytes, allocated at",
        image.name(),
        leaked.len(),
        first.request.size,
    );
    violation_at(&super::pool::LEAK, detail, stack);
}

fn check_threads(m: &Arc<Machine>, image: &Arc<Image>) {
    for state in m.sched().threads() {
        let start = state.thread.start_address();
        if image.contains(start) && !state.thread.is_finished() {
            let stack = m.state::<Images>().describe(&[start]);
            let name = image.name();
            let detail = format!("a system thread of {name} still runs at its unload");
            violation_at(&super::thread::LEFT, detail, stack);
        }
    }
}

fn check_references(m: &Arc<Machine>, image: &Arc<Image>) {
    for (object, code) in m.state::<Taken>().left_by(image) {
        let stack = m.state::<Images>().describe(&code);
        let name = image.name();
        if let Some(known) = m.objects().find(object) {
            let detail = format!("{name} left a reference to a {:?} object", known.kind());
            violation_at(&super::object::REFERENCE_LEAK, detail, stack);
        } else if FilterManager::of(m)
            .volume(fltmgr::opaque(object))
            .is_some()
        {
            let detail = format!("{name} left a reference to a volume");
            violation_at(&super::reference::VOLUME_LEAK, detail, stack);
        }
    }
}

fn check_handles(m: &Arc<Machine>, image: &Arc<Image>) {
    for (handle, code) in m.state::<KernelHandles>().taken.left_by(image) {
        let Ok(entry) = m.objects().entry(m, m.system_process(), handle) else {
            continue;
        };
        let stack = m.state::<Images>().describe(&code);
        let kind = entry.object.kind();
        let detail = format!("{} left a handle to a {kind:?} object open", image.name());
        violation_at(&super::object::HANDLE_LEAK, detail, stack);
    }
}

fn check_locks(m: &Arc<Machine>, image: &Arc<Image>) {
    let held = fltmgr::wait::held_in(m, image);
    if held > 0 {
        let detail = format!("{} leaves {held} push locks that are held", image.name());
        super::violation(&super::push_lock::LEFT, detail);
    }
}

fn check_routines(m: &Arc<Machine>, image: &Arc<Image>) {
    let left = m.state::<Notifications>().left_by(image);
    let Some(first) = left.first() else { return };
    let stack = m.state::<Images>().describe(first);
    let detail = format!(
        "{} left {} process-notify routines registered",
        image.name(),
        left.len()
    );
    violation_at(&super::lifetime::NOTIFY_LEFT, detail, stack);
}

fn check_providers(m: &Arc<Machine>, image: &Arc<Image>) {
    let left = m.state::<Tracing>().left_by(image);
    let Some(first) = left.first() else { return };
    let stack = m.state::<Images>().describe(first);
    let detail = format!(
        "{} left {} event providers registered",
        image.name(),
        left.len()
    );
    violation_at(&super::lifetime::PROVIDER_LEFT, detail, stack);
}
