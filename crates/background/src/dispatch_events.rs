use ports::PortalNotifier;
use usecases::DispatchEvents as UseCase;

use crate::task::{Next, Task, TaskError};

/// Tells the portal of events.
pub struct DispatchEvents<N>(pub UseCase<N>);

impl<N: PortalNotifier> Task for DispatchEvents<N> {
    const NAME: &'static str = "dispatch_events";

    async fn run(&self) -> Result<Next, TaskError> {
        Ok(self.0.dispatch().await?.map_or(Next::AfterPeriod, Next::Within))
    }

    async fn stop(&self) {
        self.0.stop().await;
    }
}
