//! What stands in requests, parsed once into the domain's values.

mod fields;
mod json;
mod notification;
mod query;
mod registration;

pub use fields::FieldError;
pub(crate) use notification::NotificationBody;
pub use notification::{InvalidNotification, ValidNotification, read_notification};
pub(crate) use query::{
    DeliveriesParameters, EventsParameters, Page, RedeliveryParameters, RedeliveryQuery, ReplayParameters,
    read_deliveries_query, read_dry_run, read_events_query, read_no_query, read_redelivery_query,
};
pub(crate) use registration::{RegistrationBody, read_registration};
