//! Where the facts play: a store, the service on it, and short words for what its callers do.

use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use conformance::postgres::ThrowawayDatabase;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simulator::{Request, Response, Service, percent_encoded};
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-callback");
pub(crate) const WEBHOOK: &str = "/api/payments/webhook";
pub(crate) const PAYMENT_KEY: &str = "the-key-of-the-sender";
pub(crate) const PORTAL_KEY: &str = "the-key-of-the-portal";
pub(crate) const OPERATOR_KEY: &str = "the-key-of-an-operator";

/// A store of its own for one test.
pub(crate) enum Store {
    Sqlite(TempDir),
    Postgres(ThrowawayDatabase),
}

/// What the store's writers wait for, until this goes.
pub(crate) enum LockHeld {
    Sqlite(#[expect(dead_code, reason = "it holds a lock")] SqliteConnection),
    Postgres(#[expect(dead_code, reason = "it holds a lock")] PgConnection),
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    text: String,
}

impl Store {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(folder())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(ThrowawayDatabase::create())
    }

    /// The `DATABASE_URL` that names it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", Self::file(folder)),
            Self::Postgres(database) => database.url(),
        }
    }

    /// Lets everybody who writes wait.
    pub(crate) fn hold(&self) -> LockHeld {
        match self {
            Self::Sqlite(folder) => {
                let mut connection = Self::connect(folder);
                connection.batch_execute("BEGIN IMMEDIATE").expect("a lock");
                LockHeld::Sqlite(connection)
            }
            Self::Postgres(database) => {
                let mut connection = database.connect();
                connection.batch_execute("BEGIN; LOCK TABLE external_payments, orders, deliveries").expect("a lock");
                LockHeld::Postgres(connection)
            }
        }
    }

    /// Runs a statement behind the service's back.
    pub(crate) fn execute(&self, statement: &str) {
        match self {
            Self::Sqlite(folder) => Self::connect(folder).batch_execute(statement),
            Self::Postgres(database) => database.connect().batch_execute(statement),
        }
        .expect("a statement that runs");
    }

    /// Whether this holds in a database of PostgreSQL.
    pub(crate) fn holds(&self, condition: &str) -> bool {
        self.texts(&format!("SELECT ({condition})::text AS text")) == ["true"]
    }

    /// The kinds of the events that the portal must be told, in their order.
    pub(crate) fn events(&self) -> Vec<String> {
        self.texts("SELECT kind AS text FROM events ORDER BY position")
    }

    /// Lets an event be delivered or dead after one attempt.
    pub(crate) fn end_event(&self, id: &str, state: &str) {
        let (column, status, error) = match state {
            "delivered" => ("delivered_at", 204, "NULL"),
            "dead" => ("died_at", 410, "'answered 410'"),
            _ => panic!("{state} is no end"),
        };
        self.execute(&format!(
            "UPDATE events SET {column} = created_at WHERE event_id = '{id}'; \
             INSERT INTO event_attempts (event_id, attempted_at, duration_ms, status, error) \
                SELECT event_id, created_at, 12, {status}, {error} FROM events WHERE event_id = '{id}'; \
             DELETE FROM event_queues WHERE order_key NOT IN \
                (SELECT order_key FROM events WHERE delivered_at IS NULL AND died_at IS NULL)"
        ));
    }

    /// Everything that is stored, as it stands there.
    pub(crate) fn dump(&self) -> String {
        match self {
            Self::Sqlite(folder) => {
                let files = std::fs::read_dir(folder.path()).expect("a folder");
                let contents = files.map(|file| std::fs::read(file.expect("a file").path()).expect("its contents"));
                contents.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
            }
            Self::Postgres(_) => {
                let tables = "SELECT relname::text AS text FROM pg_stat_user_tables";
                let rows = |table: &String| self.texts(&format!("SELECT t::text AS text FROM {table} t")).join("\n");
                self.texts(tables).iter().map(rows).collect()
            }
        }
    }

    /// Lets so many different partial refunds of a payment wait for it.
    pub(crate) fn park_partial_refunds(&self, number: usize, payment: &str, order: &str) {
        let (numbers, id) = self.numbered_ids(number);
        let (received_at, sent_at) = match self {
            Self::Sqlite(_) => {
                ("'2025-01-01 12:00:00+00:00'", "strftime('%Y-%m-%d %H:%M:%S+00:00', 1735732800 + n, 'unixepoch')")
            }
            Self::Postgres(_) => ("now()", "to_timestamp(1735732800 + n)"),
        };
        self.execute(&format!(
            "{numbers} INSERT INTO deliveries \
                (delivery_id, received_at, source, payment_id, order_id, status, event, method, sent_at, outcome) \
             SELECT {id}, {received_at}, 'callback', '{payment}', '{order}', 'completed', 'refunded', 'webpay', \
                {sent_at}, 'parked' FROM numbers; \
             INSERT INTO parked_deliveries (delivery_id, payment_id) SELECT delivery_id, payment_id FROM deliveries"
        ));
    }

    /// Adds so many dead events of a payment, which end with their number.
    pub(crate) fn add_dead_events(&self, number: usize, payment: &str) {
        let (numbers, id) = self.numbered_ids(number);
        self.execute(&format!(
            "{numbers} INSERT INTO events (event_id, kind, order_key, payment_key, created_at, died_at) \
             SELECT {id}, 'payment.failed', order_key, payment_key, created_at, created_at \
                FROM numbers CROSS JOIN external_payments WHERE payment_id = '{payment}'"
        ));
    }

    /// A table `numbers` with a column `n` from 1, and an id that ends with it.
    pub(crate) fn numbered_ids(&self, number: usize) -> (String, &'static str) {
        match self {
            Self::Sqlite(_) => (
                format!(
                    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {number})"
                ),
                "printf('00000000-0000-7000-8000-%012d', n)",
            ),
            Self::Postgres(_) => (
                format!("WITH numbers AS (SELECT generate_series(1, {number}) AS n)"),
                "('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid",
            ),
        }
    }

    pub(crate) fn texts(&self, query: &str) -> Vec<String> {
        let query = diesel::sql_query(query);
        let rows: Vec<TextRow> = match self {
            Self::Sqlite(folder) => query.load(&mut Self::connect(folder)),
            Self::Postgres(database) => query.load(&mut database.connect()),
        }
        .expect("a query that runs");
        rows.into_iter().map(|row| row.text).collect()
    }

    fn file(folder: &TempDir) -> String {
        folder.path().join("ledger.sqlite3").display().to_string()
    }

    fn connect(folder: &TempDir) -> SqliteConnection {
        let mut connection = SqliteConnection::establish(&Self::file(folder)).expect("a database");
        connection.batch_execute("PRAGMA busy_timeout = 30000").expect("a setting");
        connection
    }
}

/// What no output may show: a key, and what is a customer's own in a body. Every callback and every registration
/// of these tests bears the mark.
const UNSPEAKABLE: [&str; 4] = [PAYMENT_KEY, PORTAL_KEY, OPERATOR_KEY, MARK];
const MARK: &str = "the-customer-s-own";

/// What no log may show beside: secrets, signatures, and URLs that may hold a password.
const UNSPEAKABLE_IN_LOGS: [&str; 3] = ["whsec_", "v1,", "postgres://"];

/// The service at its most talkative. When it ends, what it has written is searched for what it may not write.
pub(crate) struct Watched(Service);

impl Deref for Watched {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.0
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself, and a test that has failed has said enough.
        let _ = self.0.kill();
        if !std::thread::panicking() {
            let lines = self.0.lines();
            assert_discreet(&lines, &UNSPEAKABLE);
            assert_discreet(&lines, &UNSPEAKABLE_IN_LOGS);
        }
    }
}

#[track_caller]
fn assert_discreet(lines: &[String], unspeakable: &[&str]) {
    let telling = |line: &&String| unspeakable.iter().any(|word| line.contains(word));
    let telling: Vec<_> = lines.iter().filter(telling).collect();
    assert!(telling.is_empty(), "{telling:#?}");
}

/// The service on a store.
pub(crate) struct TestApp {
    pub(crate) service: Watched,
    pub(crate) store: Store,
}

impl TestApp {
    /// With every kind of key and otherwise the defaults.
    pub(crate) fn open(store: Store) -> Self {
        Self::with(store, &[])
    }

    /// With these settings beside them. An empty one is as good as none.
    pub(crate) fn with(store: Store, settings: &[(&str, &str)]) -> Self {
        let service = serve(&store.url(), settings);
        Self { service, store }
    }

    /// Starts another process on the same store.
    pub(crate) fn another(&self) -> Watched {
        serve(&self.store.url(), &[])
    }

    /// Kills the process, if it still is one, and starts another.
    pub(crate) fn restart(&mut self) {
        self.service.kill().expect("a process that can be killed");
        self.service = self.another();
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        self.service.exchange(request).expect("an answer")
    }

    #[track_caller]
    pub(crate) fn callback(&self, body: &Value) -> Response {
        self.send(&callback(body))
    }

    #[track_caller]
    pub(crate) fn register(&self, body: &Value) -> Response {
        self.send(&register(body))
    }

    /// Registers a payment of 29 euros by WebPay.
    #[track_caller]
    pub(crate) fn expect_payment(&self, payment: &str, order: &str) {
        assert_eq!(self.register(&registration(payment, order)).status, 201);
    }

    #[track_caller]
    pub(crate) fn get(&self, key: &str, target: &str) -> Response {
        self.send(&Request::get(target).key(key))
    }

    #[track_caller]
    pub(crate) fn post(&self, key: &str, target: &str) -> Response {
        self.send(&Request::post(target).key(key))
    }

    /// What the portal sees of a payment.
    #[track_caller]
    pub(crate) fn payment(&self, id: &str) -> Value {
        ok(self.get(PORTAL_KEY, &format!("/api/payments/{}", percent_encoded(id))))
    }

    /// What the portal sees of an order.
    #[track_caller]
    pub(crate) fn order(&self, id: &str) -> Value {
        ok(self.get(PORTAL_KEY, &format!("/api/orders/{}", percent_encoded(id))))
    }

    /// What an operator sees of the audit trail.
    #[track_caller]
    pub(crate) fn deliveries(&self, query: &str) -> Vec<Value> {
        let document = ok(self.get(OPERATOR_KEY, &format!("/api/deliveries{query}")));
        document["deliveries"].as_array().expect("a list").clone()
    }

    /// What an operator sees of the events for the portal.
    #[track_caller]
    pub(crate) fn events(&self, query: &str) -> Vec<Value> {
        let document = ok(self.get(OPERATOR_KEY, &format!("/api/events{query}")));
        document["events"].as_array().expect("a list").clone()
    }

    /// The outcomes of a payment's deliveries, oldest first.
    #[track_caller]
    pub(crate) fn outcomes(&self, payment: &str) -> Vec<String> {
        let deliveries = self.deliveries(&format!("?limit=500&payment={}", percent_encoded(payment)));
        deliveries.iter().rev().map(|delivery| word(&delivery["outcome"])).collect()
    }

    #[track_caller]
    pub(crate) fn assert_order(&self, id: &str, status: &str, paid_by: Option<&str>) {
        let order = &self.order(id)["order"];
        assert_eq!((&order["status"], &order["paidBy"]), (&json!(status), &json!(paid_by)), "{order}");
    }

    /// Runs one of the program's own commands on the same store.
    pub(crate) fn command(&self, arguments: &[&str]) -> Output {
        command(&folder(), arguments, &[("DATABASE_URL", &self.store.url())])
    }
}

/// Starts the service with every kind of key, on this database.
pub(crate) fn serve(database_url: &str, settings: &[(&str, &str)]) -> Watched {
    serve_with(Path::new(PROGRAM), database_url, settings)
}

/// Starts it with this program, which runs it.
pub(crate) fn serve_with(program: &Path, database_url: &str, settings: &[(&str, &str)]) -> Watched {
    let keys = [
        ("LOG_LEVEL", "debug"),
        ("DATABASE_URL", database_url),
        ("PAYMENT_API_KEY", PAYMENT_KEY),
        ("PORTAL_API_KEY", PORTAL_KEY),
        ("OPERATOR_API_KEY", OPERATOR_KEY),
    ];
    // Where it starts is no matter to it, and no .env file is there.
    let service = Service::start(program, folder().path(), keys.into_iter().chain(settings.iter().copied()));
    Watched(service.expect("a service that listens"))
}

/// Runs the program in this folder with these variables and no others.
pub(crate) fn command(folder: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("a program that runs");
    let written = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_discreet(&written, &UNSPEAKABLE);
    output
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A callback that bears the right key.
pub(crate) fn callback(body: &Value) -> Request {
    Request::post(WEBHOOK).key(PAYMENT_KEY).json(marked(body))
}

/// A registration that bears the right key.
pub(crate) fn register(body: &Value) -> Request {
    Request::post("/api/payments").key(PORTAL_KEY).json(marked(body))
}

/// The body with something of a customer's, as real senders have it.
fn marked(body: &Value) -> String {
    let mut body = body.clone();
    if let Value::Object(members) = &mut body {
        members.entry("email").or_insert_with(|| MARK.into());
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.entry("customer").or_insert_with(|| MARK.into());
        }
    }
    body.to_string()
}

/// A payment of 29 euros by WebPay.
pub(crate) fn registration(payment: &str, order: &str) -> Value {
    json!({
        "externalPaymentId": payment, "orderId": order, "amount": "29.00", "currency": "EUR",
        "paymentMethod": "webpay",
    })
}

/// A report on such a payment.
pub(crate) fn notification(payment: &str, order: &str, status: &str) -> Value {
    json!({
        "paymentId": payment, "orderId": order, "status": status, "event": status, "paymentMethod": "webpay",
        "timestamp": "2025-01-01T12:00:00Z",
    })
}

/// Part of such a payment went back, says the sender at this time.
pub(crate) fn partial_refund(payment: &str, order: &str, timestamp: &str) -> Value {
    with(notification(payment, order, "completed"), json!({ "event": "refunded", "timestamp": timestamp }))
}

/// The same with these members, in place of those of the same name.
pub(crate) fn with(mut body: Value, changes: Value) -> Value {
    let (Value::Object(members), Value::Object(changes)) = (&mut body, changes) else {
        panic!("objects are needed");
    };
    members.extend(changes);
    body
}

/// The same without this member.
pub(crate) fn without(mut body: Value, member: &str) -> Value {
    body.as_object_mut().expect("an object").remove(member).expect("a member to leave out");
    body
}

/// The body as a client sends it that compresses.
pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory to write to");
    encoder.finish().expect("memory to write to")
}

/// Likewise, in HTTP's other coding.
pub(crate) fn deflate(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory to write to");
    encoder.finish().expect("memory to write to")
}

/// In hex, as documents show it.
pub(crate) fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text as it stands, without quotes.
#[track_caller]
pub(crate) fn word(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The names of an object's members.
#[track_caller]
pub(crate) fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().map(String::as_str).collect()
}

/// The document of an answer 200.
#[track_caller]
pub(crate) fn ok(response: Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.json());
    response.json()
}

/// The answer says that the callback is settled, with this outcome.
#[track_caller]
pub(crate) fn assert_settled(response: &Response, outcome: &str) {
    let document = response.json();
    assert_eq!(response.status, 200, "{document}");
    assert_eq!((&document["status"], &document["outcome"]), (&json!("success"), &json!(outcome)), "{document}");
}

/// The answer is a problem of this status and code, with all that belongs to one.
#[track_caller]
pub(crate) fn assert_problem(response: &Response, status: u16, code: &str) -> Value {
    let document = response.json();
    assert_eq!((response.status, &document["code"]), (status, &json!(code)), "{document}");
    assert_eq!(document["status"], status);
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert!(["type", "title", "detail"].iter().all(|name| !word(&document[name]).is_empty()), "{document}");
    assert_eq!(response.header("x-request-id"), document["requestId"].as_str());
    assert!(document["requestId"].is_string(), "{document}");
    assert_eq!(response.header("location"), None);
    assert_eq!(response.header("retry-after").is_some(), status == 503);
    document
}

/// The names of the fields that a problem lists, sorted.
#[track_caller]
pub(crate) fn bad_fields(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{problem} lists no errors"));
    assert!(errors.iter().all(|error| !word(&error["reason"]).is_empty()), "{problem}");
    let mut fields: Vec<_> = errors.iter().map(|error| word(&error["field"])).collect();
    fields.sort();
    fields
}
