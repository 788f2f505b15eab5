use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// A port that blocks, for async callers. All that share the permits use so many threads at a time, so that a store
/// that hangs holds up few of them. (Callbacks reach the store through [`GroupCommit`](crate::GroupCommit) instead.)
pub struct Blocking<P: ?Sized> {
    port: Arc<P>,
    permits: Arc<Semaphore>,
}

/// The work panicked, or the runtime ended.
#[derive(Debug, thiserror::Error)]
#[error("the work was interrupted")]
pub struct Interrupted;

impl<P: ?Sized> Clone for Blocking<P> {
    fn clone(&self) -> Self {
        Self { port: Arc::clone(&self.port), permits: Arc::clone(&self.permits) }
    }
}

impl<P: ?Sized + Send + Sync + 'static> Blocking<P> {
    /// The port, with permits that others may share.
    #[must_use]
    pub fn new(port: Arc<P>, permits: Arc<Semaphore>) -> Self {
        Self { port, permits }
    }

    /// Waits for a permit and runs `work` in a thread that may block. Work that has begun is finished even if the
    /// caller is gone.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce(&P) -> T + Send + 'static) -> Result<T, Interrupted> {
        let port = Arc::clone(&self.port);
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Interrupted)?;
        let run = move || {
            let _permit = permit;
            work(&port)
        };
        spawn_blocking(run).await.map_err(|_| Interrupted)
    }
}
