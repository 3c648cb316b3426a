//! What a stream context remembers, and when a close looks at the bytes (W4).

use siloscan_core::change::ChangeCounter;
use siloscan_core::key::FileId;
use siloscan_core::stream::{InstanceState, OwnId, StreamId, StreamIds, StreamName, StreamState};

fn stream() -> StreamState {
    StreamState::new(StreamId::new(1).unwrap())
}

#[test]
fn w4_no_mark_is_given_or_holds_while_a_change_is_under_way() {
    let counter = ChangeCounter::new();
    let mark = counter.mark().unwrap();
    counter.begin();
    assert_eq!(counter.mark(), None);
    assert!(
        !counter.holds(mark),
        "dead from the beginning of the change"
    );
    counter.begin();
    counter.end();
    assert_eq!(
        counter.mark(),
        None,
        "one of two changes is still under way"
    );
    counter.end();
    let mark = counter.mark().unwrap();
    assert!(counter.holds(mark));
    counter.begin();
    counter.end();
    assert!(!counter.holds(mark), "a change came and went");
}

#[test]
fn a_close_looks_at_what_changed_since_the_last_verdict() {
    let stream = stream();
    assert!(!stream.wants_close_scan(), "nothing was changed");
    stream.changes().begin();
    assert!(
        stream.wants_close_scan(),
        "from the beginning of the change"
    );
    stream.changes().end();
    assert!(stream.wants_close_scan());
    let mark = stream.changes().mark().unwrap();
    stream.note_verdict(mark);
    assert!(!stream.wants_close_scan(), "the verdict is of these bytes");
    stream.changes().begin();
    stream.changes().end();
    stream.note_verdict(mark);
    assert!(stream.wants_close_scan(), "the verdict is of older bytes");
}

#[test]
fn w4_a_verdict_of_a_scan_that_a_change_overlapped_settles_nothing() {
    let stream = stream();
    let mark = stream.changes().mark().unwrap();
    stream.changes().begin();
    stream.note_verdict(mark);
    stream.changes().end();
    assert!(stream.wants_close_scan());
}

#[test]
fn a_close_looks_at_what_was_let_through_unscanned() {
    let stream = stream();
    stream.note_unscanned();
    assert!(stream.wants_close_scan());
    stream.note_verdict(stream.changes().mark().unwrap());
    assert!(!stream.wants_close_scan());
    stream.note_unscanned();
    assert!(
        !stream.wants_close_scan(),
        "the verdict is of the bytes that were let through"
    );
}

#[test]
fn an_id_is_kept_once_and_none_is_an_answer() {
    let stream = stream();
    assert_eq!(stream.own_id(), OwnId::Unknown);
    stream.set_own_id(None);
    assert_eq!(stream.own_id(), OwnId::None);
    let id = FileId::from_words(4, 5).unwrap();
    stream.set_own_id(Some(id));
    assert_eq!(stream.own_id(), OwnId::Known(id));
    stream.set_own_id(FileId::from_words(6, 7));
    assert_eq!(stream.own_id(), OwnId::Known(id));
    stream.set_own_id(None);
    assert_eq!(stream.own_id(), OwnId::Known(id));
}

#[test]
fn a_named_stream_is_never_taken_for_the_unnamed_one() {
    let stream = stream();
    assert_eq!(stream.name(), StreamName::Unknown);
    stream.set_name(true);
    assert_eq!(stream.name(), StreamName::Unnamed);
    stream.set_name(false);
    assert_eq!(
        stream.name(),
        StreamName::Named,
        "of two answers the careful one stands"
    );
}

#[test]
fn a_paging_write_counts_only_where_somebody_can_have_written_through_a_mapping() {
    let stream = stream();
    assert!(stream.paging_write_counts(), "younger than its first open");
    assert!(!stream.note_open());
    assert!(!stream.paging_write_counts());
    assert!(stream.note_open());
    stream.set_writable_section();
    assert!(stream.writable_section() && stream.paging_write_counts());
}

#[test]
fn a_paging_write_counts_for_good_where_a_mapping_may_be_older_than_the_context() {
    let stream = stream();
    stream.note_mapped_before();
    assert!(!stream.was_opened());
    stream.note_open();
    assert!(stream.was_opened() && stream.paging_write_counts());
    assert!(!stream.writable_section(), "nobody is known to have one");
}

#[test]
fn an_instance_becomes_redirecting_once_and_for_good() {
    let instance = InstanceState::new();
    assert!(!instance.redirecting());
    assert!(instance.set_redirecting());
    assert!(!instance.set_redirecting());
    assert!(instance.redirecting());
}

#[test]
fn stream_numbers_are_never_zero_and_never_used_twice() {
    let ids = StreamIds::new();
    let all: std::collections::HashSet<u64> = (0..1_000).map(|_| ids.next().get()).collect();
    assert_eq!(all.len(), 1_000);
    assert!(!all.contains(&0));
    assert_eq!(StreamId::new(0), None);
}

#[test]
fn an_image_is_overwritten_by_a_change_after_it_and_not_by_one_before() {
    let stream = stream();
    assert!(!stream.image_overwritten(), "nothing was ever changed");
    stream.note_direct_change();
    assert!(stream.image_overwritten(), "no image was seen to be made");
    stream.note_image(false);
    assert!(!stream.image_overwritten());
    stream.note_direct_change();
    assert!(stream.image_overwritten());
    stream.note_image(true);
    assert!(stream.image_overwritten(), "somebody has it mapped");
    stream.note_image(false);
    assert!(!stream.image_overwritten(), "a new image of the new bytes");
    stream.changes().begin();
    stream.note_image(false);
    stream.changes().end();
    assert!(stream.image_overwritten(), "made in the middle of a change");
}

#[test]
fn infected_is_said_of_the_last_verdict_only() {
    let stream = stream();
    assert!(!stream.is_infected());
    stream.note_verdict(0);
    assert!(!stream.is_infected());
    stream.note_verdict(1);
    stream.note_infected(1);
    assert!(stream.is_infected());
    stream.note_verdict(2);
    assert!(!stream.is_infected(), "a later verdict was another one");
}

#[test]
fn what_was_noted_of_a_stream_stays_and_is_nothing_else() {
    let told = |stream: &StreamState| {
        [
            stream.is_decided(),
            stream.is_deleted(),
            stream.was_opened(),
            stream.writable_section(),
            stream.paging_write_counts(),
        ]
    };
    type Note = fn(&StreamState);
    let notes: [(Note, [bool; 5]); 5] = [
        (|_| (), [false, false, false, false, true]),
        (StreamState::note_decided, [true, false, false, false, true]),
        (StreamState::note_deleted, [false, true, false, false, true]),
        (
            |stream| {
                stream.note_open();
            },
            [false, false, true, false, false],
        ),
        (
            StreamState::set_writable_section,
            [false, false, false, true, true],
        ),
    ];
    for (note, expected) in notes {
        let stream = stream();
        note(&stream);
        assert_eq!(told(&stream), expected);
        // Each is a note of its own: noted again, and beside all others, it stays.
        note(&stream);
        stream.note_mapped_before();
        stream.note_image(true);
        stream.set_own_id(FileId::from_words(4, 5));
        stream.set_name(true);
        assert_eq!(told(&stream)[..4], expected[..4]);
        assert_eq!(stream.name(), StreamName::Unnamed);
    }
}

#[test]
fn a_stream_is_untouched_until_a_change_of_it_begins() {
    let stream = stream();
    assert!(stream.is_untouched());
    stream.changes().begin();
    assert!(!stream.is_untouched(), "under way");
    stream.changes().end();
    assert!(!stream.is_untouched(), "for good");
}
