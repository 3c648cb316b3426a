//! What is due when, how fast it may go, and when it pauses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use siloscan_core::key::VolumeGuid;
use siloscan_service::proactive::plan::{Budget, Ended, Plan, Rates, Volume, delay, pause};

fn volume(number: u8, folders: &[&str]) -> Volume {
    Volume {
        volume: VolumeGuid::from_bytes([number; 16]),
        folders: folders.iter().map(PathBuf::from).collect(),
    }
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn everything_is_due_once_in_each_epoch_after_the_hosts_delay() {
    let volumes = [volume(1, &["a"]), volume(2, &["b"])];
    let mut plan = Plan::default();
    assert_eq!(plan.due(&volumes, at(0)), None, "no epoch yet");
    assert!(plan.note((1, 7), false, at(10), at(60)));
    assert!(!plan.note((1, 7), false, at(20), at(60)));
    assert_eq!(plan.due(&volumes, at(69)), None);
    assert_eq!(plan.due(&volumes, at(70)), Some(&volumes[0]));
    plan.ended(&volumes[0], Ended::Proved, at(80));
    assert_eq!(plan.due(&volumes, at(80)), Some(&volumes[1]));
    plan.ended(&volumes[1], Ended::Opened, at(90));
    assert_eq!(plan.due(&volumes, at(1_000_000)), None);
    assert!(plan.note((1, 8), false, at(1_000_000), at(0)));
    assert_eq!(plan.due(&volumes, at(1_000_000)), Some(&volumes[0]));
}

#[test]
fn a_new_layer_and_the_drivers_wish_make_a_volume_due_again() {
    let mut plan = Plan::default();
    plan.note((1, 1), false, at(0), at(0));
    plan.ended(&volume(1, &["a", "b"]), Ended::Proved, at(1));
    let due = |plan: &Plan, folders: &[&str]| plan.due(&[volume(1, folders)], at(2)).is_some();
    assert!(!due(&plan, &["b", "a"]));
    assert!(
        !due(&plan, &["a"]),
        "a layer that went leaves nothing to do"
    );
    assert!(due(&plan, &["a", "c"]));
    plan.note((1, 1), true, at(2), at(0));
    assert!(
        !due(&plan, &["a", "b"]),
        "what is proved has no stale verdict"
    );
    plan.note((1, 1), false, at(2), at(0));
    plan.ended(&volume(1, &["a", "b"]), Ended::Opened, at(2));
    plan.note((1, 1), true, at(2), at(0));
    assert!(due(&plan, &["a", "b"]));
    plan.ended(&volume(1, &["a", "b"]), Ended::Proved, at(3));
    assert!(
        !due(&plan, &["a", "b"]),
        "the wish stands for the epoch, and was heard"
    );
}

#[test]
fn a_driver_that_was_loaded_anew_is_told_everything_anew() {
    let mut plan = Plan::default();
    plan.note((1, 3), false, at(0), at(0));
    plan.ended(&volume(1, &["a"]), Ended::Proved, at(1));
    assert!(plan.note((2, 3), false, at(2), at(0)), "the same number");
    assert!(plan.due(&[volume(1, &["a"])], at(2)).is_some());
}

#[test]
fn what_was_proved_is_withdrawn_once_and_due_again_later() {
    let mut plan = Plan::default();
    plan.note((1, 1), false, at(0), at(0));
    let one = volume(1, &["a"]);
    plan.ended(&one, Ended::Proved, at(0));
    plan.ended(&volume(2, &["b"]), Ended::Proved, at(0));
    plan.ended(&volume(3, &["a"]), Ended::Opened, at(0));
    let has_a = |_: VolumeGuid, folders: &BTreeSet<PathBuf>| folders.contains(Path::new("a"));
    let guid = one.volume.expect("a volume");
    assert_eq!(plan.withdraw(at(10), has_a), [guid]);
    assert_eq!(plan.withdraw(at(11), has_a), []);
    let volumes = [one];
    assert_eq!(plan.due(&volumes, at(69)), None);
    assert_eq!(plan.due(&volumes, at(70)), Some(&volumes[0]));
}

#[test]
fn what_proved_nothing_is_tried_again_later_and_later() {
    let mut plan = Plan::default();
    plan.note((1, 1), false, at(0), at(0));
    let volumes = [volume(1, &["a"])];
    let mut now = at(0);
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        plan.ended(&volumes[0], Ended::Nothing, now);
        let again = now + Duration::from_mins(minutes);
        assert_eq!(plan.due(&volumes, again - at(1)), None, "{minutes}");
        assert!(plan.due(&volumes, again).is_some(), "{minutes}");
        now = again;
    }
}

const RATES: Rates = Rates {
    files_per_second: 10,
    bytes_per_second: 1_000,
    concurrency: 1,
    load_percent_max: 70,
};

#[test]
fn files_and_bytes_keep_their_rates_and_a_rest_is_not_saved_up() {
    let mut budget = Budget::default();
    let mut files = 0;
    // The clock of a busy host ticks unevenly.
    let mut now = Duration::ZERO;
    for tick in 0..1_000_u64 {
        now += Duration::from_millis(tick % 7 * 10);
        let may = budget.files(&RATES, now);
        budget.spend_files(may);
        files += u64::from(may);
    }
    let full = u64::try_from(now.as_millis()).unwrap_or(0) / 100;
    assert!((full - 10..=full).contains(&files), "{files} of {full}");
    now += at(3600);
    let may = budget.files(&RATES, now);
    assert_eq!(may, 10, "a second's worth");
    budget.spend_files(may);
    budget.spend_bytes(5_500);
    let begun = now;
    while budget.files(&RATES, now) == 0 {
        now += Duration::from_millis(100);
    }
    let waited = (now - begun).as_millis();
    // A second's worth was saved, the rest takes its time.
    assert!(
        (4_400..=4_600).contains(&waited),
        "{waited} ms for 5500 bytes"
    );
}

#[test]
fn it_pauses_for_requests_that_wait_and_for_load() {
    assert_eq!(pause(&RATES, 0, None), None);
    assert_eq!(pause(&RATES, 0, Some(70)), None);
    assert!(pause(&RATES, 0, Some(71)).is_some_and(|cause| cause.contains("71")));
    assert!(pause(&RATES, 3, Some(0)).is_some_and(|cause| cause.contains('3')));
    let any = Rates {
        load_percent_max: 100,
        ..RATES
    };
    assert_eq!(pause(&any, 0, Some(100)), None);
}

#[test]
fn hosts_begin_at_moments_of_their_own_that_stay_the_same() {
    let delays: Vec<Duration> = (0..300)
        .map(|number| delay(&format!("host-{number}"), 30))
        .collect();
    assert!(delays.iter().all(|delay| *delay < Duration::from_mins(30)));
    let minutes: BTreeSet<u64> = delays.iter().map(|delay| delay.as_secs() / 60).collect();
    assert_eq!(minutes.len(), 30, "some host begins in each minute");
    assert_eq!(delay("host-1", 30), delays[1]);
    assert_eq!(delay("host-1", 0), Duration::ZERO);
}
