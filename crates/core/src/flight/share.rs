//! What each silo holds of the table, so that one container cannot use it up; and whose scans held
//! leaders to their deadlines, so that many such containers cannot either.

use crate::limits::SLOW_TIMEOUTS;

/// Accounts that one silo can fall into.
const WINDOW: usize = 16;

/// One silo's account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SiloAccount {
    /// The silo; zero where the account is free.
    pub silo: u64,
    /// Its opens that wait.
    pub waiters: u16,
    /// The scans that it started and that are not over.
    pub flights: u16,
    /// The leaders that are busy with them.
    pub leaders: u16,
    /// Its scans that held a leader to their deadline and are not forgiven.
    pub timeouts: u32,
    /// When they are forgiven, in units of 100 ns: each further one puts it off.
    pub forgiven_at: u64,
}

impl SiloAccount {
    /// An account of nobody.
    pub const FREE: Self = Self {
        silo: 0,
        waiters: 0,
        flights: 0,
        leaders: 0,
        timeouts: 0,
        forgiven_at: 0,
    };

    /// Whether its scans were too slow too often of late.
    #[must_use]
    pub const fn is_slow(&self, now: u64) -> bool {
        self.timeouts >= SLOW_TIMEOUTS && now < self.forgiven_at
    }

    const fn is_idle(&self) -> bool {
        self.waiters == 0 && self.flights == 0 && self.leaders == 0
    }
}

pub(super) struct Accounts<'m> {
    slots: &'m mut [SiloAccount],
    /// After this no silo is slow.
    slow_until: u64,
}

impl<'m> Accounts<'m> {
    pub(super) fn new(slots: &'m mut [SiloAccount]) -> Self {
        Self {
            slots,
            slow_until: 0,
        }
    }

    fn start(&self, silo: u64) -> usize {
        let (windows, _) = self.slots.as_chunks::<WINDOW>();
        let mixed = silo.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        crate::hash::place(mixed, windows.len()).saturating_mul(WINDOW)
    }

    fn window(&self, silo: u64) -> &[SiloAccount] {
        self.slots
            .get(self.start(silo)..)
            .unwrap_or(&[])
            .get(..WINDOW)
            .unwrap_or(&[])
    }

    /// What the silo holds; nothing for one without an account.
    pub(super) fn get(&self, silo: u64) -> SiloAccount {
        let found = self
            .window(silo)
            .iter()
            .find(|account| silo != 0 && account.silo == silo);
        found.copied().unwrap_or(SiloAccount {
            silo,
            ..SiloAccount::FREE
        })
    }

    /// Whether the silo has an account, or one can be opened.
    pub(super) fn has_room(&self, silo: u64) -> bool {
        self.window(silo)
            .iter()
            .any(|account| account.silo == silo || account.is_idle())
    }

    /// Changes the silo's account, opening it if need be. The host (zero) has none.
    fn change(&mut self, silo: u64, change: impl FnOnce(&mut SiloAccount)) {
        if silo == 0 {
            return;
        }
        let start = self.start(silo);
        let window = self.slots.get_mut(start..).unwrap_or(&mut []);
        let window = window.get_mut(..WINDOW).unwrap_or(&mut []);
        let known = window.iter().position(|account| account.silo == silo);
        let place = known.or_else(|| cheapest(window));
        if let Some(account) = place.and_then(|place| window.get_mut(place)) {
            if account.silo != silo {
                *account = SiloAccount {
                    silo,
                    ..SiloAccount::FREE
                };
            }
            change(account);
        }
    }

    pub(super) fn add_waiter(&mut self, silo: u64) {
        self.change(silo, |account| {
            account.waiters = account.waiters.saturating_add(1)
        });
    }

    pub(super) fn drop_waiter(&mut self, silo: u64) {
        self.change(silo, |account| {
            account.waiters = account.waiters.saturating_sub(1)
        });
    }

    pub(super) fn add_flight(&mut self, silo: u64) {
        self.change(silo, |account| {
            account.flights = account.flights.saturating_add(1)
        });
    }

    pub(super) fn drop_flight(&mut self, silo: u64) {
        self.change(silo, |account| {
            account.flights = account.flights.saturating_sub(1)
        });
    }

    pub(super) fn add_leader(&mut self, silo: u64) {
        self.change(silo, |account| {
            account.leaders = account.leaders.saturating_add(1)
        });
    }

    pub(super) fn drop_leader(&mut self, silo: u64) {
        self.change(silo, |account| {
            account.leaders = account.leaders.saturating_sub(1)
        });
    }

    /// A scan of the silo's held a leader to its deadline. Whether that makes it a slow one.
    pub(super) fn add_timeout(&mut self, silo: u64, now: u64, forgiven_after: u64) -> bool {
        let forgiven_at = now.saturating_add(forgiven_after);
        let mut slow = false;
        self.change(silo, |account| {
            let was_slow = account.is_slow(now);
            if now >= account.forgiven_at {
                account.timeouts = 0;
            }
            account.timeouts = account.timeouts.saturating_add(1);
            account.forgiven_at = forgiven_at;
            slow = !was_slow && account.is_slow(now);
        });
        if slow || now < self.slow_until {
            self.slow_until = self.slow_until.max(forgiven_at);
        }
        slow
    }

    /// How much all slow silos hold together. Costs nothing while there are none.
    pub(super) fn held_by_slow(&self, now: u64, part: fn(&SiloAccount) -> u16) -> usize {
        if now >= self.slow_until {
            return 0;
        }
        let slow = self.slots.iter().filter(|account| account.is_slow(now));
        slow.map(|account| usize::from(part(account))).sum()
    }
}

/// The idle account that is missed least: one without time-outs, else the one whose are forgiven
/// first. A silo must not be able to lose its own by letting others come.
fn cheapest(window: &[SiloAccount]) -> Option<usize> {
    let idle = window.iter().enumerate().filter(|(_, it)| it.is_idle());
    // Zero where there are no time-outs.
    idle.min_by_key(|(_, account)| account.forgiven_at)
        .map(|(place, _)| place)
}
