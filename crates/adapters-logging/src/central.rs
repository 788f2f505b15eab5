//! The queue to the central logging service, and the thread that empties it.

use std::io;
use std::pin::pin;
use std::sync::{Arc, mpsc as channel};
use std::thread;
use std::time::{Duration, Instant};

use outbound::Url;
use slog::{Logger, Record};
use tokio::runtime::{self, Runtime};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::counts::{Disposition, LogCounts, LossCounter};
use crate::fields::Fields;
use crate::sending::{Queued, Sender};
use crate::wire;

/// Requests at the same time: where the service is fastest (neighbours.md).
const CONNECTIONS: u32 = 8;

/// How much longer than `patience` the thread may take to end.
const ENDING_MAX: Duration = Duration::from_millis(100);

/// Where the central logging service is, and the bounds on sending to it.
#[derive(Debug, Clone)]
pub struct CentralSettings {
    /// Where records are posted to.
    pub url: Url,
    /// Records in the queue at most.
    pub queue_max: usize,
    /// How long the service may take to answer.
    pub attempt_max: Duration,
    /// How long a record is offered, counted from when it was queued; at least one attempt is made.
    pub offered_for: Duration,
    /// The least time between two reports of losses.
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

/// The queue, as the writing thread sees it.
pub(crate) struct CentralQueue {
    service: String,
    queue: mpsc::Sender<Queued>,
    losses: Arc<LossCounter>,
}

impl CentralQueue {
    /// Queues the record if there is room. Never waits, never fails.
    pub(crate) fn offer(&self, record: &Record<'_>, fields: &Fields) {
        // Room first: a record that is dropped need not be serialized.
        let Ok(permit) = self.queue.try_reserve() else {
            return self.losses.not_queued(Disposition::Dropped);
        };
        match wire::body(&self.service, record, fields) {
            Ok(body) => {
                self.losses.queued();
                permit.send(Queued { body, since: Instant::now() });
            }
            Err(_) => self.losses.not_queued(Disposition::Refused),
        }
    }
}

/// The sending thread before it starts: it needs a logger, which needs the queue.
pub(crate) struct Prepared {
    runtime: Runtime,
    sender: Sender,
    losses: Arc<LossCounter>,
    queue: mpsc::Receiver<Queued>,
    report_every: Duration,
}

/// The sending thread.
pub(crate) struct Central {
    finish: watch::Sender<Option<Duration>>,
    ended: channel::Receiver<()>,
}

/// Makes the queue and all that can fail.
pub(crate) fn prepare(
    settings: CentralSettings,
    service: String,
    counts: Arc<LogCounts>,
) -> io::Result<(Prepared, CentralQueue)> {
    let CentralSettings { url, queue_max, attempt_max, offered_for, report_every } = settings;
    let losses = Arc::new(LossCounter::new(counts));
    let (queue, queued) = mpsc::channel(queue_max);
    // Names are resolved in threads of their own, which can hang for longer than an attempt may take.
    let runtime =
        runtime::Builder::new_current_thread().enable_all().max_blocking_threads(CONNECTIONS as usize).build()?;
    let sender = Sender::new(url, attempt_max, offered_for)?;
    let prepared = Prepared { runtime, sender, losses: Arc::clone(&losses), queue: queued, report_every };
    Ok((prepared, CentralQueue { service, queue, losses }))
}

impl Prepared {
    /// Starts the thread. Its reports go into this log.
    pub(crate) fn start(self, log: Logger) -> io::Result<Central> {
        let (finish, finishing) = watch::channel(None);
        let (ending, ended) = channel::channel::<()>();
        thread::Builder::new().name("log-central".to_owned()).spawn(move || {
            let Self { runtime, sender, losses, queue, report_every } = self;
            runtime.block_on(send_all(sender, &losses, queue, report_every, &log, finishing));
            drop(ending);
        })?;
        Ok(Central { finish, ended })
    }
}

impl Central {
    /// Sends what is queued, for at most this long, and reports what could not be sent.
    pub(crate) fn finish(self, patience: Duration) {
        self.finish.send_replace(Some(patience));
        let _ = self.ended.recv_timeout(patience + ENDING_MAX);
    }
}

/// Sends records until it is told to finish, and then what is left in the queue.
async fn send_all(
    sender: Sender,
    losses: &Arc<LossCounter>,
    mut queue: mpsc::Receiver<Queued>,
    report_every: Duration,
    log: &Logger,
    mut finishing: watch::Receiver<Option<Duration>>,
) {
    let sender = Arc::new(sender);
    let permits = Arc::new(Semaphore::new(CONNECTIONS as usize));
    let finishing_too = finishing.clone();
    let dispatch = async |queue: &mut mpsc::Receiver<Queued>| {
        while let Ok(permit) = Arc::clone(&permits).acquire_owned().await
            && let Some(record) = queue.recv().await
        {
            let (sender, losses, finishing) = (Arc::clone(&sender), Arc::clone(losses), finishing_too.clone());
            tokio::spawn(async move {
                let disposition = sender.send(record, &losses, finishing).await;
                losses.settled(disposition);
                drop(permit);
            });
        }
    };
    let mut reporting = pin!(losses.report_losses(log, report_every));
    let patience = tokio::select! {
        told = finishing.wait_for(Option::is_some) => told.ok().and_then(|patience| *patience).unwrap_or_default(),
        () = dispatch(&mut queue) => Duration::ZERO,
        () = &mut reporting => Duration::ZERO,
    };
    queue.close();
    let rest = async {
        dispatch(&mut queue).await;
        let _ = permits.acquire_many(CONNECTIONS).await;
    };
    let _ = timeout(patience, rest).await;
    losses.abandoned();
    losses.report(log);
}
