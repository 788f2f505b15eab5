use std::time::Duration;

use adapters_diesel::schema::__diesel_schema_migrations as schema_migrations;
use adapters_diesel::{ConnectError, StorageError, apply_pending, compare_schema};
use diesel::connection::SimpleConnection as _;
use diesel::dsl::{select, sql};
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use ports::LedgerError;

use crate::address::{Address, Purpose};
use crate::sessions::{Session, Sessions};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// How long a server may take for an answer while there is no ledger yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long applying migrations may take: they may rewrite tables of any size.
const MIGRATING_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Applies the pending migrations to the database at this URL and names them; only reads if none is pending.
/// Replicas that start together wait for each other here, at most for `wait`.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate(database_url: &str, wait: Duration) -> Result<Vec<String>, ConnectError> {
    migrate_with(database_url, wait, MIGRATIONS)
}

/// As [`migrate`], with other migrations than those of this program.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate_with(
    database_url: &str,
    wait: Duration,
    migrations: impl MigrationSource<Pg>,
) -> Result<Vec<String>, ConnectError> {
    let mut session = unshared_session(database_url, Purpose::Writing)?;
    // A URL that asks for any session may name a standby, or a primary that is to become one.
    if session.run(PATIENCE, holds("current_setting('transaction_read_only')::boolean"))? {
        return Err(ConnectError::OutOfReach("the database is read-only".into()));
    }
    // Ids and words are any Unicode; another encoding could not hold them all.
    if !session.run(PATIENCE, holds("current_setting('server_encoding') = 'UTF8'"))? {
        return Err(ConnectError::Migration("the database's encoding must be UTF8".into()));
    }
    match compare_schema(&migrations, &session.run(PATIENCE, applied_migrations)?) {
        Ok(()) => Ok(Vec::new()),
        Err(LedgerError::Outdated { .. }) => {
            let migrate = |connection: &mut PgConnection| {
                connection.transaction(|connection| {
                    // Its number means nothing elsewhere.
                    let wait_ms = wait.as_millis().max(1);
                    connection.batch_execute(&format!(
                        "SET LOCAL lock_timeout = {wait_ms}; SELECT pg_advisory_xact_lock(7265112020)"
                    ))?;
                    apply_pending(connection, migrations).map_err(ConnectError::Migration)
                })
            };
            let (applied, _) = session.within(wait + MIGRATING_MAX, migrate);
            applied
        }
        Err(error) => Err(ConnectError::Migration(error.into())),
    }
}

/// Finds out whether sessions at this URL can be relied on, without leaving anything in them.
///
/// # Errors
/// [`ConnectError::SharedSessions`] if not.
pub fn check_sessions(database_url: &str) -> Result<(), ConnectError> {
    unshared_session(database_url, Purpose::Reading).map(drop)
}

/// A session that is this program's alone. A pooler that gives a connection to whichever transaction comes next would
/// give settings and prepared statements to others as well.
fn unshared_session(database_url: &str, purpose: Purpose) -> Result<Session, ConnectError> {
    let sessions = Sessions::new(Address::new(database_url, purpose, PATIENCE), PATIENCE);
    let (mut session, mut other) = (sessions.open()?, sessions.open()?);
    let backends = (session.run(PATIENCE, backend)?, other.run(PATIENCE, backend)?);
    // A pooler hands out the connection that came back last, so who asks first takes turns: in one order alone, each
    // could get its own again by chance.
    for _ in 0..2 {
        let (others, own) = backends_within(&mut other, &mut session)?;
        if backends.0 == backends.1
            || (own, others) != backends
            || backends_within(&mut session, &mut other)? != backends
        {
            return Err(ConnectError::SharedSessions);
        }
    }
    Ok(session)
}

/// The processes that two sessions lead to while the first is in a transaction, so that they cannot be the same.
fn backends_within(first: &mut Session, second: &mut Session) -> Result<(i32, i32), StorageError> {
    first.run(2 * PATIENCE, |first| first.transaction(|first| Ok((backend(first)?, second.run(PATIENCE, backend)?))))
}

/// The process of the server that a connection leads to.
fn backend(connection: &mut PgConnection) -> Result<i32, StorageError> {
    Ok(select(sql::<Integer>("pg_backend_pid()")).get_result(connection)?)
}

fn holds(condition: &'static str) -> impl Fn(&mut PgConnection) -> Result<bool, StorageError> {
    move |connection| Ok(select(sql::<Bool>(condition)).get_result(connection)?)
}

/// The versions of the migrations that were applied.
pub(crate) fn applied_migrations(connection: &mut PgConnection) -> Result<Vec<String>, StorageError> {
    if holds("to_regclass('__diesel_schema_migrations') IS NULL")(connection)? {
        return Ok(Vec::new());
    }
    Ok(schema_migrations::table.select(schema_migrations::version).load(connection)?)
}
