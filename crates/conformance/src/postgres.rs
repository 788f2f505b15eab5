//! Databases that a test makes and that go with it.

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, PgConnection};
use url::Url;
use uuid::Uuid;

/// A database of its own on the server that `TEST_DATABASE_URL` names. It is dropped with this value,
/// even if others are still connected.
#[derive(Debug)]
pub struct ThrowawayDatabase {
    server: Url,
    name: String,
}

impl ThrowawayDatabase {
    /// Makes an empty one.
    ///
    /// # Panics
    /// If `TEST_DATABASE_URL` is not set, or databases cannot be made there.
    #[must_use]
    pub fn create() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test has no settings but this one")]
        let server = std::env::var("TEST_DATABASE_URL").expect("set TEST_DATABASE_URL or run `make test`");
        let server = Url::parse(&server).expect("TEST_DATABASE_URL is a URL");
        Self::create_on(server, "")
    }

    /// Makes another one just like this one, to which there must be no connection.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::create_on(self.server.clone(), &format!("TEMPLATE {} STRATEGY FILE_COPY", self.name))
    }

    fn create_on(server: Url, options: &str) -> Self {
        let name = new_name();
        execute(server.as_str(), &format!("CREATE DATABASE {name} {options}"));
        Self { server, name }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.into()
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects to it.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn connect(&self) -> PgConnection {
        connect(&self.url())
    }

    /// Runs these statements in it.
    ///
    /// # Panics
    /// If they fail.
    pub fn execute(&self, statements: &str) {
        execute(&self.url(), statements);
    }

    /// Closes all connections to it.
    ///
    /// # Panics
    /// If that fails.
    pub fn end_other_sessions(&self) {
        self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
}

impl Drop for ThrowawayDatabase {
    fn drop(&mut self) {
        // A test that fails must not fail once more here.
        if let Ok(mut connection) = PgConnection::establish(self.server.as_str()) {
            let _ = connection.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "test processes that run at once need different names")]
fn new_name() -> String {
    format!("throwaway_{}", Uuid::now_v7().simple())
}

fn connect(url: &str) -> PgConnection {
    PgConnection::establish(url).expect("a server at TEST_DATABASE_URL")
}

fn execute(url: &str, statements: &str) {
    connect(url).batch_execute(statements).expect("statements that run");
}
