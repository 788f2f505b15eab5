//! A pooler between the service and PostgreSQL.

use simulator::Request;

use crate::servers::Pooler;
use crate::test_app::{Store, assert_settled, callback, command, folder, notification, register, registration, serve};

fn pooled(store: &Store, pool_mode: &str) -> (Pooler, String) {
    let server = url::Url::parse(&store.url()).expect("a URL");
    let pooler = Pooler::start(&server, pool_mode);
    let url = pooler.url(&server);
    (pooler, url)
}

#[test]
fn a_pooler_of_transactions_is_refused_before_anything_is_left_there() {
    let store = Store::postgres();
    let (_pooler, url) = pooled(&store, "transaction");
    let environment = [("DATABASE_URL", &*url), ("PAYMENT_API_KEY", "k"), ("BIND_ADDRESS", "127.0.0.1:0")];
    for arguments in [&["serve"][..], &["migrate"], &["deliveries"], &["payment", "p"]] {
        let ended = command(&folder(), arguments, &environment);
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{error}");
        assert!(error.lines().count() == 1 && error.contains("DATABASE_URL") && error.contains("pool"), "{error}");
    }
    let left = "EXISTS (SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory' \
                AND datname = current_database())";
    assert!(!store.holds(left));
    assert!(!store.holds("to_regclass('__diesel_schema_migrations') IS NOT NULL"));
    let directly = command(&folder(), &["migrate"], &[("DATABASE_URL", &store.url()), ("DATABASE_WAIT_S", "5")]);
    assert!(directly.status.success(), "{directly:?}");
}

#[test]
fn a_pooler_of_sessions_will_do() {
    let store = Store::postgres();
    let (_pooler, url) = pooled(&store, "session");
    let service = serve(&url, &[]);
    let answer = |request: &Request| service.exchange(request).expect("an answer");
    assert_eq!(answer(&register(&registration("p", "o"))).status, 201);
    assert_settled(&answer(&callback(&notification("p", "o", "completed"))), "completed");
    assert_eq!(answer(&Request::get("/readyz")).status, 200);
}
