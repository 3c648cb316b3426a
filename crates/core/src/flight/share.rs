//! What each silo holds of the table, so that one container cannot use it up.

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
    /// Its scans that were too slow, since the account was opened.
    pub timeouts: u32,
}

impl SiloAccount {
    /// An account of nobody.
    pub const FREE: Self = Self {
        silo: 0,
        waiters: 0,
        flights: 0,
        leaders: 0,
        timeouts: 0,
    };

    const fn is_idle(&self) -> bool {
        self.waiters == 0 && self.flights == 0 && self.leaders == 0
    }
}

pub(super) struct Accounts<'m> {
    slots: &'m mut [SiloAccount],
}

impl<'m> Accounts<'m> {
    pub(super) fn new(slots: &'m mut [SiloAccount]) -> Self {
        Self { slots }
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
        let place = known.or_else(|| window.iter().position(SiloAccount::is_idle));
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

    pub(super) fn add_timeout(&mut self, silo: u64) {
        self.change(silo, |account| {
            account.timeouts = account.timeouts.saturating_add(1)
        });
    }
}
