use std::sync::Arc;
use std::time::Instant;

use domain::Settlement;

use crate::{Callback, Caller, GroupCommit, Observed, ParsedBody, ReceiveError, Subject, UseCases};

/// Receives callbacks: stamps each with its time and has it settled.
pub struct ReceiveNotification {
    intake: Arc<GroupCommit>,
    use_cases: UseCases,
}

impl ReceiveNotification {
    /// Receives into this intake.
    #[must_use]
    pub fn new(intake: Arc<GroupCommit>, use_cases: UseCases) -> Self {
        Self { intake, use_cases }
    }

    /// Settles a callback, or notes that it was invalid. `begun` is when its request came.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub async fn receive(
        &self,
        body: ParsedBody,
        body_sha256: [u8; 32],
        caller: Caller,
        begun: Instant,
    ) -> Result<Settlement, Observed<ReceiveError>> {
        let UseCases { clock, observer, .. } = &self.use_cases;
        observer.received(&body, &caller);
        let (payment_id, order_id) = (body.payment_id().cloned(), body.order_id().cloned());
        let callback = Callback { body, received_at: clock.now(), body_sha256, caller: caller.clone() };
        let settled = self.intake.submit(callback).await;
        let settlement = settled.map_err(|error| {
            let subject = Subject { payment_id: payment_id.as_ref(), order_id: order_id.as_ref() };
            self.use_cases.observed(subject, error, &caller, begun)
        })?;
        observer.settled(&settlement, begun.elapsed());
        Ok(settlement)
    }
}
