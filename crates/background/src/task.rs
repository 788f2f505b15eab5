use std::error::Error;
use std::time::Duration;

/// Why a round of a task failed. It is tried again.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// When a task wants its next round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At once: there is more to do.
    AtOnce,
    /// After its period, or when it is woken.
    AfterPeriod,
    /// After this time, or when it is woken, but not later than after its period.
    Within(Duration),
}

/// Work that is done again and again, one round at a time.
pub trait Task: Send + Sync + 'static {
    /// What it is called in the log, in metrics and in leases.
    const NAME: &'static str;

    /// Does one round. When the service stops, a round that has begun is waited for, so it must be short.
    ///
    /// # Errors
    /// Nothing is lost: the round is done again, after a pause.
    fn run(&self) -> impl Future<Output = Result<Next, TaskError>> + Send;

    /// Ends what rounds have begun and left under way. There is no round after it.
    fn stop(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
