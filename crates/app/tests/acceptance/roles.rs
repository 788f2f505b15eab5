//! The roles of docs/configuration.md: one that owns the tables, one that serves, one that reads.

use conformance::postgres::ThrowawayDatabase;
use simulator::Request;
use url::Url;

use crate::test_app::{
    Store, assert_problem, assert_settled, callback, command, folder, notification, register, registration, serve,
};

/// A database and its roles, which go with it.
struct Roles {
    database: ThrowawayDatabase,
}

impl Roles {
    fn grant() -> Self {
        let Store::Postgres(database) = Store::postgres() else { unreachable!() };
        let migrated = command(&folder(), &["migrate"], &[("DATABASE_URL", &database.url())]);
        assert!(migrated.status.success(), "{migrated:?}");
        let roles = Self { database };
        let (service, reader) = (roles.name("service"), roles.name("reader"));
        roles.database.execute(&format!(
            "CREATE ROLE {service} LOGIN; CREATE ROLE {reader} LOGIN; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {service}; \
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {service}; \
             REVOKE INSERT, UPDATE, DELETE ON __diesel_schema_migrations FROM {service}; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}"
        ));
        roles
    }

    fn name(&self, role: &str) -> String {
        format!("{}_{role}", self.database.name())
    }

    fn url(&self, role: &str) -> String {
        let mut url = Url::parse(&self.database.url()).expect("a URL");
        url.set_username(&self.name(role)).expect("a name that can be set");
        url.into()
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        let (service, reader) = (self.name("service"), self.name("reader"));
        self.database.execute(&format!("DROP OWNED BY {service}, {reader}; DROP ROLE {service}, {reader}"));
    }
}

#[test]
fn a_role_that_makes_no_tables_serves_once_nothing_is_pending() {
    let roles = Roles::grant();
    let service = serve(&roles.url("service"), &[]);
    let answer = |request: &Request| service.exchange(request).expect("an answer");
    assert_eq!(answer(&register(&registration("p", "o"))).status, 201);
    assert_settled(&answer(&callback(&notification("p", "o", "completed"))), "completed");
    assert_eq!(answer(&Request::get("/readyz")).status, 200);
}

#[test]
fn a_role_that_may_only_read_runs_the_commands_that_only_read() {
    let roles = Roles::grant();
    let owner = roles.database.url();
    let options = ["--payment-id", "p", "--order-id", "o", "--amount", "29.00", "--currency", "EUR"];
    let registering = [&["register", "--method", "webpay"][..], &options].concat();
    let run = |url: &str, arguments: &[&str]| command(&folder(), arguments, &[("DATABASE_URL", url)]);
    assert!(run(&owner, &registering).status.success());
    let reader = roles.url("reader");
    for arguments in [&["payment", "p"][..], &["order", "o"], &["deliveries"], &["events"], &["migrate"]] {
        let ended = run(&reader, arguments);
        assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    }
    let refused = run(&reader, &[&registering[..3], &["--payment-id", "p2"], &options[2..]].concat());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    // It says of itself that it cannot settle.
    let service = serve(&reader, &[]);
    assert_problem(&service.exchange(&Request::get("/readyz")).expect("an answer"), 503, "unavailable");
}
