//! How much there is to do on a connection.

use super::Session;
use crate::platform::Platform;

impl<P: Platform> Session<P> {
    /// Requests that wait for a thread that scans.
    pub(crate) fn backlog(&self) -> usize {
        self.board.lock().backlog.len()
    }
}
