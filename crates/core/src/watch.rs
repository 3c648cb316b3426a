//! The parameters in force while the driver runs, and what a look at the registry does to them.
//!
//! A look never fails: nonsense is the default, what cannot be read stays as it is, and a value
//! that only a load can take is told and waits for one.

use crate::limits::{Found, Nonsense, PARAMETER_COUNT, PARAMETERS, Parameter, Parameters};
use crate::sync::plain::{AtomicU32, Ordering};

/// The values in force: one atomic each, so that an open reads them without a lock. Each is in its
/// range at any time; no parameter's meaning hangs on another's, so a mixture of two looks is as
/// good as either.
pub struct LiveParameters {
    values: [AtomicU32; PARAMETER_COUNT],
}

impl LiveParameters {
    /// Every default.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler, not at run time"
    )]
    pub const fn new() -> Self {
        let mut values = [const { AtomicU32::new(0) }; PARAMETER_COUNT];
        let mut i = 0_usize;
        while i < PARAMETER_COUNT {
            values[i] = AtomicU32::new(PARAMETERS[i].default);
            i = i.wrapping_add(1);
        }
        Self { values }
    }

    /// What is in force now. Any IRQL; no lock.
    #[must_use]
    pub fn snapshot(&self) -> Parameters {
        let mut all = Parameters::DEFAULT;
        for (parameter, value) in PARAMETERS.iter().zip(&self.values) {
            // Only values in range are ever put here.
            let _in_range = all.set(parameter, Found::Dword(value.load(Ordering::Relaxed)));
        }
        all
    }

    /// Puts all values in force: at load.
    pub fn put(&self, all: &Parameters) {
        for (parameter, value) in PARAMETERS.iter().zip(&self.values) {
            value.store(all.get(parameter.id), Ordering::Relaxed);
        }
    }
}

impl Default for LiveParameters {
    fn default() -> Self {
        Self::new()
    }
}

/// Follows the registry. One thread has it.
pub struct Watch {
    /// What the look before found; nothing before the first one.
    found: [Option<Found>; PARAMETER_COUNT],
}

/// What a look at one parameter led to. Each is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Looked {
    /// The registry holds nonsense, and did not hold the same at the look before.
    pub refused: Option<Nonsense>,
    /// What became of the value.
    pub change: Change,
    /// What is in force now.
    pub in_force: u32,
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is as it was.
    None,
    /// It is in force from now on; this was before.
    Taken(u32),
    /// The next load would take this.
    Waits(u32),
}

impl Watch {
    /// Nothing was looked at yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            found: [None; PARAMETER_COUNT],
        }
    }

    /// Takes what the registry holds under a parameter's name.
    pub fn look(
        &mut self,
        parameter: &Parameter,
        found: Found,
        live: &LiveParameters,
    ) -> Option<Looked> {
        let place = parameter.id as usize;
        let (known, value) = (self.found.get_mut(place)?, live.values.get(place)?);
        let is_news = *known != Some(found);
        *known = Some(found);
        let (wanted, nonsense) = parameter.read(found);
        let before = value.load(Ordering::Relaxed);
        let change = if wanted == before {
            Change::None
        } else if parameter.live {
            value.store(wanted, Ordering::Relaxed);
            Change::Taken(before)
        } else if is_news {
            Change::Waits(wanted)
        } else {
            Change::None
        };
        Some(Looked {
            refused: nonsense.filter(|_| is_news),
            change,
            in_force: value.load(Ordering::Relaxed),
        })
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(refused: Option<Nonsense>, change: Change, in_force: u32) -> Option<Looked> {
        Some(Looked {
            refused,
            change,
            in_force,
        })
    }

    #[test]
    fn a_live_value_is_taken_and_any_other_waits_and_each_is_told_once() {
        for parameter in &PARAMETERS {
            let (live, mut watch) = (LiveParameters::new(), Watch::new());
            let mut look = |found| watch.look(parameter, found, &live);
            let default = parameter.default;
            assert_eq!(look(Found::Absent), looked(None, Change::None, default));
            let wanted = if default == parameter.max {
                parameter.min
            } else {
                parameter.max
            };
            let (change, in_force, back) = if parameter.live {
                (Change::Taken(default), wanted, Change::Taken(wanted))
            } else {
                (Change::Waits(wanted), default, Change::None)
            };
            let found = Found::Dword(wanted);
            assert_eq!(look(found), looked(None, change, in_force));
            assert_eq!(live.snapshot().get(parameter.id), in_force);
            assert_eq!(look(found), looked(None, Change::None, in_force));
            assert_eq!(look(Found::Absent), looked(None, back, default));
        }
    }

    #[test]
    fn nonsense_is_the_default_and_is_told_once() {
        for parameter in &PARAMETERS {
            let (live, mut watch) = (LiveParameters::new(), Watch::new());
            let mut look = |found| watch.look(parameter, found, &live);
            assert!(look(Found::Dword(parameter.max)).is_some());
            for (found, nonsense) in [
                (Found::Dword(u32::MAX), Nonsense::Range),
                (Found::OtherType, Nonsense::Type),
            ] {
                let first = look(found).map(|looked| (looked.refused, looked.in_force));
                assert_eq!(first, Some((Some(nonsense), parameter.default)));
                let again = looked(None, Change::None, parameter.default);
                assert_eq!(look(found), again, "told once");
            }
        }
    }

    #[test]
    fn all_values_can_be_put_in_force() {
        let mut all = Parameters::DEFAULT;
        for parameter in &PARAMETERS {
            assert_eq!(all.set(parameter, Found::Dword(parameter.max)), Ok(()));
        }
        let live = LiveParameters::new();
        assert_eq!(live.snapshot(), Parameters::DEFAULT);
        live.put(&all);
        assert_eq!(live.snapshot(), all);
    }
}
