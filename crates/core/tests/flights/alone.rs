//! Scans that are for one opener alone, and those that end with their file or their volume.

use siloscan_core::flight::{Join, Outcome, Published, Request, Subject};
use siloscan_core::reason::Failure;
use siloscan_core::stream::StreamId;

use super::{CLEAN, join, request, story, subject};

#[test]
fn one_that_is_alone_joins_nobody_and_dies_with_its_file() {
    let alone = |file, cookie| Request {
        alone: true,
        ..request(file, cookie)
    };
    story(|table, filter| {
        let Join::Started(first) = table.join_or_start(&request(1, 1)) else {
            panic!("nobody is there")
        };
        let Join::Started(second) = table.join_or_start(&alone(1, 2)) else {
            panic!("it does not join")
        };
        let Join::Joined(third) = table.join_or_start(&request(1, 3)) else {
            panic!("the first one is there to be joined")
        };
        let killed = table.kill(&subject(1), &mut |_| {});
        assert_eq!(killed, 2, "a change ends both");
        for waiter in [first, second, third] {
            assert_eq!(table.take_outcome(waiter), Some(Outcome::Again));
        }
        // A stream without a key, of a file that has one.
        let Subject::Key(file) = subject(7) else {
            panic!("a key")
        };
        let stream = Request {
            subject: Subject::Stream(StreamId::new(9).unwrap()),
            file: Some(file),
            ..request(3, 9)
        };
        let Join::Started(waiter) = table.join_or_start(&stream) else {
            panic!("nobody is there")
        };
        assert_eq!(table.kill(&subject(7), &mut |_| {}), 0, "no key is its own");
        assert_eq!(table.kill_file(&file, &mut |_| {}), 1);
        assert_eq!(table.take_outcome(waiter), Some(Outcome::Again));
        assert!(table.is_empty() && !filter.may_have(&subject(1)));
    });
}

#[test]
fn an_instance_that_goes_away_lets_its_openers_go() {
    story(|table, _| {
        let mine = join(
            table,
            &Request {
                owner: 9,
                ..request(1, 1)
            },
        );
        let theirs = join(table, &request(1, 2));
        let lead = table.take_next(0).unwrap();
        let mut woken = 0;
        table.kill_owner(9, &mut |_| woken += 1);
        assert_eq!(woken, 2);
        assert_eq!(table.take_outcome(theirs), Some(Outcome::Again));
        assert_eq!(
            table.publish(lead.flight, CLEAN, 0, &mut |_| {}),
            Published::Dead
        );
        assert_eq!(
            table.take_outcome(mine),
            Some(Outcome::Failed(Failure::Unloading))
        );
    });
}
