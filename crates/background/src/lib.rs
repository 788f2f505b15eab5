//! Work without a request: one [`Driver`] for all of it, and a small [`Task`] for each kind. What a task does is a use
//! case; when it is done, on which replica, and what becomes of failures is the driver's.

mod announcements;
mod dispatch_events;
mod driver;
mod report_stuck_payments;
mod schedule;
mod task;

pub use announcements::wake_on_announcements;
pub use dispatch_events::DispatchEvents;
pub use driver::{Driver, DriverParts};
pub use report_stuck_payments::ReportStuckPayments;
pub use schedule::Schedule;
pub use task::{Next, Task, TaskError};
