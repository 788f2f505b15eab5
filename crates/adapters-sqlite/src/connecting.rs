use std::path::Path;
use std::time::Duration;

use adapters_diesel::ConnectError;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::CustomizeConnection;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// Applies the pending migrations to the database in this file and names them. The file and its folder are
/// made if absent. Processes that start together wait for each other here.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate(path: &Path) -> Result<Vec<String>, ConnectError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    }
    let mut connection =
        SqliteConnection::establish(&path.to_string_lossy()).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    Session { busy_timeout: Duration::from_secs(30) }
        .on_acquire(&mut connection)
        .map_err(|error| ConnectError::OutOfReach(error.into()))?;
    let applied = connection.run_pending_migrations(MIGRATIONS).map_err(ConnectError::Migration)?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

/// How every connection behaves.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) busy_timeout: Duration,
}

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Session {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        // synchronous=FULL syncs the write-ahead log at every commit: what was answered is on disk.
        connection
            .batch_execute(&format!(
                "PRAGMA busy_timeout = {}; \
                 PRAGMA journal_mode = WAL; \
                 PRAGMA synchronous = FULL; \
                 PRAGMA foreign_keys = ON;",
                self.busy_timeout.as_millis()
            ))
            .map_err(diesel::r2d2::Error::QueryError)
    }
}
