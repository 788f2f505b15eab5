use std::time::Duration;

use adapters_diesel::{ConnectError, apply_pending};
use diesel::connection::SimpleConnection as _;
use diesel::dsl::{select, sql};
use diesel::prelude::*;
use diesel::r2d2::CustomizeConnection;
use diesel::sql_types::Bool;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Applies the pending migrations to the database at this URL and names them. Replicas that start together
/// wait for each other here, at most for `wait`.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate(database_url: &str, wait: Duration) -> Result<Vec<String>, ConnectError> {
    let url = with_timeouts(database_url, Duration::from_secs(5));
    let mut connection = PgConnection::establish(&url).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    // Ids and words are any Unicode; another encoding could not hold them all.
    let utf8 = sql::<Bool>("current_setting('server_encoding') = 'UTF8'");
    if !select(utf8).get_result(&mut connection).map_err(|error| ConnectError::OutOfReach(error.into()))? {
        return Err(ConnectError::Migration("the database's encoding must be UTF8".into()));
    }
    // The lock ends with the connection. Its number means nothing elsewhere.
    let wait_ms = wait.as_millis().max(1);
    connection
        .batch_execute(&format!("SET lock_timeout = {wait_ms}; SELECT pg_advisory_lock(7265112020)"))
        .map_err(|error| ConnectError::OutOfReach(error.into()))?;
    apply_pending(&mut connection, MIGRATIONS).map_err(ConnectError::Migration)
}

/// Bounds how long libpq waits for a host that does not answer, unless the URL says otherwise.
pub(crate) fn with_timeouts(database_url: &str, patience: Duration) -> String {
    let seconds = patience.as_secs().max(2);
    let defaults = [
        ("connect_timeout", seconds.to_string()),
        ("tcp_user_timeout", (seconds * 1000).to_string()),
        // A server that has vanished behind a query it has taken is noticed by these alone.
        ("keepalives_idle", "5".to_owned()),
        ("keepalives_interval", "2".to_owned()),
        ("keepalives_count", "3".to_owned()),
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

/// The longest that a session waits for a lock. A commit of another replica rarely takes so long, a console often longer.
const LOCK_TIMEOUT_MS_MAX: u128 = 250;

/// How every session of the pool behaves.
#[derive(Debug)]
pub(crate) struct Session {
    /// The longest that one statement may take.
    pub(crate) patience: Duration,
}

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Session {
    fn on_acquire(&self, connection: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        let timeout_ms = self.patience.as_millis();
        // Far less than a statement: a batch that waits for another session's lock goes on without what is locked.
        let lock_timeout_ms = timeout_ms.div_ceil(4).min(LOCK_TIMEOUT_MS_MAX);
        // Every statement here looks up keys, so one plan serves all; planning the one that stores takes longer than the
        // statement itself. Such a plan may be made while the tables are small, and must not read all of them when they
        // are not. What these settings leave of that ends as autovacuum looks at the tables: then plans are made anew.
        connection
            .batch_execute(&format!(
                "SET plan_cache_mode = force_generic_plan; \
                 SET enable_seqscan = off; \
                 SET enable_hashjoin = off; \
                 SET enable_mergejoin = off; \
                 SET statement_timeout = {timeout_ms}; \
                 SET lock_timeout = {lock_timeout_ms}; \
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
            "postgres://host/db?connect_timeout=4&tcp_user_timeout=4000&keepalives_idle=5&keepalives_interval=2\
             &keepalives_count=3&application_name=payment-callback"
        );
        assert_eq!(
            with_timeouts("postgres://host/db?connect_timeout=9&application_name=x", patience),
            "postgres://host/db?connect_timeout=9&application_name=x&tcp_user_timeout=4000&keepalives_idle=5\
             &keepalives_interval=2&keepalives_count=3"
        );
    }
}
