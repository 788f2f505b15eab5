use std::time::Duration;

use adapters_diesel::{ConnectError, apply_pending};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::CustomizeConnection;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Applies the pending migrations to the database at this URL and names them. Replicas that start together
/// wait for each other here.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate(database_url: &str) -> Result<Vec<String>, ConnectError> {
    let url = with_timeouts(database_url, Duration::from_secs(5));
    let mut connection = PgConnection::establish(&url).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    // The lock ends with the connection. Its number means nothing elsewhere.
    connection
        .batch_execute("SELECT pg_advisory_lock(7265112020)")
        .map_err(|error| ConnectError::Migration(error.into()))?;
    apply_pending(&mut connection, MIGRATIONS).map_err(ConnectError::Migration)
}

/// Bounds how long libpq waits for a host that does not answer, unless the URL says otherwise.
pub(crate) fn with_timeouts(database_url: &str, patience: Duration) -> String {
    let seconds = patience.as_secs().max(2);
    let defaults = [
        ("connect_timeout", seconds.to_string()),
        ("tcp_user_timeout", (seconds * 1000).to_string()),
        ("application_name", "payment-callback".to_owned()),
    ];
    let mut url = database_url.to_owned();
    for (name, value) in defaults {
        if !url.contains(&format!("{name}=")) {
            let separator = if url.contains('?') { '&' } else { '?' };
            url.push_str(&format!("{separator}{name}={value}"));
        }
    }
    url
}

/// How every session of the pool behaves.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) statement_timeout: Duration,
}

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Session {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        let timeout_ms = self.statement_timeout.as_millis();
        connection
            .batch_execute(&format!(
                "SET statement_timeout = {timeout_ms}; \
                 SET idle_in_transaction_session_timeout = {timeout_ms}; \
                 SELECT set_config('synchronous_commit', 'on', false) \
                 WHERE current_setting('synchronous_commit') = 'off'"
            ))
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_added_unless_the_url_has_them() {
        let patience = Duration::from_secs(4);
        assert_eq!(
            with_timeouts("postgres://host/db", patience),
            "postgres://host/db?connect_timeout=4&tcp_user_timeout=4000&application_name=payment-callback"
        );
        assert_eq!(
            with_timeouts("postgres://host/db?connect_timeout=9&application_name=x", patience),
            "postgres://host/db?connect_timeout=9&application_name=x&tcp_user_timeout=4000"
        );
    }
}
