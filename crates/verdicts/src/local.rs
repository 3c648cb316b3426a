//! This host's verdicts, in a file.
//!
//! Reads are made by whoever asks. All writes are made by one thread, which gathers them for a
//! while: what it has not written when the host goes down is scanned again. A file that is damaged
//! or none of ours is set aside; after a failure of the system the file is closed and tried again
//! later (`Rest`).

use std::fs::{self, OpenOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use redb::Database;

use crate::record::{self, KEY_BYTES, Key, Verdict};
use crate::secret::{Secret, own, with_suffix};
use crate::tell::{Teller, Wrong};
use crate::{Counts, Found, OpenError, Settings};

mod tables;

use tables::Trouble;

/// Memory for pages of the file, in bytes.
const PAGES_BYTES: usize = 16 << 20;
/// Verdicts that wait to be written; one more is dropped.
const QUEUE_MAX: usize = 4096;
/// Verdicts that are written in one transaction at most.
const BATCH_MAX: usize = 1024;
/// Verdicts of older rule sets that are removed in one transaction.
const REMOVE_MAX: usize = 512;
/// The wait between two such transactions.
const REMOVE_PAUSE: Duration = Duration::from_millis(50);
/// A file that failed is tried again after this, then after twice as long.
const REST_MIN: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_mins(1);

pub(crate) struct Local {
    shared: Arc<Shared>,
    orders: SyncSender<Order>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Put([u8; KEY_BYTES], Vec<u8>),
    KeepOnly([u8; 32]),
    Flush(SyncSender<()>),
    /// A reader met trouble in the file that was opened as the so-manieth.
    Trouble(u64, Trouble),
    End,
}

struct Shared {
    settings: Settings,
    secret: Secret,
    /// Nothing while the file cannot be used.
    open: RwLock<Open>,
    counts: Arc<Counts>,
    teller: Arc<Teller>,
}

#[derive(Default)]
struct Open {
    database: Option<Database>,
    /// How often one was opened.
    number: u64,
}

impl Local {
    pub(crate) fn open(
        settings: Settings,
        counts: &Arc<Counts>,
        teller: &Arc<Teller>,
    ) -> Result<Self, OpenError> {
        let key = with_suffix(&settings.file, ".key");
        let (secret, new) = Secret::read_or_make(&key)?;
        let shared = Arc::new(Shared {
            settings,
            secret,
            open: RwLock::default(),
            counts: Arc::clone(counts),
            teller: Arc::clone(teller),
        });
        let file = &shared.settings.file;
        if new && file.exists() {
            // Nothing in it could be read.
            shared.set_aside("its key is not there any more")?;
        }
        match shared.reopen() {
            Ok(()) => {}
            Err(Trouble::InUse) => return Err(OpenError::InUse(file.clone())),
            Err(Trouble::Failed(cause)) => return Err(OpenError::File(file.clone(), cause)),
            Err(Trouble::Damaged(cause)) => {
                shared.set_aside(&cause)?;
                let again = shared.reopen();
                again.map_err(|trouble| OpenError::File(file.clone(), trouble.to_string()))?;
            }
        }
        let (orders, to_do) = sync_channel(QUEUE_MAX);
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("verdicts".to_owned());
        let thread = thread
            .spawn(move || Writer::new(&own).work(&to_do))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            shared,
            orders,
            thread: Some(thread),
        })
    }

    pub(crate) fn recall(&self, key: &Key) -> Found {
        let shared = &self.shared;
        let bytes = key.to_bytes();
        // The file is being opened or closed, which takes its time: a scan does not wait for that.
        let Some(open) = shared.open.try_read() else {
            return Found::Nothing;
        };
        let Some(database) = &open.database else {
            return Found::Nothing;
        };
        match guarded(|| tables::get(database, &bytes)) {
            Ok(None) => Found::Nothing,
            Ok(Some(record)) => match record::open(&shared.secret, &bytes, &record) {
                Ok(verdict) => Found::Known(verdict),
                Err(record::Forged) => {
                    shared.counts.local_forged.one();
                    shared.teller.say(Wrong::LocalForged, || {
                        let file = shared.settings.file.display();
                        format!(
                            "a verdict in {file} was not made on this host and is not believed; \
                             see who can write there"
                        )
                    });
                    Found::Nothing
                }
            },
            Err(trouble) => {
                let number = open.number;
                drop(open);
                // If it does not get there, the next reader's does.
                let _ = self.orders.try_send(Order::Trouble(number, trouble));
                Found::Nothing
            }
        }
    }

    pub(crate) fn remember(&self, key: &Key, verdict: &Verdict) {
        let bytes = key.to_bytes();
        let record = record::seal(&self.shared.secret, &bytes, verdict);
        let put = record.map(|record| self.orders.try_send(Order::Put(bytes, record)));
        if let Some(Err(_)) = put {
            self.shared.counts.dropped.one();
        }
    }

    pub(crate) fn keep_only(&self, rules: [u8; 32]) {
        // If the queue is full, older ones go by their age.
        let _ = self.orders.try_send(Order::KeepOnly(rules));
    }

    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let (done, flushed) = sync_channel(1);
        self.order(Order::Flush(done), end)
            && flushed
                .recv_timeout(end.saturating_duration_since(Instant::now()))
                .is_ok()
    }

    /// Gives an order, though the queue may be full until `end`.
    fn order(&self, mut order: Order, end: Instant) -> bool {
        loop {
            match self.orders.try_send(order) {
                Ok(()) => return true,
                Err(TrySendError::Full(back)) if Instant::now() < end => order = back,
                Err(_) => return false,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Waits: the thread takes one order after the other, and none of them waits for anybody.
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            // It has caught its panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn is_open_as(&self, number: u64) -> bool {
        let open = self.open.read();
        open.number == number && open.database.is_some()
    }

    /// Opens the file in place of the one that was open.
    fn reopen(&self) -> Result<(), Trouble> {
        let mut open = self.open.write();
        close(open.database.take());
        open.number += 1;
        let file = &self.settings.file;
        open.database = Some(guarded(|| begin(file))?);
        Ok(())
    }

    /// Renames the file, so that a new one can be begun, and tells.
    fn set_aside(&self, cause: &str) -> Result<(), OpenError> {
        close(self.open.write().database.take());
        let file = &self.settings.file;
        let aside = with_suffix(file, ".damaged");
        let renamed = fs::rename(file, &aside);
        renamed.map_err(|why| OpenError::File(file.clone(), why.to_string()))?;
        self.teller.say(Wrong::LocalDamaged, || {
            let (file, aside) = (file.display(), aside.display());
            format!(
                "the verdicts in {file} cannot be used ({cause}); they were renamed to {aside} \
                 and new ones are begun"
            )
        });
        Ok(())
    }
}

/// What `work` gives; a panic in it means damage: the file's bytes are all that it depends on.
fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Trouble::Damaged("it ends its reader".to_owned())))
}

/// Closing writes, which may fail in every way.
fn close(database: Option<Database>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
}

fn begin(file: &Path) -> Result<Database, Trouble> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    own(&mut options);
    options
        .open(file)
        .map_err(|cause| Trouble::Failed(cause.to_string()))?;
    let database = Database::builder()
        .set_cache_size(PAGES_BYTES)
        .create(file)?;
    tables::begin(&database)?;
    Ok(database)
}

/// The thread that writes.
struct Writer<'s> {
    shared: &'s Shared,
    batch: Vec<([u8; KEY_BYTES], Vec<u8>)>,
    /// When the batch is written.
    due: Option<Instant>,
    /// Verdicts of other rule sets than this are being removed, the next of them then.
    removing: Option<([u8; 32], Instant)>,
    rest: Duration,
    /// The file is tried again then.
    again: Option<Instant>,
}

impl<'s> Writer<'s> {
    fn new(shared: &'s Shared) -> Self {
        Self {
            shared,
            batch: Vec::new(),
            due: None,
            removing: None,
            rest: Duration::ZERO,
            again: None,
        }
    }

    fn work(mut self, orders: &Receiver<Order>) {
        loop {
            let order = match self.wait() {
                Some(wait) => orders.recv_timeout(wait),
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match order {
                Ok(Order::Put(key, record)) => self.gather(key, record),
                Ok(Order::KeepOnly(rules)) => {
                    self.removing = Some((rules, Instant::now() + REMOVE_PAUSE));
                }
                Ok(Order::Flush(done)) => {
                    self.write();
                    let _ = done.try_send(());
                }
                Ok(Order::Trouble(number, trouble)) => {
                    // Several readers may tell of the same trouble: it is met once.
                    if self.shared.is_open_as(number) {
                        self.shared.counts.local_failed.one();
                        self.meet(trouble);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.go_on(),
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => {
                    self.write();
                    close(self.shared.open.write().database.take());
                    return;
                }
            }
        }
    }

    /// How long until there is something to do without an order.
    fn wait(&self) -> Option<Duration> {
        let left = |when: Instant| when.saturating_duration_since(Instant::now());
        let removing = self.removing.filter(|_| self.again.is_none());
        let waits = [
            self.due.map(left),
            removing.map(|(_, when)| left(when)),
            self.again.map(left),
        ];
        waits.into_iter().flatten().min()
    }

    fn go_on(&mut self) {
        let now = Instant::now();
        if self.again.is_some_and(|again| again <= now) {
            self.again = None;
            match self.shared.reopen() {
                Ok(()) => self.rest = Duration::ZERO,
                Err(trouble) => self.meet(trouble),
            }
        } else if self.due.is_some_and(|due| due <= now) {
            self.write();
        } else {
            self.remove_some(now);
        }
    }

    /// Removes a few verdicts of other rule sets, if it is time.
    fn remove_some(&mut self, now: Instant) {
        let due = self.removing.filter(|(_, when)| *when <= now);
        if let Some((rules, _)) = due.filter(|_| self.again.is_none()) {
            self.removing = Some((rules, now + REMOVE_PAUSE));
            let removed = self.with(|database| tables::remove_others(database, &rules, REMOVE_MAX));
            if let Some(removed) = removed {
                self.shared.counts.removed.add(removed);
                if removed == 0 {
                    self.removing = None;
                }
            }
        }
    }

    fn gather(&mut self, key: [u8; KEY_BYTES], record: Vec<u8>) {
        let gather = self.shared.settings.gather;
        self.due.get_or_insert_with(|| Instant::now() + gather);
        self.batch.push((key, record));
        // Orders that keep coming must not keep it from being written.
        let now = Instant::now();
        if self.batch.len() >= BATCH_MAX || self.due.is_some_and(|due| due <= now) {
            self.write();
            // Nor what is old from being removed.
            self.remove_some(now);
        }
    }

    fn write(&mut self) {
        self.due = None;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        let most = self.shared.settings.entries_max;
        let counts = &self.shared.counts;
        match self.with(|database| tables::put(database, &batch, most)) {
            Some(removed) => {
                counts.local_kept.add(batch.len() as u64);
                counts.removed.add(removed);
            }
            None => counts.dropped.add(batch.len() as u64),
        }
    }

    /// Works with the file if it can be used.
    fn with<T>(&mut self, work: impl FnOnce(&Database) -> Result<T, Trouble>) -> Option<T> {
        let done = {
            let open = self.shared.open.read();
            let database = open.database.as_ref()?;
            guarded(|| work(database))
        };
        match done {
            Ok(done) => Some(done),
            Err(trouble) => {
                self.shared.counts.local_failed.one();
                self.meet(trouble);
                None
            }
        }
    }

    /// Closes the file, sets it aside if it is damaged, and tries it again: a damaged one at once.
    fn meet(&mut self, trouble: Trouble) {
        let shared = self.shared;
        close(shared.open.write().database.take());
        let file: &PathBuf = &shared.settings.file;
        let cause = match trouble {
            Trouble::Damaged(cause) => match shared.set_aside(&cause) {
                Ok(()) if self.rest.is_zero() => {
                    self.rest = REST_MIN;
                    self.again = Some(Instant::now());
                    return;
                }
                // Damaged again, at once: not so fast.
                Ok(()) => cause,
                Err(cause) => cause.to_string(),
            },
            other => other.to_string(),
        };
        self.rest = (self.rest * 2).clamp(REST_MIN, REST_MAX);
        self.again = Some(Instant::now() + self.rest);
        shared.teller.say(Wrong::LocalFailed, || {
            let file = file.display();
            format!("the verdicts in {file} cannot be used: {cause}; files are scanned instead")
        });
    }
}
