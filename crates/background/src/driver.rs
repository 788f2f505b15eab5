use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use ports::{Clock, Leases};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use usecases::{BackgroundStatus, Blocking, Observer};
use uuid::Uuid;

use crate::schedule::{Schedule, jittered};
use crate::task::{Next, Task, TaskError};

/// How soon a replica without the lease asks for it again: that with the lease may have been killed.
const LEASE_RETRY: Duration = Duration::from_secs(5 * 60);

/// What a [`Driver`] works with.
#[derive(Clone)]
pub struct DriverParts {
    /// Where replicas agree on who has a task's rounds.
    pub leases: Blocking<dyn Leases>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What became of the rounds.
    pub status: Arc<BackgroundStatus>,
    /// Who is told of failures.
    pub observer: Arc<dyn Observer>,
}

/// Has the rounds of tasks, until it is stopped. Must live in an async runtime.
pub struct Driver {
    parts: DriverParts,
    /// Tells this driver from those of other replicas.
    holder: Uuid,
    stopping: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Driver {
    /// Without tasks.
    #[must_use]
    pub fn new(parts: DriverParts) -> Self {
        Self { parts, holder: new_holder(), stopping: watch::channel(false).0, tasks: JoinSet::new() }
    }

    /// Begins with the rounds of a task; the first one is at once. Who notifies `wake_up` wakes the task for the next one.
    /// After a failure its pause is kept all the same.
    pub fn start<T: Task>(&mut self, task: T, schedule: Schedule, wake_up: Arc<Notify>) {
        self.parts.status.expect(T::NAME);
        let rounds = Rounds {
            parts: self.parts.clone(),
            holder: self.holder,
            schedule,
            wake_up,
            stopping: self.stopping.subscribe(),
            task,
        };
        self.tasks.spawn(rounds.run());
    }

    /// Begins no more rounds, and waits for those under way, but not longer than this. Returns whether all have ended;
    /// others are dropped where they are.
    pub async fn stop(mut self, patience: Duration) -> bool {
        self.stopping.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(patience, ended).await.is_ok()
    }
}

#[expect(clippy::disallowed_methods, reason = "no other replica may have the same; nothing is decided by its value")]
fn new_holder() -> Uuid {
    Uuid::new_v4()
}

/// The rounds of one task.
struct Rounds<T> {
    parts: DriverParts,
    holder: Uuid,
    schedule: Schedule,
    wake_up: Arc<Notify>,
    stopping: watch::Receiver<bool>,
    task: T,
}

impl<T: Task> Rounds<T> {
    async fn run(mut self) {
        let mut failures = 0;
        while !*self.stopping.borrow() {
            let pause = match self.round().await {
                Ok(Some(Next::AtOnce)) => {
                    failures = 0;
                    continue;
                }
                Ok(Some(Next::AfterPeriod)) => {
                    failures = 0;
                    jittered(self.schedule.period)
                }
                Ok(Some(Next::Within(pause))) => {
                    failures = 0;
                    pause.min(jittered(self.schedule.period))
                }
                Ok(None) => {
                    failures = 0;
                    jittered(self.schedule.period.min(LEASE_RETRY))
                }
                Err(error) => {
                    failures += 1;
                    self.parts.status.failed(T::NAME);
                    self.parts.observer.task_failed(T::NAME, &*error, failures);
                    jittered(self.schedule.back_off(failures))
                }
            };
            tokio::select! {
                _ = self.stopping.wait_for(|stopping| *stopping) => {}
                () = tokio::time::sleep(pause) => {}
                () = self.wake_up.notified(), if failures == 0 => {}
            }
        }
        self.task.stop().await;
        self.release().await;
    }

    /// One round; `None` if another replica has the lease. A panic is a failure.
    async fn round(&self) -> Result<Option<Next>, TaskError> {
        if !self.acquire().await? {
            return Ok(None);
        }
        let ran = AssertUnwindSafe(self.task.run()).catch_unwind().await;
        let next = ran.unwrap_or_else(|_| Err("the task panicked".into()))?;
        self.parts.status.succeeded(T::NAME, self.parts.clock.now());
        Ok(Some(next))
    }

    async fn acquire(&self) -> Result<bool, TaskError> {
        let Some(lease) = self.schedule.lease else { return Ok(true) };
        let holder = self.holder;
        Ok(self.parts.leases.run(move |leases| leases.acquire(T::NAME, holder, lease)).await??)
    }

    /// Lets another replica have the next round. If that fails, the lease ends by itself.
    async fn release(&self) {
        if self.schedule.lease.is_some() {
            let holder = self.holder;
            let _ = self.parts.leases.run(move |leases| leases.release(T::NAME, holder)).await;
        }
    }
}
