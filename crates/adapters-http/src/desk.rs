//! The one place where async code crosses over to the ledger, which blocks. (Callbacks cross in the intake
//! of the group commit instead.)

use std::sync::Arc;

use actix_web::web;
use ports::{Clock, Connections, Ledger};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Where requests wait for their turn at the ledger: no more at a time than it has connections, so that a
/// ledger that hangs holds up few threads.
#[derive(Clone)]
pub struct Desk {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    turns: Arc<Semaphore>,
}

impl Desk {
    /// A desk with so many turns at a time.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, turns: usize) -> Self {
        Self { ledger, clock, turns: Arc::new(Semaphore::new(turns)) }
    }

    /// How many connections the ledger has open.
    pub(crate) fn connections(&self) -> Connections {
        self.ledger.connections()
    }

    /// Does some work with the ledger. What has begun is finished even if nobody waits for it any more.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Ledger, &dyn Clock) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let Self { ledger, clock, turns } = self.clone();
        let turn = turns.acquire_owned().await.map_err(Problem::processing_error)?;
        web::block(move || {
            let _turn = turn;
            work(&*ledger, &*clock)
        })
        .await
        .map_err(|_| {
            Problem::processing_error(Box::<dyn std::error::Error + Send + Sync>::from("the work was cut off"))
        })
    }
}
