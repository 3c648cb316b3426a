//! What other threads of the service ask of a connection, and have it tell the driver.

use siloscan_core::wire::News;

use super::Session;
use crate::platform::Platform;

/// News that wait for a poll at most; the oldest is dropped for one more.
const NEWS_MAX: usize = 1024;

impl<P: Platform> Session<P> {
    /// Requests that wait for a thread that scans.
    pub(crate) fn backlog(&self) -> usize {
        self.board.lock().backlog.len()
    }

    /// Keeps `news` for the next poll, and answers the one that is held.
    pub(crate) fn tell(&self, news: News) {
        {
            let mut board = self.board.lock();
            if board.news.len() >= NEWS_MAX {
                board.news.pop_front();
            }
            // With anything to tell a poll is answered at once. One that says nothing would only
            // be in the way of what is told next.
            if news != News::Nothing || board.news.is_empty() {
                board.news.push_back(news);
            }
        }
        self.answer_poll_if_due();
    }
}
