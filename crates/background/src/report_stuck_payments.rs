use usecases::{Blocking, StuckPayments};

use crate::task::{Next, Task, TaskError};

/// Tells the observer of payments that do not come on by themselves, also where no monitoring is set up.
pub struct ReportStuckPayments(pub Blocking<StuckPayments>);

impl Task for ReportStuckPayments {
    const NAME: &'static str = "report_stuck_payments";

    async fn run(&self) -> Result<Next, TaskError> {
        self.0.run(StuckPayments::report).await??;
        Ok(Next::AfterPeriod)
    }
}
