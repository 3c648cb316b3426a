//! Drivers that crash end the run with their function and their line; good ones end well.
//! Those that break a rule are in `wrong/`.
#![cfg(feature = "clang")]

mod support;

use filterhost::kernel::format::Messages;
use filterhost::{LoadError, LoadOptions, Machine, Mode, Report};

/// Loads and unloads `crashes.c` built for this case.
fn run_on(case: u32, machine: filterhost::MachineBuilder) -> Result<Result<(), LoadError>, Report> {
    let image = support::driver("crashes", &[&format!("-DCASE={case}")]);
    let options = LoadOptions::new(image, "crashes");
    let outcome = machine.run(move |m| {
        let driver = m.load_driver(&options)?;
        driver.unload().expect("the driver lets itself be unloaded");
        let said = m.state::<Messages>().all();
        assert_eq!(
            said.last().map(String::as_str),
            Some(r"unload of \FileSystem\crashes")
        );
        Ok(())
    })?;
    Ok(outcome.value)
}

fn run(case: u32) -> Result<Result<(), LoadError>, Report> {
    run_on(case, Machine::builder().scheduler(Mode::Seeded(1)))
}

fn report(case: u32) -> Report {
    match run(case) {
        Err(report) => report,
        Ok(result) => panic!("case {case} was not noticed: {result:?}"),
    }
}

#[track_caller]
fn expect(case: u32, rule: &str, text: &str) {
    let report = report(case);
    assert_eq!(report.rule(), rule, "{report}");
    assert!(report.to_string().contains(text), "{report}");
    let entry = report.stack().iter().any(|frame| {
        frame.function.as_deref() == Some("DriverEntry")
            && frame
                .line
                .as_ref()
                .is_some_and(|(file, _)| file.ends_with("crashes.c"))
    });
    assert!(
        entry,
        "the stack does not name DriverEntry and its file:\n{report}"
    );
}

#[test]
fn a_good_driver_loads_and_unloads() {
    for mode in [Mode::Free, Mode::Seeded(0), Mode::Seeded(9)] {
        run_on(19, Machine::builder().scheduler(mode))
            .expect("no report")
            .expect("it loads");
    }
}

#[test]
fn a_system_thread_ends_itself_and_is_waited_for() {
    for seed in 0..20 {
        let machine = Machine::builder().scheduler(Mode::Seeded(seed));
        run_on(21, machine)
            .expect("no report")
            .expect("the thread did its work");
    }
    for _ in 0..20 {
        run_on(21, Machine::builder())
            .expect("no report")
            .expect("the thread did its work");
    }
}

#[test]
fn an_access_violation_names_function_file_and_line() {
    let report = report(1);
    assert_eq!(report.rule(), "access-violation", "{report}");
    assert!(report.detail().contains("read address 0x10"), "{report}");
    let names: Vec<_> = report
        .stack()
        .iter()
        .map(|frame| frame.function.clone().unwrap_or_default())
        .collect();
    assert_eq!(
        names,
        ["Inner", "Outer", "DriverEntry", "DriverEntry"],
        "{report}"
    );
    let source = include_str!("drivers/crashes.c");
    let line = source
        .lines()
        .position(|line| line.contains("LINE: read"))
        .expect("the line")
        + 1;
    let top = report
        .stack()
        .first()
        .and_then(|frame| frame.line.clone())
        .expect("a line");
    assert!(top.0.ends_with("crashes.c"), "{report}");
    assert_eq!(top.1 as usize, line, "{report}");
}

#[test]
fn a_call_to_a_bad_address_names_the_caller() {
    expect(2, "access-violation", "the driver called address 0x10");
}

#[test]
fn a_wait_that_nobody_ends_is_a_deadlock() {
    let report = report(7);
    assert_eq!(report.rule(), "deadlock", "{report}");
    assert!(
        report.to_string().contains("KeWaitForSingleObject"),
        "{report}"
    );
}

#[test]
fn a_bad_address_given_to_the_host_is_the_drivers_fault() {
    expect(13, "access-violation", "KeSetEvent was given an address");
}

#[test]
fn a_bug_check_ends_the_run() {
    expect(15, "bug-check", "0x0000dead (0x1, 0x2, 0x3, 0x4)");
}

#[test]
fn a_failing_entry_is_an_error_not_a_report() {
    let error = run(16).expect("no report").expect_err("DriverEntry fails");
    assert_eq!(
        error.to_string(),
        "DriverEntry of crashes.sys returned STATUS_UNSUCCESSFUL"
    );
}

#[test]
fn a_write_to_read_only_data_is_seen() {
    expect(18, "access-violation", "the driver wrote to");
}
