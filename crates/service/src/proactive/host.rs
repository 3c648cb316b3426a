//! What the plan wants to know of this host: its name, and how busy it is.

use std::time::Duration;

/// How often the load is measured.
const EVERY: Duration = Duration::from_secs(2);

/// The host's name; empty where the system does not tell.
pub(super) fn name() -> String {
    #[cfg(unix)]
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    #[cfg(windows)]
    let name = std::env::var("COMPUTERNAME").ok();
    name.unwrap_or_default().trim().to_owned()
}

/// How busy the processors are, all together, between two looks.
#[derive(Debug, Default)]
pub(super) struct LoadMeter {
    last: Option<(Duration, Times)>,
    percent: Option<u64>,
}

/// What the processors have done since the system's start, in one unit.
#[derive(Clone, Copy, Debug)]
struct Times {
    idle: u64,
    all: u64,
}

impl LoadMeter {
    /// In percent. Nothing at first, nor where the system does not tell.
    pub(super) fn percent(&mut self, now: Duration) -> Option<u64> {
        let due = |(then, _): (Duration, Times)| now.saturating_sub(then) >= EVERY;
        if self.last.is_none_or(due) {
            let times = times();
            self.percent = match (self.last, times) {
                (Some((_, before)), Some(times)) => busy(before, times),
                _ => None,
            };
            self.last = times.map(|times| (now, times));
        }
        self.percent
    }
}

fn busy(before: Times, now: Times) -> Option<u64> {
    let all = now.all.saturating_sub(before.all);
    let idle = now.idle.saturating_sub(before.idle).min(all);
    (all - idle).saturating_mul(100).checked_div(all)
}

/// The first line of `/proc/stat`: user, nice, system, idle, waiting for input and output, …
#[cfg(unix)]
fn times() -> Option<Times> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let numbers = text.lines().next()?.strip_prefix("cpu ")?;
    let numbers: Vec<u64> = numbers
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    // What guests use is in user and nice already.
    let all = numbers.iter().take(8).sum();
    let idle = numbers.get(3)?.saturating_add(*numbers.get(4)?);
    Some(Times { idle, all })
}

/// Not yet run on Windows.
#[cfg(windows)]
#[expect(unsafe_code, reason = "the times come from a system call")]
fn times() -> Option<Times> {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::GetSystemTimes;
    let mut idle = FILETIME::default();
    let mut kernel = FILETIME::default();
    let mut user = FILETIME::default();
    // SAFETY: the three are ours, and of the type that the call fills.
    let told = unsafe { GetSystemTimes(&raw mut idle, &raw mut kernel, &raw mut user) };
    let number =
        |time: FILETIME| u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime);
    // The kernel's time has the idle time in it.
    (told != 0).then(|| Times {
        idle: number(idle),
        all: number(kernel).saturating_add(number(user)),
    })
}

#[cfg(test)]
mod tests {
    use super::{LoadMeter, Times, busy};
    use std::time::Duration;

    #[test]
    fn load_is_what_was_not_idle_in_between() {
        let times = |idle, all| Times { idle, all };
        assert_eq!(busy(times(100, 200), times(125, 300)), Some(75));
        assert_eq!(busy(times(100, 200), times(100, 200)), None);
        assert_eq!(busy(times(9, 9), times(0, 0)), None);
    }

    #[test]
    fn this_host_tells_its_name_and_its_load() {
        assert!(!super::name().is_empty());
        let mut meter = LoadMeter::default();
        assert_eq!(meter.percent(Duration::ZERO), None);
        // The counters of the system move by hundredths of a second.
        let mut now = Duration::ZERO;
        let percent = loop {
            std::thread::sleep(Duration::from_millis(20));
            now += Duration::from_secs(2);
            if let Some(percent) = meter.percent(now) {
                break percent;
            }
        };
        assert!(percent <= 100);
    }
}
