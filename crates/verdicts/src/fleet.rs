//! The fleet's verdicts, in Redis.
//!
//! Two threads have a connection each: one asks, one puts. Who wants a verdict hands the question
//! over and waits for its patience and no longer, whatever the other thread is held up by: looking
//! a name up, connecting, a server that says nothing. After a failure nobody asks for a while.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::record::{self, KEY_BYTES, Key, Verdict};
use crate::redis::{CallError, Connection, Reply};
use crate::secret::Secret;
use crate::tell::{Teller, Wrong};
use crate::url::FleetUrl;
use crate::{Counts, Found};

/// How long a question may wait, unless it is set otherwise.
const PATIENCE: Duration = Duration::from_millis(50);
/// Questions that wait for the thread that asks; one more is not put.
const ASKS_MAX: usize = 256;
/// How long it may take to connect and to be let in. Nobody waits so long.
const CONNECT: Duration = Duration::from_secs(2);
/// How long one verdict may take to be put.
const PUT: Duration = Duration::from_secs(1);

/// The fleet's store.
#[derive(Clone, Debug)]
pub struct FleetSettings {
    /// Where it is.
    pub url: FleetUrl,
    /// The key that all hosts of the fleet have.
    pub secret: Secret,
    /// The longest time that a look-up waits.
    pub patience: Duration,
    /// Records expire after this; whole seconds.
    pub ttl: Duration,
    /// How long nobody asks after a failure; doubles with each further one.
    pub rest_min: Duration,
    /// The longest such time.
    pub rest_max: Duration,
    /// Verdicts that wait to be put; one more is dropped.
    pub queue_max: usize,
}

impl FleetSettings {
    /// The usual numbers.
    #[must_use]
    pub fn new(url: FleetUrl, secret: Secret) -> Self {
        Self {
            url,
            secret,
            patience: PATIENCE,
            ttl: Duration::from_hours(30 * 24),
            rest_min: Duration::from_secs(1),
            rest_max: Duration::from_mins(1),
            queue_max: 1024,
        }
    }
}

struct Ask {
    key: Vec<u8>,
    reply: SyncSender<Result<Reply, CallError>>,
    /// Nobody waits after this.
    end: Instant,
}

enum Put {
    Record(Vec<u8>, Vec<u8>),
    Flush(SyncSender<()>),
}

pub(crate) struct Fleet {
    shared: Arc<Shared>,
    asks: SyncSender<Ask>,
    puts: SyncSender<Put>,
}

struct Shared {
    settings: FleetSettings,
    asking: Breaker,
    putting: Breaker,
    counts: Arc<Counts>,
    teller: Arc<Teller>,
}

impl Fleet {
    pub(crate) fn start(
        settings: FleetSettings,
        counts: &Arc<Counts>,
        teller: &Arc<Teller>,
    ) -> std::io::Result<Self> {
        let (asks, to_ask) = sync_channel(ASKS_MAX);
        let (puts, to_put) = sync_channel(settings.queue_max);
        let shared = Arc::new(Shared {
            asking: Breaker::new(settings.rest_min, settings.rest_max),
            putting: Breaker::new(settings.rest_min, settings.rest_max),
            settings,
            counts: Arc::clone(counts),
            teller: Arc::clone(teller),
        });
        // Nobody waits for these to end: they may hang in a look-up of a name. They end by
        // themselves when nobody can ask them any more.
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("fleet asks".to_owned());
        thread.spawn(move || own.ask_all(&to_ask))?;
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("fleet puts".to_owned());
        thread.spawn(move || own.put_all(&to_put))?;
        Ok(Self { shared, asks, puts })
    }

    pub(crate) fn recall(&self, key: &Key, limit: Duration) -> Found {
        let shared = &self.shared;
        let counts = &shared.counts;
        let now = Instant::now();
        let patience = shared.settings.patience.min(limit);
        // Who has less time does not ask: its haste would be taken for the server's slowness.
        if patience < shared.settings.patience.min(PATIENCE) {
            counts.fleet_rested.one();
            return Found::Nothing;
        }
        let Some(leave) = shared.asking.leave(now) else {
            counts.fleet_rested.one();
            return Found::Nothing;
        };
        let (reply, answer) = sync_channel(1);
        let bytes = key.to_bytes();
        let ask = Ask {
            key: name_of(key),
            reply,
            end: now + patience,
        };
        let said = match self.asks.try_send(ask) {
            Ok(()) => match answer.recv_timeout(patience) {
                Ok(said) => said,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    Err(CallError::Late)
                }
            },
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(CallError::Late),
        };
        match said {
            Ok(reply) => {
                shared.asking.went_well(leave);
                shared.read(&bytes, reply)
            }
            Err(cause) => {
                shared.asking.failed(leave, Instant::now());
                counts.fleet_failed.one();
                shared.say(Wrong::FleetFailed, "was not asked", &cause);
                Found::Nothing
            }
        }
    }

    pub(crate) fn remember(&self, key: &Key, verdict: &Verdict) {
        let secret = &self.shared.settings.secret;
        let Some(record) = record::seal(secret, &key.to_bytes(), verdict) else {
            return;
        };
        if self
            .puts
            .try_send(Put::Record(name_of(key), record))
            .is_err()
        {
            self.shared.counts.dropped.one();
        }
    }

    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let (done, flushed) = sync_channel(1);
        let mut order = Put::Flush(done);
        // The queue may be full.
        while let Err(TrySendError::Full(back)) = self.puts.try_send(order) {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
            order = back;
        }
        let left = end.saturating_duration_since(Instant::now());
        flushed.recv_timeout(left).is_ok()
    }
}

/// The key in Redis: to be read by people, the rule set first.
fn name_of(key: &Key) -> Vec<u8> {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let (rules, hash) = (hex(&key.rules), hex(&key.hash));
    format!("siloscan:1:{rules}:{hash}:{}", key.size).into_bytes()
}

impl Shared {
    fn read(&self, key: &[u8; KEY_BYTES], reply: Reply) -> Found {
        let said = match reply {
            Reply::Nothing => return Found::Nothing,
            // What is not there has no bytes.
            Reply::Bytes(record) if record.is_empty() => return Found::Nothing,
            Reply::Bytes(record) => record::open(&self.settings.secret, key, &record).ok(),
            // Somebody put something else there.
            Reply::Word(_) | Reply::Error(_) => None,
        };
        match said {
            Some(verdict) => Found::Known(verdict),
            None => {
                self.counts.fleet_forged.one();
                self.teller.say(Wrong::FleetForged, || {
                    format!(
                        "a verdict in {} was not made with this fleet's key and is not believed; \
                         see who can write there, and that all hosts have the same key",
                        self.settings.url
                    )
                });
                Found::Nothing
            }
        }
    }

    fn say(&self, wrong: Wrong, what: &str, cause: &CallError) {
        self.teller.say(wrong, || {
            let url = &self.settings.url;
            format!("{url} {what}: {cause}; files are scanned instead, see that it runs")
        });
    }

    fn ask_all(&self, asks: &Receiver<Ask>) {
        let mut connection = None;
        while let Ok(ask) = asks.recv() {
            if Instant::now() >= ask.end {
                continue;
            }
            let said = self.ask(&mut connection, &ask);
            if said.is_err() {
                connection = None;
            }
            // Who asked may be gone.
            let _ = ask.reply.try_send(said);
        }
    }

    fn ask(&self, kept: &mut Option<Connection>, ask: &Ask) -> Result<Reply, CallError> {
        if let Some(connection) = kept {
            match connection.get(&ask.key, ask.end) {
                // It was idle for long, or the server began anew.
                Err(CallError::Closed) => *kept = None,
                said => return refused(said),
            }
        }
        // Longer than anybody waits: the next one finds a connection then.
        let connection = kept.insert(Connection::open(&self.settings.url, CONNECT)?);
        match Instant::now() < ask.end {
            true => refused(connection.get(&ask.key, ask.end)),
            // The connection is good; who asked has given up.
            false => Ok(Reply::Nothing),
        }
    }

    fn put_all(&self, puts: &Receiver<Put>) {
        let mut connection = None;
        while let Ok(put) = puts.recv() {
            match put {
                Put::Flush(done) => {
                    let _ = done.try_send(());
                }
                Put::Record(key, record) => self.put(&mut connection, &key, &record),
            }
        }
    }

    fn put(&self, kept: &mut Option<Connection>, key: &[u8], record: &[u8]) {
        let Some(leave) = self.putting.leave(Instant::now()) else {
            self.counts.dropped.one();
            return;
        };
        let had = kept.is_some();
        let mut said = self.try_put(kept, key, record);
        if had && matches!(said, Err(CallError::Closed)) {
            *kept = None;
            said = self.try_put(kept, key, record);
        }
        match said {
            Ok(()) => {
                self.putting.went_well(leave);
                self.counts.fleet_kept.one();
            }
            Err(cause) => {
                *kept = None;
                self.putting.failed(leave, Instant::now());
                self.counts.fleet_puts_failed.one();
                self.say(Wrong::FleetPutFailed, "did not take a verdict", &cause);
            }
        }
    }

    fn try_put(
        &self,
        kept: &mut Option<Connection>,
        key: &[u8],
        record: &[u8],
    ) -> Result<(), CallError> {
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(Connection::open(&self.settings.url, CONNECT)?),
        };
        connection.set(key, record, self.settings.ttl, Instant::now() + PUT)
    }
}

/// An error of the server is a failure, but for one: what lies under the key is no string.
fn refused(said: Result<Reply, CallError>) -> Result<Reply, CallError> {
    match said {
        Ok(Reply::Error(word)) if word != "WRONGTYPE" => Err(CallError::Refused(word)),
        said => said,
    }
}
