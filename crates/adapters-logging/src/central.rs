//! The queue to the central logging service, the thread that empties it, and what is said of losses.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc as channel};
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Url;
use slog::{Logger, Record, warn};
use tokio::runtime::{self, Runtime};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::DROPPED;
use crate::counts::{Destination, Fate, LogCounts};
use crate::delivery::{Delivery, Waiting};
use crate::fields::Fields;
use crate::wire;

/// Requests under way at a time: where the service is fastest (neighbours.md).
const CONNECTIONS: u32 = 8;

/// How much longer than agreed the thread may take to end.
const ENDING_MAX: Duration = Duration::from_millis(100);

/// Where the central logging service is, and how much trouble it is worth.
#[derive(Debug, Clone)]
pub struct CentralSettings {
    /// Where records are posted to.
    pub url: Url,
    /// Records that may wait.
    pub queue_max: usize,
    /// How long the service may take to answer.
    pub attempt_max: Duration,
    /// How long a record is offered, counted from when it began to wait; but at least once.
    pub offered_for: Duration,
    /// The least time between two reports on losses.
    pub report_every: Duration,
}

impl CentralSettings {
    /// 10,000 records, 5 s for an answer, 5 min for a record, a report every 10 s.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self {
            url,
            queue_max: 10_000,
            attempt_max: Duration::from_secs(5),
            offered_for: Duration::from_secs(300),
            report_every: Duration::from_secs(10),
        }
    }
}

/// Where the writing thread leaves records for the service.
pub(crate) struct CentralQueue {
    service: String,
    sender: mpsc::Sender<Waiting>,
    account: Arc<Account>,
}

impl CentralQueue {
    /// Takes the record if there is room. Never waits, never fails.
    pub(crate) fn offer(&self, record: &Record<'_>, fields: &Fields) {
        // Room first: what is not taken need not be put into form.
        let Ok(place) = self.sender.try_reserve() else {
            return self.account.lose(Fate::Dropped, 1);
        };
        match wire::body(&self.service, record, fields) {
            Ok(body) => {
                self.account.waiting.fetch_add(1, Ordering::SeqCst);
                place.send(Waiting { body, since: Instant::now() });
            }
            Err(_) => self.account.lose(Fate::Refused, 1),
        }
    }
}

/// What became of the records.
pub(crate) struct Account {
    counts: Arc<LogCounts>,
    /// Records that are in the queue or under way.
    waiting: AtomicU64,
    /// Losses that no report has told of.
    dropped: AtomicU64,
    refused: AtomicU64,
    /// Why the last attempt failed that did.
    reason: Mutex<Option<String>>,
    lost: Notify,
}

impl Account {
    /// A record that waited has met its fate.
    pub(crate) fn settle(&self, fate: Fate) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        match fate {
            Fate::Written => self.counts.add(Destination::Central, fate, 1),
            Fate::Dropped | Fate::Refused => self.lose(fate, 1),
        }
    }

    /// An attempt has failed.
    pub(crate) fn failed(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn lose(&self, fate: Fate, count: u64) {
        self.counts.add(Destination::Central, fate, count);
        let unreported = if fate == Fate::Refused { &self.refused } else { &self.dropped };
        unreported.fetch_add(count, Ordering::SeqCst);
        self.lost.notify_one();
    }

    /// Reports losses for ever, but not all the time.
    async fn report_losses(&self, log: &Logger, every: Duration) {
        loop {
            self.lost.notified().await;
            self.report(log);
            sleep(every).await;
        }
    }

    /// Says what was lost since the last report, if anything was.
    fn report(&self, log: &Logger) {
        let (dropped, refused) = (self.dropped.swap(0, Ordering::SeqCst), self.refused.swap(0, Ordering::SeqCst));
        if dropped + refused > 0 {
            let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
            warn!(log, "{DROPPED}"; "destination" => Destination::Central.word(), "count" => dropped + refused,
                "refused" => refused, "error" => reason.unwrap_or_else(|| "too many records at once".to_owned()));
        }
    }
}

/// The sending thread before it starts: it needs a logger, which needs the queue.
pub(crate) struct Starting {
    runtime: Runtime,
    delivery: Delivery,
    account: Arc<Account>,
    queue: mpsc::Receiver<Waiting>,
    report_every: Duration,
}

/// The sending thread.
pub(crate) struct Central {
    finish: watch::Sender<Option<Duration>>,
    ended: channel::Receiver<()>,
}

/// Makes the queue and whatever can fail.
pub(crate) fn prepare(
    settings: CentralSettings,
    service: String,
    counts: Arc<LogCounts>,
) -> io::Result<(Starting, CentralQueue)> {
    let CentralSettings { url, queue_max, attempt_max, offered_for, report_every } = settings;
    let account = Arc::new(Account {
        counts,
        waiting: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        reason: Mutex::new(None),
        lost: Notify::new(),
    });
    let (sender, queue) = mpsc::channel(queue_max);
    // Names are looked up in threads of their own, which can hang for longer than an attempt may take.
    let runtime =
        runtime::Builder::new_current_thread().enable_all().max_blocking_threads(CONNECTIONS as usize).build()?;
    let delivery = Delivery::new(url, attempt_max, offered_for)?;
    let starting = Starting { runtime, delivery, account: Arc::clone(&account), queue, report_every };
    Ok((starting, CentralQueue { service, sender, account }))
}

impl Starting {
    /// Starts the thread. Its reports go into this log.
    pub(crate) fn start(self, log: Logger) -> io::Result<Central> {
        let (finish, finishing) = watch::channel(None);
        let (ending, ended) = channel::channel::<()>();
        thread::Builder::new().name("log-central".to_owned()).spawn(move || {
            let Self { runtime, delivery, account, queue, report_every } = self;
            runtime.block_on(deliver_all(delivery, &account, queue, report_every, &log, finishing));
            drop(ending);
        })?;
        Ok(Central { finish, ended })
    }
}

impl Central {
    /// Delivers what waits, for at most this long; reports what could not be delivered.
    pub(crate) fn finish(self, patience: Duration) {
        self.finish.send_replace(Some(patience));
        let _ = self.ended.recv_timeout(patience + ENDING_MAX);
    }
}

/// Delivers what comes until it is told to finish, and then what is left.
async fn deliver_all(
    delivery: Delivery,
    account: &Arc<Account>,
    mut queue: mpsc::Receiver<Waiting>,
    report_every: Duration,
    log: &Logger,
    mut finishing: watch::Receiver<Option<Duration>>,
) {
    let delivery = Arc::new(delivery);
    let lanes = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let told = finishing.clone();
    let dispatch = async |queue: &mut mpsc::Receiver<Waiting>| {
        while let Ok(lane) = Arc::clone(&lanes).acquire_owned().await
            && let Some(record) = queue.recv().await
        {
            let (delivery, account, told) = (Arc::clone(&delivery), Arc::clone(account), told.clone());
            tokio::spawn(async move {
                let fate = delivery.deliver(record, &account, told).await;
                account.settle(fate);
                drop(lane);
            });
        }
    };
    let mut reporting = pin!(account.report_losses(log, report_every));
    let patience = tokio::select! {
        told = finishing.wait_for(Option::is_some) => told.ok().and_then(|patience| *patience).unwrap_or_default(),
        () = dispatch(&mut queue) => Duration::ZERO,
        () = &mut reporting => Duration::ZERO,
    };
    queue.close();
    let rest = async {
        dispatch(&mut queue).await;
        let _ = lanes.acquire_many(CONNECTIONS).await;
    };
    let _ = timeout(patience, rest).await;
    account.lose(Fate::Dropped, account.waiting.swap(0, Ordering::SeqCst));
    account.report(log);
}
