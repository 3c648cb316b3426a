//! Minifilters that break a rule of the Filter Manager end the run with that rule's name.
//!
//! What Filter Verifier checks:
//! <https://learn.microsoft.com/windows-hardware/drivers/devtest/file-system-filter-verification>
#![cfg(feature = "clang")]

mod lifecycle_world;
mod support;

use filterhost::{Machine, Mode, Report};
use lifecycle_world::{Case, World};

/// Opens the file and unloads; the run must end with this rule.
#[track_caller]
fn breaks(case: Case, rule: &str) -> Report {
    let report = Machine::builder()
        .scheduler(Mode::Seeded(3))
        .run(move |m| {
            let world = World::new(m, case, "370123");
            let _opened = world.open();
            world.finish();
        })
        .map(|_| ())
        .expect_err("the rule is broken");
    assert_eq!(report.rule(), rule, "{report}");
    report
}

#[test]
fn leaks_are_named_when_the_filter_unregisters() {
    let report = breaks(Case::LeakContext, "context-leak");
    assert!(report.detail().contains("stream context"), "{report}");
    assert!(report.to_string().contains("lifecycle.c"), "{report}");
    breaks(Case::LeakName, "name-leak");
    breaks(Case::EcpLeak, "ecp-leak");
    breaks(Case::LeakReference, "reference-leak");
    breaks(Case::PortLeftOpen, "port-not-closed");
}

#[test]
fn callback_statuses_that_make_no_sense_end_the_run() {
    breaks(Case::UnknownStatus, "callback-status");
    breaks(Case::ContextWithoutPost, "callback-status");
    breaks(Case::ChangeWithoutDirty, "callback-status");
    breaks(Case::FailWithoutCancel, "callback-status");
    breaks(Case::CancelAndSucceed, "callback-status");
    breaks(Case::CompletePending, "callback-status");
    breaks(Case::Unbalanced, "callback-unbalanced");
}

#[test]
fn misused_objects_end_the_run() {
    breaks(Case::ContextInPreCreate, "context-in-pre-create");
    breaks(Case::EcpFreeAttached, "ecp-free-attached");
    breaks(Case::CancelInPre, "cancel-file-open");
    breaks(Case::FreeContextTwice, "context-pointer");
    breaks(Case::UnloadWithoutUnregister, "unload-still-registered");
}
