//! What the table answers to those who ask: its leaders, the driver, an administrator.

use siloscan_core::flight::{
    FlightTable, Join, Left, Outcome, Published, Request, Shares, Subject,
};
use siloscan_core::reason::Failure;
use siloscan_core::stream::StreamId;

use super::{CLEAN, join, nobody, of, request, story, subject};

#[test]
fn a_leader_learns_that_its_opener_wants_to_go_and_that_its_flight_died() {
    story(|table, _| {
        let waiter = join(table, &request(1, 1));
        let lead = table.take_next(0).unwrap();
        assert!(table.is_live(lead.flight) && !table.is_wanted_back(lead.flight));
        assert_eq!(table.leave(waiter), Left::Lent);
        assert!(table.is_wanted_back(lead.flight));
        table.give_back(lead.flight, &mut |_| {});
        assert!(!table.is_wanted_back(lead.flight), "it has it");
        assert!(table.is_live(lead.flight), "it may still wait");
        assert_eq!(table.kill(&subject(1), &mut |_| {}), 1);
        assert!(!table.is_live(lead.flight));
        assert_eq!(table.take_outcome(waiter), Some(Outcome::Again));
        let published = table.publish(lead.flight, CLEAN, 0, &mut nobody());
        assert_eq!(published, Published::Dead);
    });
}

#[test]
fn only_a_killed_scan_that_the_service_was_asked_for_is_stopped() {
    story(|table, _| {
        let waiters = [1, 2].map(|file| join(table, &request(file, file)));
        let [sent, unsent] = [(); 2].map(|()| table.take_next(0).unwrap());
        assert!(table.sending(sent.flight));
        assert_eq!(table.take_stop(), None, "it lives");
        assert_eq!(table.kill(&unsent.subject, &mut |_| {}), 1);
        assert_eq!(table.take_stop(), None, "the service never heard of it");
        assert_eq!(table.kill(&sent.subject, &mut |_| {}), 1);
        assert_eq!(table.take_stop(), Some(sent.request));
        assert_eq!(table.take_stop(), None);
        for lead in [sent, unsent] {
            table.publish(lead.flight, CLEAN, 0, &mut |_| {});
        }
        for waiter in waiters {
            assert_eq!(table.take_outcome(waiter), Some(Outcome::Again));
        }
    });
}

#[test]
fn the_table_is_empty_when_neither_a_flight_nor_an_outcome_is_left() {
    story(|table, _| {
        assert!(table.is_empty() && !table.has(&subject(1)));
        let waiter = join(table, &request(1, 1));
        assert!(!table.is_empty() && table.has(&subject(1)) && !table.has(&subject(2)));
        assert_eq!(table.live(), 1);
        let lead = table.take_next(0).unwrap();
        table.publish(lead.flight, CLEAN, 0, &mut |_| {});
        assert!(!table.has(&subject(1)) && table.live() == 0);
        assert!(!table.is_empty(), "its outcome was not taken");
        assert!(table.take_outcome(waiter).is_some() && table.is_empty());

        let waiter = join(table, &request(1, 2));
        let lead = table.take_next(0).unwrap();
        table.give_back(lead.flight, &mut nobody());
        assert_eq!(table.leave(waiter), Left::GoneAndStop);
        assert!(!table.is_empty(), "its leader has not let go of it");
        table.publish(lead.flight, CLEAN, 0, &mut nobody());
        assert!(table.is_empty());
    });
}

#[test]
fn shares_can_be_changed_while_a_silo_holds_its_own() {
    story(|table, _| {
        let mut openers = vec![join(table, &of(5, 1)), join(table, &of(5, 2))];
        let third = |table: &mut FlightTable<'_>| table.join_or_start(&of(5, 3));
        assert_eq!(third(table), Join::Refused(Failure::ShareUsed));
        table.set_shares(Shares {
            leaders: 4,
            percent: 50,
            forgiven_after: 1_000,
        });
        let Join::Started(opener) = third(table) else {
            panic!("three of four flights")
        };
        openers.push(opener);
        table.fail_all(Failure::NoService, false, &mut |_| {});
        for opener in openers {
            assert!(table.take_outcome(opener).is_some());
        }
    });
}

#[test]
fn two_scans_of_one_stream_for_different_subjects_follow_each_other() {
    story(|table, _| {
        let shared = |file| Request {
            stream: request(1, 9).stream,
            ..request(file, file)
        };
        let waiters = [1, 2].map(|file| join(table, &shared(file)));
        for waiter in waiters {
            let lead = table.take_next(0).unwrap();
            assert_eq!(table.take_next(0), None, "there is one section a stream");
            table.publish(lead.flight, CLEAN, 0, &mut |_| {});
            assert!(table.take_outcome(waiter).is_some());
        }
    });
}

#[test]
fn a_file_that_comes_to_light_ends_its_own_scans_alone() {
    story(|table, _| {
        let of_file = |file: u64| {
            let Subject::Key(key) = subject(file) else {
                panic!("a key")
            };
            let stream = Subject::Stream(StreamId::new(file).unwrap());
            let file = Some(key);
            (
                key,
                Request {
                    subject: stream,
                    file,
                    ..request(1, 1)
                },
            )
        };
        let waiters = [7, 8].map(|file| join(table, &of_file(file).1));
        assert_eq!(table.kill_file(&of_file(6).0, &mut nobody()), 0);
        assert_eq!(table.kill_file(&of_file(7).0, &mut |_| {}), 1);
        assert_eq!(table.take_outcome(waiters[0]), Some(Outcome::Again));
        assert_eq!(table.live(), 1);
        assert_eq!(table.leave(waiters[1]), Left::Gone);
    });
}

#[test]
fn nobody_joins_one_that_is_alone() {
    story(|table, _| {
        let alone = Request {
            alone: true,
            ..request(1, 1)
        };
        let openers = [alone, request(1, 2)].map(|request| {
            let Join::Started(waiter) = table.join_or_start(&request) else {
                panic!("nobody is there to be joined")
            };
            waiter
        });
        assert_eq!(table.live(), 2);
        table.fail_all(Failure::NoService, false, &mut |_| {});
        for opener in openers {
            assert!(table.take_outcome(opener).is_some());
        }
    });
}
