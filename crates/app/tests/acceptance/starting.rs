//! What stops a start, and where settings come from (contract §2).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use simulator::{Proxy, Request, Service};
use tempfile::TempDir;

use crate::test_app::{
    OPERATOR_KEY, PAYMENT_KEY, PORTAL_KEY, PROGRAM, Store, TestApp, assert_problem, callback, command, folder,
    notification, register, registration, serve, word,
};

const SECRET: &str = "marked-secret";

const EXAMPLE: &str = include_str!("../../../../.env.example");

/// All settings, each with its default or an empty value.
fn example_settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    EXAMPLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='))
}

/// Nobody is there, and nobody is asked.
const LOGGING_SERVICE: (&str, &str) = ("LOGGING_SERVICE_URL", "http://127.0.0.1:9");

/// Runs `serve` with a ledger and a key, and these variables in their place.
fn serve_with(changes: &[(&str, &str)]) -> Output {
    let folder = folder();
    let ledger = format!("sqlite://{}", folder.path().join("ledger.sqlite3").display());
    let usual = [("DATABASE_URL", &*ledger), ("PAYMENT_API_KEY", SECRET), ("BIND_ADDRESS", "127.0.0.1:0")];
    command(&folder, &["serve"], &[&usual, changes].concat())
}

/// One line that names the variable and shows no secret, and the code of a bad setting.
#[track_caller]
fn assert_refused(ended: &Output, names: &str) {
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(names), "{names}: {error}");
    let shown = format!("{error}{}", String::from_utf8_lossy(&ended.stdout));
    assert!(!shown.contains("marked"), "{shown}");
}

#[test]
fn a_bad_or_missing_setting_stops_the_start_with_one_line_that_names_it() {
    let whsec = "whsec_bWFya2VkbWFya2VkbWFya2VkbWFya2VkbWFya2Vk";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("PAYMENT_API_KEY", "")], "PAYMENT_API_KEY"),
        (&[("PAYMENT_API_KEY", " , ,")], "PAYMENT_API_KEY"),
        (&[("WEBHOOK_AUTH", "signature")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("WEBHOOK_AUTH", "both")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("WEBHOOK_AUTH", "both"), ("PAYMENT_WEBHOOK_SECRET", whsec), ("PAYMENT_API_KEY", "")], "PAYMENT_API_KEY"),
        (&[("WEBHOOK_AUTH", "signature"), ("PAYMENT_WEBHOOK_SECRET", SECRET)], "PAYMENT_WEBHOOK_SECRET"),
        (&[("WEBHOOK_AUTH", "signature"), ("PAYMENT_WEBHOOK_SECRET", "whsec_")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("WEBHOOK_AUTH", "signature"), ("PAYMENT_WEBHOOK_SECRET", "whsec_marked!")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("WEBHOOK_AUTH", "none")], "WEBHOOK_AUTH"),
        (&[("WEBHOOK_AUTH", "marked")], "WEBHOOK_AUTH"),
        (&[("DATABASE_URL", "mysql://u:marked@localhost/db")], "DATABASE_URL"),
        (&[("DATABASE_URL", "postgres://u:marked@host:port/db")], "DATABASE_URL"),
        (&[("DATABASE_URL", "marked")], "DATABASE_URL"),
        (&[("DATABASE_URL", "sqlite://")], "DATABASE_URL"),
        (&[("DATABASE_URL", "sqlite://:memory:")], "DATABASE_URL"),
        (&[("DATABASE_POOL_SIZE", "marked")], "DATABASE_POOL_SIZE"),
        (&[("DATABASE_POOL_SIZE", "0")], "DATABASE_POOL_SIZE"),
        (&[("DATABASE_WAIT_S", "-1")], "DATABASE_WAIT_S"),
        (&[("BIND_ADDRESS", "marked")], "BIND_ADDRESS"),
        (&[("BIND_ADDRESS", "127.0.0.1:99999")], "BIND_ADDRESS"),
        (&[("BIND_ADDRESS", "203.0.113.1:0")], "BIND_ADDRESS"),
        (&[("RESPONSE_DEADLINE_MS", "0")], "RESPONSE_DEADLINE_MS"),
        (&[("RESPONSE_DEADLINE_MS", "4s")], "RESPONSE_DEADLINE_MS"),
        (&[("BODY_BYTES_MAX", "64k")], "BODY_BYTES_MAX"),
        (&[("INTAKE_QUEUE_MAX", "1.5")], "INTAKE_QUEUE_MAX"),
        (&[("KEEP_ALIVE_S", "99999999999999999999")], "KEEP_ALIVE_S"),
        (&[("PORTAL_EVENTS_URL", "http://localhost")], "PORTAL_EVENTS_SECRET"),
        (&[("PORTAL_EVENTS_URL", "http://localhost"), ("PORTAL_EVENTS_SECRET", "marked")], "PORTAL_EVENTS_SECRET"),
        (&[("PORTAL_EVENTS_URL", "marked"), ("PORTAL_EVENTS_SECRET", whsec)], "PORTAL_EVENTS_URL"),
        (&[("PORTAL_EVENTS_URL", "http://u:marked@localhost"), ("PORTAL_EVENTS_SECRET", whsec)], "PORTAL_EVENTS_URL"),
        (&[("PORTAL_EVENTS_URL", "'http://localhost'"), ("PORTAL_EVENTS_SECRET", whsec)], "PORTAL_EVENTS_URL"),
        (&[("PORTAL_EVENTS_CONCURRENCY", "0")], "PORTAL_EVENTS_CONCURRENCY"),
        (&[("PORTAL_EVENTS_RETRY_S", "5,marked")], "PORTAL_EVENTS_RETRY_S"),
        (&[("PORTAL_EVENTS_RETRY_S", "0")], "PORTAL_EVENTS_RETRY_S"),
        (&[("LOG_LEVEL", "marked")], "LOG_LEVEL"),
        (&[("SERVICE_NAME", "marked name")], "SERVICE_NAME"),
        (&[("LOG_FORMAT", "marked")], "LOG_FORMAT"),
        (&[("LOGGING_SERVICE_URL", "marked")], "LOGGING_SERVICE_URL"),
        (&[("LOGGING_SERVICE_URL", "ftp://marked")], "LOGGING_SERVICE_URL"),
        (&[("LOGGING_SERVICE_URL", "http://u:marked@localhost")], "LOGGING_SERVICE_URL"),
        (&[("LOGGING_SERVICE_URL", "http://marked@localhost")], "LOGGING_SERVICE_URL"),
        (&[("LOGGING_SERVICE_URL", "http://localhost?key=marked")], "LOGGING_SERVICE_URL"),
        (&[("LOGGING_SERVICE_URL", "http://localhost#marked")], "LOGGING_SERVICE_URL"),
        (&[("LOGGING_SERVICE_API_PATH", "marked")], "LOGGING_SERVICE_API_PATH"),
        (&[("LOGGING_SERVICE_API_PATH", "/marked?key=marked")], "LOGGING_SERVICE_API_PATH"),
        (&[("LOGGING_SERVICE_API_PATH", "/marked marked")], "LOGGING_SERVICE_API_PATH"),
        (&[("SERVICE_NAME", "marked/name")], "SERVICE_NAME"),
        // Some tools keep quotes, and no caller would bear such a key.
        (&[("PAYMENT_API_KEY", "\"marked\"")], "PAYMENT_API_KEY"),
        (&[("PAYMENT_API_KEY", "'marked, marked'")], "PAYMENT_API_KEY"),
        (&[("PORTAL_API_KEY", "fine,'marked'")], "PORTAL_API_KEY"),
        (&[("OPERATOR_API_KEY", "marked\"")], "OPERATOR_API_KEY"),
        // What a header cannot hold.
        (&[("PORTAL_API_KEY", "marked\nmarked")], "PORTAL_API_KEY"),
        (&[("OPERATOR_API_KEY", "\u{201c}marked\u{201d}")], "OPERATOR_API_KEY"),
        (&[("PAYMENT_WEBHOOK_SECRET", "'whsec_bWFya2VkbWFya2VkbWFya2VkbWFya2Vk'")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("LOGGING_SERVICE_URL", "\"http://marked\"")], "LOGGING_SERVICE_URL"),
        (&[("LOGGING_SERVICE_URL", "http://marked/'")], "LOGGING_SERVICE_URL"),
        (&[("DATABASE_URL", "'sqlite://marked'")], "DATABASE_URL"),
        // 23 bytes, and the base64 of the same without its end.
        (&[("PAYMENT_WEBHOOK_SECRET", "whsec_AAAA")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("PAYMENT_WEBHOOK_SECRET", "whsec_YW5vdGhlciBzZWNyZXQgb2YgdGVzdHM=")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("PAYMENT_WEBHOOK_SECRET", "whsec_bWFya2VkbWFya2VkbWFya2VkbWFya2VkbW")], "PAYMENT_WEBHOOK_SECRET"),
        // No time will make files of these.
        (&[("DATABASE_URL", "sqlite://marked/")], "DATABASE_URL"),
        (&[("DATABASE_URL", "sqlite://.")], "DATABASE_URL"),
        (&[("DATABASE_URL", "sqlite:///dev/null")], "DATABASE_URL"),
        (&[("DATABASE_URL", "sqlite:// marked")], "DATABASE_URL"),
        // libpq does not know them.
        (&[("DATABASE_URL", "postgres://u:marked@127.0.0.1:1/d?schema=marked")], "schema"),
        (&[("DATABASE_URL", "postgres://u:marked@127.0.0.1:1/d?sslmode=require&pgbouncer=marked")], "pgbouncer"),
        (&[("DATABASE_URL", "postgres://u:marked@127.0.0.1:1/d?sslmode=marked")], "sslmode"),
    ];
    for (changes, names) in cases {
        let started = Instant::now();
        assert_refused(&serve_with(changes), names);
        assert!(started.elapsed() < Duration::from_secs(20), "{names}: it does not wait for the database");
    }
}

#[test]
fn all_bad_settings_are_named_at_once() {
    let bad = [
        ("KEEP_ALIVE_S", "marked"),
        ("BODY_BYTES_MAX", "0"),
        ("WEBHOOK_AUTH", "marked"),
        ("SERVICE_NAME", "marked name"),
        ("LOGGING_SERVICE_URL", "'http://marked'"),
        ("PAYMENT_API_KEY", ""),
        ("PORTAL_API_KEY", "'marked'"),
        ("PAYMENT_WEBHOOK_SECRET", "whsec_marked"),
        ("DATABASE_URL", "sqlite://marked/"),
    ];
    let named = |ended: &Output| {
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.code() == Some(2) && !error.contains("marked"), "{error}");
        let line = |line: &str| line.strip_prefix("payment-callback: ")?.split(' ').next().map(str::to_owned);
        let mut names: Vec<_> = error.lines().map(|text| line(text).expect("a line of the program's")).collect();
        names.sort();
        names
    };
    let mut expected: Vec<_> = bad.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(named(&serve_with(&bad)), expected);

    let options = ["serve", "--keep-alive-s", "marked", "--database-wait-s=marked"];
    let environment = [("BIND_ADDRESS", "marked"), ("PAYMENT_API_KEY", "k")];
    let ended = command(&folder(), &options, &environment);
    assert_eq!(named(&ended), ["BIND_ADDRESS", "DATABASE_WAIT_S", "KEEP_ALIVE_S"]);
    let ended = command(&folder(), &["deliveries"], &[("OUTPUT_JSON", "marked"), ("DATABASE_URL", "marked")]);
    assert_eq!(named(&ended), ["DATABASE_URL", "OUTPUT_JSON"]);
}

#[test]
fn white_space_around_a_value_is_dropped() {
    let folder = folder();
    let ledger = folder.path().join("ledger.sqlite3");
    let url = format!("sqlite://{}", ledger.display());
    let padded = |value: &str, index: usize| {
        let end = ["\n", "\r\n", " ", "\t"][index % 4];
        format!("{end}{value}{end}")
    };
    let not_the_default = BTreeMap::from([
        ("DATABASE_URL", &*url),
        ("PAYMENT_API_KEY", PAYMENT_KEY),
        ("PORTAL_API_KEY", PORTAL_KEY),
        ("OPERATOR_API_KEY", OPERATOR_KEY),
        ("PAYMENT_WEBHOOK_SECRET", crate::authentication::SECRET),
        ("BIND_ADDRESS", "127.0.0.1:0"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FORMAT", "json"),
        ("SERVICE_NAME", "padded"),
        ("LOGGING_SERVICE_URL", "http://127.0.0.1:9"),
        ("PORTAL_EVENTS_URL", "http://127.0.0.1:9"),
        ("PORTAL_EVENTS_SECRET", crate::authentication::SECRET),
    ]);
    let value = |(name, default)| (name, not_the_default.get(name).copied().unwrap_or(default));
    let values: Vec<_> = example_settings().map(value).collect();
    assert!(values.iter().all(|(_, value)| !value.is_empty()), "every setting has a value: {values:?}");
    for turn in 0..4 {
        let values: Vec<_> = values.iter().map(|(name, value)| (*name, padded(value, turn))).collect();
        let service =
            Service::start(Path::new(PROGRAM), folder.path(), values.iter().map(|(name, value)| (*name, &**value)));
        let service = service.expect("a service that listens");
        let registered = service.exchange(&register(&registration("p", "o"))).expect("an answer").status;
        assert_eq!(registered, if turn == 0 { 201 } else { 200 }, "the same ledger each time");
        assert_eq!(
            service.exchange(&Request::get("/api/deliveries").key(OPERATOR_KEY)).expect("an answer").status,
            200
        );
        assert!(service.records().iter().all(|record| record["service"] == "padded"));
    }
    let ledgers = fs::read_dir(folder.path()).expect("a folder").filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name().to_string_lossy().into_owned();
        !name.ends_with("-wal") && !name.ends_with("-shm")
    });
    assert_eq!(ledgers.count(), 1);

    // The same from the file, and in front of the options of a command.
    fs::write(folder.path().join(".env"), format!("DATABASE_URL=' {url} '\nOUTPUT_JSON=\" true \"\n")).expect("a file");
    let listed = command(&folder, &["payment", "p"], &[("DATABASE_URL", " \t\n")]);
    let payment: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(payment["payment"]["paymentId"], "p");
}

#[test]
fn a_variable_that_is_no_text_is_named() {
    for name in ["KEEP_ALIVE_S", "PAYMENT_API_KEY", "SERVICE_NAME"] {
        let ended = Command::new(PROGRAM)
            .arg("serve")
            .current_dir(folder().path())
            .env_clear()
            .env("PAYMENT_API_KEY", "k")
            .env(name, OsStr::from_bytes(b"marked\xff"))
            .output()
            .expect("a program that runs");
        assert_refused(&ended, name);
    }
}

#[test]
fn keys_that_protect_little_are_warned_about_by_name() {
    let warned = |settings: &[(&str, &str)]| {
        let store = Store::sqlite();
        let service = serve(&store.url(), settings);
        let _ = service.wait_for_records(1, |record| record["message"] == "listening");
        let warnings = service.records().into_iter().filter(|record| record["level"] == "warn");
        let told = |record: &Value| ["message", "variable", "key_name"].map(|name| record[name].clone());
        warnings.map(|record| told(&record)).collect::<Vec<_>>()
    };
    // A caller that registers and calls back has one key.
    assert_eq!(warned(&[("PORTAL_API_KEY", PAYMENT_KEY)]), [[json!(null), json!(null), json!(null)]; 0]);
    let short = "a key is short enough to be guessed";
    // SHA-256 of "x" begins like this.
    let short = |variable| [json!(short), json!(variable), json!("k-2d711642")];
    assert_eq!(
        warned(&[("PAYMENT_API_KEY", "x,a-key-that-is-long-enough"), ("OPERATOR_API_KEY", "x")]),
        [
            short("PAYMENT_API_KEY"),
            short("OPERATOR_API_KEY"),
            [json!("an operator's key is another caller's too"), json!("PAYMENT_API_KEY"), json!("k-2d711642")],
        ]
    );
    let shared = warned(&[("OPERATOR_API_KEY", PORTAL_KEY)]);
    assert_eq!(shared.len(), 1, "{shared:?}");
    assert_eq!(shared[0][..2], [json!("an operator's key is another caller's too"), json!("PORTAL_API_KEY")]);
}

#[test]
fn a_name_that_the_central_service_hides_is_warned_about() {
    let store = Store::sqlite();
    let hidden = |settings: &[(&str, &str)]| {
        let service = serve(&store.url(), settings);
        let message = "logging-microservice will not show these records";
        service.records().iter().any(|record| record["message"] == message && record["variable"] == "SERVICE_NAME")
    };
    assert!(hidden(&[LOGGING_SERVICE, ("SERVICE_NAME", "my-Application")]));
    assert!(hidden(&[LOGGING_SERVICE, ("SERVICE_NAME", "ERRORS_of-mine")]));
    assert!(!hidden(&[LOGGING_SERVICE, ("SERVICE_NAME", "callbacks")]));
    assert!(!hidden(&[("SERVICE_NAME", "my-application")]));
}

#[cfg(target_os = "linux")]
#[test]
fn keys_are_not_in_a_core_dump() {
    let store = Store::sqlite();
    let service = serve(&store.url(), &[]);
    let process = format!("/proc/{}", service.pid());
    let limits = fs::read_to_string(format!("{process}/limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    // What belongs to a process that is not dumpable, root alone may read.
    assert_eq!(fs::metadata(format!("{process}/environ")).expect("a file").uid(), 0);
}

#[test]
fn a_port_in_use_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    assert_refused(&serve_with(&[("BIND_ADDRESS", &address)]), "BIND_ADDRESS");
}

#[test]
fn a_folder_that_cannot_hold_the_ledger_stops_the_start() {
    let folder = folder();
    let file = folder.path().join("a-file");
    fs::write(&file, "no folder").expect("a file");
    let url = format!("sqlite://{}/ledger.sqlite3", file.display());
    let ended = serve_with(&[("DATABASE_URL", &url)]);
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!((ended.status.code(), error.lines().count()), (Some(2), 1), "{error}");
    assert!(error.contains("DATABASE_URL"), "{error}");
}

#[test]
fn a_wrong_password_is_not_printed() {
    let Store::Postgres(database) = Store::postgres() else { unreachable!() };
    // A role that may not log in, for where the server asks nobody for a password.
    let mut url = url::Url::parse(&database.url()).expect("a URL");
    url.set_username("nobody_of_this_name").expect("a name that can be set");
    url.set_password(Some("marked-password")).expect("a password that can be set");
    let ended = serve_with(&[("DATABASE_URL", url.as_str()), ("DATABASE_WAIT_S", "0")]);
    let shown = format!("{}{}", String::from_utf8_lossy(&ended.stderr), String::from_utf8_lossy(&ended.stdout));
    assert_eq!(ended.status.code(), Some(1), "{shown}");
    assert!(shown.contains("DATABASE_URL") && !shown.contains("marked"), "{shown}");
}

#[test]
fn a_broken_env_file_stops_the_start() {
    for broken in ["PAYMENT_API_KEY=marked\nthis is no line of it marked\n", "=marked\n", "KEY='marked\n"] {
        let folder = folder();
        fs::write(folder.path().join(".env"), broken).expect("a file");
        assert_refused(&command(&folder, &["serve"], &[]), ".env");
    }
}

#[test]
fn settings_are_read_from_an_env_file_and_the_environment_wins() {
    let folder = folder();
    let ledger = folder.path().join("from-the-file.sqlite3");
    let env = format!(
        "# a comment\nDATABASE_URL=sqlite://{}\nPAYMENT_API_KEY=\"from the file\"\nPORTAL_API_KEY={PORTAL_KEY}\n\
         LOG_LEVEL=debug\nOPERATOR_API_KEY=from-the-file\nSERVICE_NAME=from-the-file\n",
        ledger.display()
    );
    fs::write(folder.path().join(".env"), env).expect("a file");
    let environment = [("SERVICE_NAME", "from-the-environment"), ("OPERATOR_API_KEY", "from-the-environment")];
    let service = simulator::Service::start(crate::test_app::PROGRAM.as_ref(), folder.path(), environment);
    let service = service.expect("a service that listens");
    let answered = |request: Request| service.exchange(&request).expect("an answer").status;
    assert_eq!(answered(callback(&notification("p", "o", "completed"))), 401);
    let body = notification("p", "o", "completed").to_string();
    assert_eq!(answered(Request::post(crate::test_app::WEBHOOK).key("from the file").json(body)), 404);
    assert_eq!(answered(Request::get("/api/orders/o").key(PORTAL_KEY)), 404);
    assert_eq!(answered(Request::get("/api/deliveries").key("from-the-file")), 401);
    assert_eq!(answered(Request::get("/api/deliveries").key("from-the-environment")), 200);
    assert!(service.records().iter().all(|record| record["service"] == "from-the-environment"));
    assert!(ledger.exists());
    // The commands read the same file.
    let listed = command(&folder, &["deliveries", "--json"], &[]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("parked"));
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let folder = folder();
    let env = format!("PAYMENT_API_KEY=k\nPORTAL_API_KEY={PORTAL_KEY}\nOPERATOR_API_KEY=\nLOG_LEVEL=\n");
    fs::write(folder.path().join(".env"), env).expect("a file");
    // With the default address, the tests that run at once would take each other's port.
    let names = example_settings().map(|(name, _)| name).filter(|name| *name != "BIND_ADDRESS");
    let empty = names.chain(["OUTPUT_JSON"]).map(|name| (name, ""));
    let service = simulator::Service::start(crate::test_app::PROGRAM.as_ref(), folder.path(), empty);
    let service = service.expect("a service that listens");
    assert_eq!(service.records()[0]["service"], "payment-callback");
    assert!(folder.path().join("data/payment-callback.sqlite3").exists(), "the default, and its folder");
    let nobody = service.exchange(&Request::get("/api/deliveries").key("")).expect("an answer");
    assert_problem(&nobody, 401, "unauthorized");
    // So it gives way to what the file says.
    let portal = service.exchange(&Request::get("/api/orders/o").key(PORTAL_KEY)).expect("an answer");
    assert_problem(&portal, 404, "not_found");
}

on_both_stores! {
    a_second_start_finds_what_the_first_left,
    processes_that_start_together_all_serve,
    a_start_waits_for_a_database_that_is_not_there_yet,
    a_start_gives_up_on_a_database_that_does_not_come,
    a_start_that_waits_for_its_database_can_be_stopped,
    a_command_that_waits_for_its_database_ends_at_a_signal,
}

fn a_second_start_finds_what_the_first_left(store: Store) {
    let mut app = TestApp::open(store);
    let applied = |app: &TestApp| {
        let records = app.service.records();
        records.iter().filter(|record| record["message"] == "migration applied").count()
    };
    assert_ne!(applied(&app), 0);
    app.expect_payment("p", "o");
    assert_eq!(app.service.stop().expect("an end").code, Some(0));
    app.restart();
    assert_eq!(applied(&app), 0);
    assert_eq!(app.payment("p")["payment"]["status"], "pending");
}

fn processes_that_start_together_all_serve(store: Store) {
    let url = store.url();
    std::thread::scope(|scope| {
        let starting: Vec<_> = (0..3).map(|_| scope.spawn(|| serve(&url, &[]))).collect();
        for service in starting {
            let service = service.join().expect("a service that listens");
            assert_eq!(service.exchange(&Request::get("/readyz")).expect("an answer").status, 200);
        }
    });
}

/// A database that is out of reach until the way to it is cleared.
enum Away {
    File {
        folder: TempDir,
    },
    Server {
        proxy: Proxy,
        url: String,
        #[expect(dead_code, reason = "it goes with this")]
        store: Store,
    },
}

impl Away {
    fn new(store: Store) -> Self {
        match store {
            Store::Sqlite(folder) => {
                // As a volume that is not mounted yet.
                symlink(folder.path().join("volume"), folder.path().join("mounted")).expect("a link");
                Self::File { folder }
            }
            Store::Postgres(_) => {
                let mut url = url::Url::parse(&store.url()).expect("a URL");
                let proxy = Proxy::to((url.host_str().expect("a host"), url.port().unwrap_or(5432))).expect("a path");
                url.set_ip_host(proxy.address().ip()).expect("a host that can be set");
                url.set_port(Some(proxy.address().port())).expect("a port that can be set");
                url.set_password(Some("marked")).expect("a password that can be set");
                proxy.refuse();
                Self::Server { proxy, url: url.into(), store }
            }
        }
    }

    fn url(&self) -> String {
        match self {
            Self::File { folder } => format!("sqlite://{}/mounted/ledger.sqlite3", folder.path().display()),
            Self::Server { url, .. } => url.clone(),
        }
    }

    fn come_back(&self) {
        match self {
            Self::File { folder } => fs::create_dir(folder.path().join("volume")).expect("a folder"),
            Self::Server { proxy, .. } => proxy.mend(),
        }
    }

    fn launch(&self, wait_s: &str) -> Service {
        let url = self.url();
        let settings = [("DATABASE_URL", &*url), ("PAYMENT_API_KEY", "marked"), ("DATABASE_WAIT_S", wait_s)];
        let service = Service::launch(Path::new(PROGRAM), folder().path(), settings).expect("a process");
        let _ = service.wait_for_records(1, |record| record["message"] == "starting");
        service
    }
}

fn a_start_waits_for_a_database_that_is_not_there_yet(store: Store) {
    let away = Away::new(store);
    let mut service = away.launch("60");
    thread::sleep(Duration::from_millis(500));
    away.come_back();
    service.wait_until_it_listens().expect("a service that listens");
    assert_eq!(service.exchange(&Request::get("/readyz")).expect("an answer").status, 200);
}

fn a_start_gives_up_on_a_database_that_does_not_come(store: Store) {
    let away = Away::new(store);
    let started = Instant::now();
    let mut service = away.launch("1");
    let stopped = service.ended(Instant::now()).expect("an end");
    assert_eq!(stopped.code, Some(1));
    assert!(started.elapsed() >= Duration::from_secs(1));
    let lines = service.lines();
    let complaints: Vec<_> = lines.iter().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect();
    assert!(matches!(&complaints[..], [line] if line.contains("DATABASE_URL")), "{lines:#?}");
    assert!(!lines.concat().contains("marked"), "{lines:#?}");
}

fn a_start_that_waits_for_its_database_can_be_stopped(store: Store) {
    let away = Away::new(store);
    for hang in [false, true] {
        if let (true, Away::Server { proxy, .. }) = (hang, &away) {
            proxy.hang();
        }
        for signal in [Service::terminate as fn(&Service) -> io::Result<()>, Service::interrupt, Service::hang_up] {
            let mut service = away.launch("60");
            thread::sleep(Duration::from_millis(500));
            let told = Instant::now();
            signal(&service).expect("a process");
            let stopped = service.ended(told).expect("an end");
            assert!(stopped.code == Some(0) && stopped.took < Duration::from_secs(10), "{stopped:?}");
            assert_eq!(service.lines().len(), service.records().len(), "no complaint");
        }
    }
}

/// Handled, and not only left to the kernel: that spares PID 1 of a container from signals without a handler.
fn a_command_that_waits_for_its_database_ends_at_a_signal(store: Store) {
    let away = Away::new(store);
    for (signal, code) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = Command::new(PROGRAM)
            .arg("migrate")
            .current_dir(folder().path())
            .env_clear()
            .env("DATABASE_URL", away.url())
            .env("DATABASE_WAIT_S", "60")
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        thread::sleep(Duration::from_millis(500));
        let told = Instant::now();
        kill_process(Pid::from_child(&child), signal).expect("a process");
        assert_eq!(child.wait().expect("an end").code(), Some(code));
        assert!(told.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn an_empty_variable_leaves_it_to_the_env_file() {
    let folder = folder();
    let file = format!("SERVICE_NAME=from-the-file\nPAYMENT_API_KEY={PAYMENT_KEY}\nPORTAL_API_KEY={PORTAL_KEY}\n");
    fs::write(folder.path().join(".env"), file).expect("a file");
    let environment = [("SERVICE_NAME", ""), ("PAYMENT_API_KEY", ""), ("PORTAL_API_KEY", "the-other")];
    let service = Service::start(Path::new(PROGRAM), folder.path(), environment).expect("a service that listens");
    let status = |request: Request| service.exchange(&request).expect("an answer").status;
    assert_eq!(status(callback(&notification("p", "o", "completed"))), 404);
    assert_eq!(status(Request::get("/api/orders/o").key(PORTAL_KEY)), 401);
    assert_eq!(status(Request::get("/api/orders/o").key("the-other")), 404);
    assert!(service.records().iter().all(|record| record["service"] == "from-the-file"));
}

#[test]
fn the_example_is_an_env_file_that_needs_a_key_only() {
    let folder = folder();
    let file = folder.path().join(".env");
    fs::write(&file, EXAMPLE).expect("a file");
    let ended = command(&folder, &["serve"], &[]);
    let error = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!((ended.status.code(), &*error), (Some(2), "payment-callback: PAYMENT_API_KEY is not set\n"));
    fs::write(&file, EXAMPLE.replace("PAYMENT_API_KEY=\n", "PAYMENT_API_KEY=k\n")).expect("a file");
    // The address stands in the environment, which wins.
    Service::start(Path::new(PROGRAM), folder.path(), []).expect("a service that listens");
    assert!(folder.path().join("data/payment-callback.sqlite3").is_file());
}

#[test]
fn no_way_to_get_the_database_s_url_wrong_shows_its_password() {
    for url in [
        "postgres://u:marked@@127.0.0.1:1/d",
        "postgres://u:p@marked@127.0.0.1:1/d",
        "postgres://u:marked%zz@127.0.0.1:1/d",
        "postgres://u:marked%@127.0.0.1:1/d",
        "postgres://u:marked%00@127.0.0.1:1/d",
        "postgres://u:p/marked@127.0.0.1:1/d",
        "postgres://u:marked@[::1,h/d",
        "postgres://u:marked@h:1x,h/d",
        "postgres://h/d?marked",
    ] {
        let environment = [("DATABASE_URL", url), ("DATABASE_WAIT_S", "0"), ("PAYMENT_API_KEY", "marked")];
        for arguments in [&["serve"][..], &["deliveries"]] {
            let ended = command(&folder(), arguments, &environment);
            let error = String::from_utf8_lossy(&ended.stderr);
            assert_eq!((ended.status.code(), error.lines().count()), (Some(2), 1), "{url}: {error}");
            assert!(error.contains("DATABASE_URL") && !error.contains("marked"), "{error}");
        }
    }
}

#[test]
fn an_env_file_that_no_variable_can_hold_is_refused() {
    for broken in [&b"A=marked\0"[..], b"A=marked\xff\n"] {
        let folder = folder();
        fs::write(folder.path().join(".env"), broken).expect("a file");
        let ended = command(&folder, &["serve"], &[("PAYMENT_API_KEY", "k")]);
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(".env") && !error.contains("marked"), "{error}");
    }
}

#[test]
fn it_says_where_it_listens() {
    let store = Store::sqlite();
    let service = serve(&store.url(), &[]);
    let listening = &service.wait_for_records(1, |record| record["message"] == "listening")[0];
    let address: SocketAddr = word(&listening["address"]).parse().expect("an address");
    assert!(address.port() != 0 && address == service.address());
    assert_eq!((&listening["level"], &listening["service"]), (&json!("info"), &json!("payment-callback")));
}
