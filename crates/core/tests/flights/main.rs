//! Single stories of flights, one promise each (I3, I6, W1, W2, W9).

mod alone;
mod asked;
mod silos;

use siloscan_core::flight::{
    Attempt, FlightFilter, FlightSlot, FlightTable, Join, Left, Outcome, Published, Request,
    Shares, SiloAccount, Subject, WaiterId, WaiterSlot,
};
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::reason::Failure;
use siloscan_core::stream::StreamId;
use siloscan_core::verdict::Verdict;

const CLEAN: Attempt = Attempt::Verdict(Verdict::Clean);

fn subject(file: u64) -> Subject {
    let volume = VolumeGuid::from_words(1, 1).unwrap();
    Subject::Key(Key::new(volume, FileId::from_words(file, 0).unwrap()))
}

fn request(file: u64, cookie: u64) -> Request {
    Request {
        subject: subject(file),
        stream: StreamId::new(cookie),
        silo: 0,
        owner: 1,
        cookie,
        deadline: 100,
        detached: false,
        alone: false,
        file: None,
    }
}

/// Runs a story on a table of 8 flights, 16 waiters and 4 leaders, a quarter for each silo.
fn story(tell: impl FnOnce(&mut FlightTable<'_>, &FlightFilter)) {
    let (mut flights, mut waiters) = ([FlightSlot::FREE; 8], [WaiterSlot::FREE; 16]);
    let mut accounts = [SiloAccount::FREE; 64];
    let filter = FlightFilter::new();
    let shares = Shares {
        leaders: 4,
        percent: 25,
        forgiven_after: 1_000,
    };
    let mut table = FlightTable::new(&mut flights, &mut waiters, &mut accounts, &filter, shares);
    tell(&mut table, &filter);
    assert!(table.is_empty(), "nothing is left");
    assert!((1..9).all(|file| !filter.may_have(&subject(file))));
}

fn join(table: &mut FlightTable<'_>, request: &Request) -> WaiterId {
    match table.join_or_start(request) {
        Join::Joined(waiter) | Join::Started(waiter) => waiter,
        other => panic!("{other:?}"),
    }
}

fn nobody() -> impl FnMut(usize) {
    |index| panic!("woke {index}")
}

#[test]
fn w1_all_openers_of_one_file_wait_for_one_scan() {
    story(|table, _| {
        let waiters: Vec<WaiterId> = (1..9).map(|i| join(table, &request(1, i))).collect();
        let lead = table.take_next(0).unwrap();
        assert_eq!(table.take_next(0), None, "one scan");
        assert_eq!(
            table.take_outcome(waiters[3]),
            None,
            "nobody passes before the verdict"
        );
        let mut woken = Vec::new();
        let published = table.publish(lead.flight, CLEAN, 0, &mut |index| woken.push(index));
        assert_eq!(published, Published::Over(8));
        assert_eq!(woken.len(), 8);
        for waiter in waiters {
            assert_eq!(
                table.take_outcome(waiter),
                Some(Outcome::Verdict(Verdict::Clean))
            );
            assert_eq!(table.take_outcome(waiter), None, "once");
        }
    });
}

#[test]
fn w9_a_service_that_goes_away_releases_everybody_at_once() {
    story(|table, _| {
        let waiters: Vec<WaiterId> = (1..7).map(|i| join(table, &request(i, i))).collect();
        let lead = table.take_next(0).unwrap();
        let mut woken = 0;
        table.fail_all(Failure::NoService, false, &mut |_| woken += 1);
        assert_eq!(woken, 6);
        assert_eq!(
            table.publish(lead.flight, CLEAN, 0, &mut |_| {}),
            Published::Dead
        );
        for waiter in waiters {
            assert_eq!(
                table.take_outcome(waiter),
                Some(Outcome::Failed(Failure::NoService))
            );
        }
    });
}

#[test]
fn i6_a_late_verdict_of_a_killed_scan_reaches_nobody() {
    story(|table, filter| {
        let first = join(table, &request(1, 1));
        let old = table.take_next(0).unwrap();
        table.give_back(old.flight, &mut nobody());
        assert!(table.sending(old.flight));
        assert!(filter.may_have(&subject(1)));
        assert_eq!(table.kill(&subject(1), &mut |_| {}), 1);
        assert_eq!(table.take_outcome(first), Some(Outcome::Again));
        assert_eq!(table.take_stop(), Some(old.request));
        assert_eq!(table.take_stop(), None, "told once");

        let second = join(table, &request(1, 2));
        let new = table.take_next(0).unwrap();
        assert_ne!(new.request, old.request);
        let infected = Attempt::Verdict(Verdict::Infected);
        assert_eq!(
            table.publish(old.flight, infected, 0, &mut nobody()),
            Published::Dead
        );
        assert_eq!(
            table.publish(old.flight, infected, 0, &mut nobody()),
            Published::Dead
        );
        assert_eq!(
            table.publish(new.flight, CLEAN, 0, &mut |_| {}),
            Published::Over(1)
        );
        assert_eq!(
            table.take_outcome(second),
            Some(Outcome::Verdict(Verdict::Clean))
        );
    });
}

#[test]
fn i6_a_stale_handle_reaches_nobody_when_its_place_is_used_again() {
    story(|table, _| {
        let first = join(table, &request(1, 1));
        let old = table.take_next(0).unwrap();
        table.publish(old.flight, CLEAN, 0, &mut |_| {});
        assert!(table.take_outcome(first).is_some());
        // More rounds than there are places.
        for round in 2..40 {
            let waiter = join(table, &request(round % 8 + 1, round));
            let lead = table.take_next(0).unwrap();
            let infected = Attempt::Verdict(Verdict::Infected);
            assert!(!table.is_live(old.flight) && !table.sending(old.flight));
            assert_eq!(
                table.publish(old.flight, infected, 0, &mut nobody()),
                Published::Dead
            );
            assert_eq!(table.leave(first), Left::Gone);
            assert_eq!(table.take_outcome(first), None);
            table.publish(lead.flight, CLEAN, 0, &mut |_| {});
            assert_eq!(
                table.take_outcome(waiter),
                Some(Outcome::Verdict(Verdict::Clean))
            );
        }
    });
}

#[test]
fn i6_a_change_of_the_stream_that_is_read_kills_the_layer_scan() {
    story(|table, filter| {
        let waiter = join(table, &request(1, 7));
        let placeholder = Subject::Stream(StreamId::new(7).unwrap());
        assert_eq!(table.kill(&placeholder, &mut nobody()), 0, "not read yet");
        let lead = table.take_next(0).unwrap();
        assert!(filter.may_have(&placeholder));
        assert_eq!(table.kill(&placeholder, &mut |_| {}), 1);
        assert!(!filter.may_have(&placeholder));
        assert_eq!(
            table.take_outcome(waiter),
            None,
            "its file object is still in use"
        );
        assert_eq!(
            table.publish(lead.flight, CLEAN, 0, &mut |_| {}),
            Published::Dead
        );
        assert_eq!(table.take_outcome(waiter), Some(Outcome::Again));
    });
}

#[test]
fn a_dead_scan_counts_as_a_reader_until_its_place_is_free() {
    story(|table, _| {
        let [own, other] = [7, 8].map(|stream| StreamId::new(stream).unwrap());
        let waiter = join(table, &request(1, 7));
        assert!(!table.is_read_through_another(&subject(1), other), "queued");
        let lead = table.take_next(0).unwrap();
        for dead in [false, true] {
            assert!(table.is_read_through_another(&subject(1), other));
            assert!(!table.is_read_through_another(&subject(1), own), "its own");
            assert!(!table.is_read_through_another(&subject(2), other));
            assert_eq!(table.kill(&subject(1), &mut |_| {}), u16::from(!dead));
        }
        table.publish(lead.flight, CLEAN, 0, &mut |_| {});
        assert!(!table.is_read_through_another(&subject(1), other));
        assert_eq!(table.take_outcome(waiter), Some(Outcome::Again));
    });
}

#[test]
fn a_failure_is_one_openers_and_the_next_file_object_is_tried() {
    story(|table, _| {
        let [a, b, c] = [1, 2, 3].map(|i| join(table, &request(1, i)));
        let lead = table.take_next(0).unwrap();
        assert_eq!(lead.cookie, 1);
        let locked = Attempt::Failed(Failure::Locked);
        let Published::Next(next) = table.publish(lead.flight, locked, 0, &mut |_| {}) else {
            panic!("others wait");
        };
        assert_eq!(
            table.take_outcome(a),
            Some(Outcome::Failed(Failure::Locked))
        );
        assert_eq!((next.cookie, next.flight), (2, lead.flight));
        assert_ne!(next.request, lead.request);
        assert_eq!(
            table.publish(next.flight, CLEAN, 0, &mut |_| {}),
            Published::Over(2)
        );
        for waiter in [b, c] {
            assert_eq!(
                table.take_outcome(waiter),
                Some(Outcome::Verdict(Verdict::Clean))
            );
        }
    });
}

#[test]
fn i3_who_leaves_leaves_at_once_unless_its_file_object_is_in_use() {
    story(|table, _| {
        let [a, b] = [1, 2].map(|i| join(table, &request(1, i)));
        let lead = table.take_next(0).unwrap();
        assert_eq!(table.leave(a), Left::Lent);
        assert_eq!(table.leave(b), Left::Gone);
        let mut woken = Vec::new();
        table.give_back(lead.flight, &mut |index| woken.push(index));
        assert_eq!(woken, [a.index()], "who wanted to leave is told");
        assert!(table.sending(lead.flight));
        assert_eq!(table.leave(a), Left::GoneAndStop, "nobody waits any more");
        assert_eq!(table.take_stop(), Some(lead.request));
        assert_eq!(table.leave(a), Left::Gone, "a stale handle is harmless");
        assert_eq!(
            table.publish(lead.flight, CLEAN, 0, &mut nobody()),
            Published::Dead
        );
    });
}

#[test]
fn i3_nobody_leads_for_openers_whose_time_is_up() {
    story(|table, _| {
        let waiter = join(table, &request(1, 1));
        assert_eq!(table.take_next(100), None);
        assert_eq!(table.leave(waiter), Left::Gone);
    });
}

#[test]
fn a_scan_at_close_always_reaches_a_leader() {
    story(|table, _| {
        let close = Request {
            detached: true,
            ..request(1, 1)
        };
        assert!(matches!(table.join_or_start(&close), Join::Started(_)));
        assert_eq!(table.join_or_start(&close), Join::Needless);
        let opener = join(table, &request(1, 2));
        let lead = table
            .take_next(1_000)
            .expect("late, but its section must be closed");
        assert!(lead.detached && lead.live && lead.cookie == 1);
        assert_eq!(
            table.publish(lead.flight, CLEAN, 0, &mut |_| {}),
            Published::Over(1)
        );
        assert_eq!(
            table.take_outcome(opener),
            Some(Outcome::Verdict(Verdict::Clean))
        );

        assert!(matches!(table.join_or_start(&close), Join::Started(_)));
        assert_eq!(table.kill(&subject(1), &mut nobody()), 1);
        let lead = table
            .take_next(0)
            .expect("killed, but its section must be closed");
        assert!(lead.detached && !lead.live && lead.cookie == 1);
        assert!(!table.sending(lead.flight));
        assert_eq!(
            table.publish(lead.flight, CLEAN, 0, &mut nobody()),
            Published::Dead
        );
    });
}

#[test]
fn one_silo_cannot_take_the_places_of_the_others() {
    story(|table, _| {
        let of = |silo, file, cookie| Request {
            silo,
            ..request(file, cookie)
        };
        let mine = [join(table, &of(5, 1, 1)), join(table, &of(5, 2, 2))];
        let third = table.join_or_start(&of(5, 3, 3));
        assert_eq!(
            third,
            Join::Refused(Failure::ShareUsed),
            "two of eight flights"
        );
        let more = [join(table, &of(5, 1, 4)), join(table, &of(5, 1, 5))];
        let fifth = table.join_or_start(&of(5, 1, 6));
        assert_eq!(
            fifth,
            Join::Refused(Failure::ShareUsed),
            "four of sixteen waiters"
        );
        let other = join(table, &of(6, 3, 7));
        assert_eq!(table.account(5).waiters, 4);

        let lead = table.take_next(0).unwrap();
        assert_eq!(lead.silo, 5);
        let next = table.take_next(0).unwrap();
        assert_eq!(next.silo, 6, "one of four leaders");
        let slow = Attempt::Failed(Failure::TooSlow);
        for _ in 0..2 {
            table.publish(lead.flight, slow, 0, &mut |_| {});
        }
        assert_eq!(table.account(5).timeouts, 2);
        table.fail_all(Failure::Unloading, true, &mut |_| {});
        table.publish(lead.flight, CLEAN, 0, &mut |_| {});
        table.publish(next.flight, CLEAN, 0, &mut |_| {});
        for waiter in mine.into_iter().chain(more).chain([other]) {
            assert!(table.take_outcome(waiter).is_some());
        }
        assert_eq!(
            table.join_or_start(&request(1, 9)),
            Join::Refused(Failure::Unloading)
        );
    });
}

/// An opener out of this silo.
fn of(silo: u64, file: u64) -> Request {
    Request {
        silo,
        ..request(file, file)
    }
}

/// Scans of these silos hold every leader to their deadlines, `rounds` times.
fn time_out(table: &mut FlightTable<'_>, silos: &[u64], rounds: u64) {
    for round in 0..rounds {
        let now = 100 * (round + 1);
        let files = silos.iter().enumerate();
        let openers: Vec<WaiterId> = files
            .map(|(file, silo)| {
                let mut wanted = of(*silo, file as u64 + 1);
                wanted.deadline = now;
                join(table, &wanted)
            })
            .collect();
        let mut leads = Vec::new();
        while let Some(lead) = table.take_next(now - 1) {
            table.give_back(lead.flight, &mut nobody());
            leads.push(lead);
        }
        // Each opener leaves by itself, and its leader sees the end of the deadline after it.
        for opener in openers {
            table.leave(opener);
        }
        for lead in leads {
            let stopped = Attempt::Failed(Failure::Conflict);
            let ended = table.publish(lead.flight, stopped, now, &mut nobody());
            assert_eq!(ended, Published::Dead);
        }
    }
}

#[test]
fn silos_whose_scans_time_out_leave_half_of_the_leaders_however_many_they_are() {
    story(|table, _| {
        let slow = [11, 12, 13, 14];
        time_out(table, &slow, 1);
        assert_eq!(table.account(11).timeouts, 1);
        assert_eq!(table.take_slowed(), 0, "once is no habit");
        time_out(table, &slow, 2);
        assert_eq!(table.take_slowed(), 4, "each is told once");
        assert_eq!(table.take_slowed(), 0);

        let now = 250;
        let late = |silo, file| Request {
            deadline: 10_000,
            ..of(silo, file)
        };
        let mut openers: Vec<WaiterId> = (0..4)
            .map(|i| join(table, &late(slow[i], i as u64 + 1)))
            .collect();
        let crowd = table.join_or_start(&late(11, 5));
        assert_eq!(
            crowd,
            Join::Refused(Failure::ShareUsed),
            "half of eight flights"
        );
        let mut leads: Vec<_> = std::iter::from_fn(|| table.take_next(now)).collect();
        assert_eq!(leads.len(), 2, "half of four leaders");
        // The others find places and leaders as ever.
        for silo in [21, 22] {
            openers.push(join(table, &late(silo, silo)));
            let lead = table.take_next(now).expect("a leader is left");
            assert_eq!(lead.silo, silo);
            leads.push(lead);
        }
        for lead in leads {
            table.publish(lead.flight, CLEAN, now, &mut |_| {});
        }
        for opener in openers {
            table.leave(opener);
        }
    });
}

#[test]
fn time_outs_are_forgiven_when_none_follows() {
    story(|table, _| {
        let slow = [11, 12, 13, 14];
        time_out(table, &slow, 2);
        assert_eq!(table.take_slowed(), 4);
        let late = |file: u64| Request {
            deadline: 10_000,
            ..of(slow[file as usize - 1], file)
        };
        // The last one was at 200 and counts for 1,000.
        for (now, leaders) in [(1_199, 2), (1_200, 4)] {
            let openers: Vec<WaiterId> = (1..5).map(|file| join(table, &late(file))).collect();
            let leads: Vec<_> = std::iter::from_fn(|| table.take_next(now)).collect();
            assert_eq!(leads.len(), leaders, "at {now}");
            for lead in leads {
                table.publish(lead.flight, CLEAN, now, &mut |_| {});
            }
            for opener in openers {
                table.leave(opener);
            }
        }
    });
}

#[test]
fn a_silo_does_not_lose_its_time_outs_to_others_that_come_and_go() {
    story(|table, _| {
        time_out(table, &[11], 2);
        for silo in 1_000..1_200 {
            let opener = join(table, &of(silo, 1));
            table.leave(opener);
        }
        assert_eq!(table.account(11).timeouts, 2);
    });
}

#[test]
fn verdicts_failures_of_ours_and_changes_in_time_are_no_time_outs() {
    story(|table, _| {
        let ends = [
            CLEAN,
            Attempt::Empty,
            Attempt::Changed,
            Attempt::Failed(Failure::ServiceError),
            Attempt::FailedForAll(Failure::NoService),
        ];
        for end in ends {
            let opener = join(table, &of(11, 1));
            let lead = table.take_next(1).expect("it is queued");
            table.publish(lead.flight, end, 99, &mut |_| {});
            assert!(table.take_outcome(opener).is_some());
        }
        assert_eq!(table.account(11).timeouts, 0);
    });
}

fn at_close(silo: u64, file: u64) -> Request {
    Request {
        detached: true,
        silo,
        ..request(file, file)
    }
}

/// Publishes everything that can be led.
fn drain(table: &mut FlightTable<'_>) {
    while let Some(lead) = table.take_next(0) {
        table.publish(lead.flight, CLEAN, 0, &mut |_| {});
    }
}

#[test]
fn scans_at_close_leave_places_to_those_who_wait() {
    story(|table, _| {
        assert!(matches!(
            table.join_or_start(&at_close(5, 1)),
            Join::Started(_)
        ));
        let crowded = Join::Refused(Failure::ShareUsed);
        assert_eq!(
            table.join_or_start(&at_close(5, 2)),
            crowded,
            "half of a silo's share"
        );
        let own = Request {
            silo: 5,
            ..request(2, 22)
        };
        let own = join(table, &own);
        for file in 3..8 {
            assert!(matches!(
                table.join_or_start(&at_close(0, file)),
                Join::Started(_)
            ));
        }
        assert_eq!(
            table.join_or_start(&at_close(0, 8)),
            crowded,
            "six of eight places"
        );
        let opener = join(table, &request(8, 28));
        drain(table);
        for waiter in [own, opener] {
            assert!(table.take_outcome(waiter).is_some());
        }
    });
}

#[test]
fn i3_an_opener_does_not_queue_behind_scans_at_close() {
    story(|table, _| {
        for file in 1..7 {
            assert!(matches!(
                table.join_or_start(&at_close(0, file)),
                Join::Started(_)
            ));
        }
        let busy: Vec<_> = (0..3).map(|_| table.take_next(0).unwrap()).collect();
        assert_eq!(table.take_next(0), None, "the fourth leader is for openers");
        let opener = join(table, &request(8, 28));
        let lead = table.take_next(0).unwrap();
        assert_eq!((lead.cookie, lead.subject), (28, subject(8)));
        table.publish(lead.flight, CLEAN, 0, &mut |_| {});
        assert!(table.take_outcome(opener).is_some());

        // One whose file has a scan at close joins that, which is somebody's matter from then on.
        let joined = join(table, &request(6, 29));
        let lead = table.take_next(0).unwrap();
        assert_eq!(lead.subject, subject(6));
        // One that reads the same stream for another key waits for its section to be gone.
        let other = Request {
            stream: StreamId::new(5),
            ..request(7, 30)
        };
        let other = join(table, &other);
        let before = table.take_next(0).unwrap();
        assert_eq!((before.subject, before.detached), (subject(5), true));
        for lead in busy.into_iter().chain([lead, before]) {
            table.publish(lead.flight, CLEAN, 0, &mut |_| {});
        }
        // One that is late leaves a leader all the same.
        let late = table.take_next(1_000).unwrap();
        assert_eq!(late.subject, subject(4));
        table.publish(late.flight, CLEAN, 0, &mut |_| {});
        drain(table);
        for waiter in [joined, other] {
            assert!(table.take_outcome(waiter).is_some());
        }
    });
}
