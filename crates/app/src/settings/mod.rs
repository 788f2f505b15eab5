//! Where settings come from: the command line, the environment, a `.env` file, the defaults, in this order.
//! Keys and secrets, and the database's URL that may hold one, come from the environment alone. All of them are read
//! before anything starts, and all that is wrong with them is said at once.

mod database;
mod environment;
mod keys;
mod logging;
mod portal_events;
mod service;
mod values;

pub(crate) use database::{DatabaseUrl, DatabaseWait, database_help, database_url};
pub(crate) use environment::{SettingsError, load_dotenv, trim_variables};
#[cfg(test)]
pub(crate) use keys::VARIABLES;
pub(crate) use keys::{
    Secrets, SenderCredentials, WebhookAuth, portal_events_help, portal_events_secrets, secrets_help,
};
pub(crate) use logging::LoggingSettings;
pub(crate) use portal_events::PortalEventsUrl;
pub(crate) use service::ServiceSettings;
pub(crate) use values::{http_url, whole_number, word_of};
