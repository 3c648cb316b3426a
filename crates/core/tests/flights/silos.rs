//! Accounts of silos at their bounds, leaders that scans at close leave, and the filter's spread.

use siloscan_core::flight::{
    FlightFilter, FlightSlot, FlightTable, Join, Request, Shares, SiloAccount, Subject, WaiterId,
    WaiterSlot,
};
use siloscan_core::key::{FileId, Key, VolumeGuid};
use siloscan_core::reason::Failure;

use super::{CLEAN, at_close, join, of, story, time_out};

/// A table of 64 flights and 64 waiters with so many accounts and leaders; nobody's share is small.
fn wide(accounts: usize, leaders: u16, tell: impl FnOnce(&mut FlightTable<'_>, &FlightFilter)) {
    let (mut flights, mut waiters) = ([FlightSlot::FREE; 64], [WaiterSlot::FREE; 64]);
    let mut accounts = vec![SiloAccount::FREE; accounts];
    let filter = FlightFilter::new();
    let shares = Shares {
        leaders,
        percent: 100,
        forgiven_after: 1_000,
    };
    let mut table = FlightTable::new(&mut flights, &mut waiters, &mut accounts, &filter, shares);
    tell(&mut table, &filter);
}

#[test]
fn a_silo_without_room_for_an_account_is_refused_and_no_other_one() {
    wide(16, 4, |table, _| {
        for silo in 1..=16 {
            join(table, &of(silo, silo));
            assert_eq!(table.account(silo).waiters, 1);
        }
        let refused = Join::Refused(Failure::ShareUsed);
        assert_eq!(table.join_or_start(&of(17, 17)), refused);
        let without = SiloAccount {
            silo: 17,
            ..SiloAccount::FREE
        };
        assert_eq!(table.account(17), without);
        join(table, &of(16, 18));
        assert_eq!(table.account(16).waiters, 2, "who has one may come again");
        join(table, &of(0, 19));
    });
}

#[test]
fn silos_are_spread_over_all_accounts() {
    wide(64, 4, |table, _| {
        for silo in 1..=32 {
            join(table, &of(silo, silo));
        }
    });
}

#[test]
fn a_silo_is_slow_until_it_is_forgiven() {
    let slow = SiloAccount {
        silo: 1,
        timeouts: 2,
        forgiven_at: 100,
        ..SiloAccount::FREE
    };
    assert!(slow.is_slow(99) && !slow.is_slow(100));
    let once = SiloAccount {
        timeouts: 1,
        ..slow
    };
    assert!(!once.is_slow(99));
}

#[test]
fn a_further_time_out_of_a_slow_silo_puts_its_forgiveness_off() {
    story(|table, _| {
        let slow = [11, 12, 13, 14];
        let late = |silo, file, deadline| siloscan_core::flight::Request {
            deadline,
            ..of(silo, file)
        };
        time_out(table, &slow, 2);
        // All are slow until 1,200; these time out once more at 1,100.
        for pair in [[11, 12], [13, 14]] {
            let openers = pair.map(|silo| join(table, &late(silo, silo - 10, 1_100)));
            let leads: Vec<_> = std::iter::from_fn(|| table.take_next(1_000)).collect();
            assert_eq!(leads.len(), 2);
            for lead in leads {
                let end = siloscan_core::flight::Attempt::Failed(Failure::TooSlow);
                table.publish(lead.flight, end, 1_100, &mut |_| {});
            }
            for opener in openers {
                table.leave(opener);
            }
        }
        let files = slow.iter().zip(1..);
        let openers: Vec<WaiterId> = files
            .map(|(silo, file)| join(table, &late(*silo, file, 10_000)))
            .collect();
        let leads: Vec<_> = std::iter::from_fn(|| table.take_next(1_500)).collect();
        assert_eq!(leads.len(), 2, "half of four leaders, as before 1,200");
        for lead in leads {
            table.publish(lead.flight, CLEAN, 1_500, &mut |_| {});
        }
        for opener in openers {
            table.leave(opener);
        }
    });
}

#[test]
fn scans_at_close_leave_a_quarter_of_the_leaders() {
    for (leaders, at_once) in [(1, 1), (2, 1), (4, 3), (8, 6), (9, 7), (16, 12)] {
        wide(16, leaders, |table, _| {
            for file in 1..=20 {
                let queued = table.join_or_start(&at_close(0, file));
                assert!(matches!(queued, Join::Started(_)));
            }
            let leads = std::iter::from_fn(|| table.take_next(0)).count();
            assert_eq!(leads, at_once, "of {leaders}");
        });
    }
}

/// A "maybe" of the filter costs the writer a lock; "maybe" for everybody would cost it every
/// writer of the host. No word of a key may drown the others.
#[test]
fn few_flights_are_feared_by_few_writers() {
    let words = [0, 1, 0x5555_5555_5555_5555, u64::MAX];
    for other in words {
        for place in 0..3 {
            let subject = |number: u64| {
                let [low, high, volume] = match place {
                    0 => [number, other, 7],
                    1 => [other, number, 7],
                    _ => [number, 7, other],
                };
                let file = FileId::from_words(low, high).unwrap();
                Subject::Key(Key::new(VolumeGuid::from_words(volume, 1).unwrap(), file))
            };
            wide(16, 4, |table, filter| {
                for number in 1..9 {
                    let wanted = Request {
                        subject: subject(number),
                        ..super::request(number, number)
                    };
                    join(table, &wanted);
                    assert!(filter.may_have(&wanted.subject));
                }
                let feared = (100..1_124).filter(|number| filter.may_have(&subject(*number)));
                let feared = feared.count();
                assert!(feared < 64, "{feared} of 1,024, {other:#x} {place}");
            });
        }
    }
}
