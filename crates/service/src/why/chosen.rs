//! Which of the events are shown.

use std::time::Duration;

use super::{Options, Told, reasons};

/// The options, made ready to be asked for each event.
pub(super) struct Chosen {
    container: Option<String>,
    path: Option<String>,
    denied: bool,
    slow: Option<Duration>,
}

impl Chosen {
    pub(super) fn new(options: &Options) -> Self {
        let plain = |text: &String| text.to_lowercase();
        Self {
            container: options.container.as_ref().map(plain),
            path: options.path.as_ref().map(plain),
            denied: options.denied,
            slow: options.slow.map(Duration::from_millis),
        }
    }

    /// Whether an event is shown. One that does not have what is asked for is not.
    pub(super) fn shows(&self, told: &Told) -> bool {
        let container = |wanted: &String| told.container().is_some_and(|id| id.starts_with(wanted));
        let path = |wanted: &String| told.path().to_lowercase().contains(wanted);
        let slow = |least: Duration| told.waited().is_some_and(|waited| waited >= least);
        self.container.as_ref().is_none_or(container)
            && self.path.as_ref().is_none_or(path)
            && (!self.denied || reasons::is_denied(told.text("Decision")))
            && self.slow.is_none_or(slow)
    }
}
