//! Shows the life of a payment: starts the service, replays requests of real senders with the errors that occur in
//! production, reads the results with the service's own commands, and compares what a portal was told. Exits with 0 only
//! if everything was as expected.
//!
//! The ledger is a temporary SQLite file, or the database that `DATABASE_URL` names; there it may run again. Events that
//! wait in that database are sent to the portal of the demonstration.

use std::io;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use serde_json::{Value, json};
use simulator::recorded::{
    MARATHON_COMPLETED, MARATHON_KEY, MARATHON_ORDER, MARATHON_PAYMENT, MARATHON_REGISTER, OLDER_COMPLETED,
};
use simulator::{HeardEvent, Portal, Request, Response, Service, program_beside};
use tempfile::TempDir;

const WEBHOOK: &str = "/api/payments/webhook";

fn main() -> ExitCode {
    match Demo::start().and_then(Demo::run) {
        Ok(wrong) if wrong.is_empty() => {
            println!("\nEverything was as expected.");
            ExitCode::SUCCESS
        }
        Ok(wrong) => {
            eprintln!("\nNot as expected:");
            wrong.iter().for_each(|line| eprintln!("  {line}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nThe demonstration ended early: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Demo {
    service: Service,
    portal: Portal,
    program: PathBuf,
    database_url: String,
    folder: TempDir,
    /// Distinguishes the payments of this run from those of other runs.
    run: String,
    key: String,
    /// What was not as expected.
    wrong: Vec<String>,
}

impl Demo {
    fn start() -> io::Result<Self> {
        let program = program_beside("payment-callback")?;
        let folder = TempDir::with_prefix("payment-callback-demo.")?;
        #[expect(clippy::disallowed_methods, reason = "the demonstration has no settings but this one")]
        let given = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        let on = if given.is_some() { "the database that DATABASE_URL names" } else { "a temporary SQLite file" };
        let file = || format!("sqlite://{}", folder.path().join("demo.sqlite3").display());
        let database_url = given.unwrap_or_else(file);
        let (key, operator_key) = (random()?, random()?);
        let keys = format!("{MARATHON_KEY},{key}");
        // 32 digits of base64.
        let events_secret = format!("whsec_{}", random()?);
        let portal = Portal::start(&[&events_secret])?;
        let events_url = portal.url();
        let settings = [
            ("DATABASE_URL", database_url.as_str()),
            ("PAYMENT_API_KEY", &keys),
            ("PORTAL_API_KEY", &keys),
            ("OPERATOR_API_KEY", &operator_key),
            ("PORTAL_EVENTS_URL", &events_url),
            ("PORTAL_EVENTS_SECRET", &events_secret),
        ];
        let service = Service::start(&program, folder.path(), settings)?;
        println!("The service listens at {}, on {on}.\n", service.address());
        let run = random()?[..8].to_owned();
        Ok(Self { service, portal, program, database_url, folder, run, key, wrong: Vec::new() })
    }

    fn run(mut self) -> io::Result<Vec<String>> {
        let completed_now = self.a_payment_is_registered_and_completed_three_times_at_once()?;
        self.a_late_failure_comes()?;
        let (payment, order) = self.a_notification_comes_before_its_registration()?;
        self.requests_that_are_refused()?;

        println!("\n$ payment-callback order {MARATHON_ORDER}");
        self.show(&["order", MARATHON_ORDER])?;
        let since = self.service.records().iter().find(|record| record["message"] == "listening").cloned();
        let since = since.as_ref().and_then(|record| record["timestamp"].as_str()).unwrap_or_default().to_owned();
        println!("\n$ payment-callback deliveries --since {since}");
        self.show(&["deliveries", "--since", &since])?;

        println!();
        let paid = [(MARATHON_ORDER, MARATHON_PAYMENT), (order.as_str(), payment.as_str())];
        self.orders_are_paid_once(&paid)?;
        self.the_trail_is_complete(&since, completed_now)?;
        self.the_portal_heard_of_each_once(if completed_now { &paid } else { &paid[1..] });
        self.it_stops()?;
        Ok(self.wrong)
    }

    /// Returns whether this completed the payment; an earlier run may have done so.
    fn a_payment_is_registered_and_completed_three_times_at_once(&mut self) -> io::Result<bool> {
        let answer = self.service.replay(MARATHON_REGISTER)?;
        let document = answer.json();
        let known = document["status"] == "exists";
        let expected = if known { (200, "exists") } else { (201, "registered") };
        self.check("a real client registers its payment (recorded bytes)", &answer, "status", expected);

        let open = document["payment"]["status"] != "completed";
        let answers: Vec<Response> = thread::scope(|scope| {
            let senders: Vec<_> = (0..3).map(|_| scope.spawn(|| self.service.replay(MARATHON_COMPLETED))).collect();
            let answer = |sender: thread::ScopedJoinHandle<'_, _>| {
                sender.join().map_err(|_| io::Error::other("a sender panicked"))?
            };
            senders.into_iter().map(answer).collect::<io::Result<_>>()
        })?;
        let mut outcomes: Vec<_> = answers.iter().map(|answer| summary(answer, "outcome")).collect();
        outcomes.sort();
        let first = if open { "200 completed" } else { "200 duplicate" };
        let expected = [first, "200 duplicate", "200 duplicate"];
        let as_expected = outcomes == expected;
        self.note("it reports it completed, three times at once (same)", &outcomes.join(", "), as_expected, || {
            format!("expected {}", expected.join(", "))
        });
        Ok(open)
    }

    fn a_late_failure_comes(&mut self) -> io::Result<()> {
        let late = notification(MARATHON_PAYMENT, MARATHON_ORDER, "failed", "stripe");
        let answer = self.send(&self.key, &late.to_string())?;
        self.check("a late \"failed\" for the same payment", &answer, "outcome", (200, "ignored"));
        Ok(())
    }

    /// Returns the payment and the order.
    fn a_notification_comes_before_its_registration(&mut self) -> io::Result<(String, String)> {
        let (payment, order) = (format!("demo-{}", self.run), format!("demo order {}", self.run));
        let early = notification(&payment, &order, "completed", "webpay");
        let answer = self.send(&self.key, &early.to_string())?;
        self.check("a payment is completed before it is registered", &answer, "code", (404, "payment_not_found"));
        let parked = answer.json()["parked"] == json!(true);
        self.note("… and is kept", if parked { "parked" } else { "lost" }, parked, || "expected parked".to_owned());

        let registration = json!({
            "externalPaymentId": payment, "orderId": order, "amount": "29.90", "currency": "EUR",
            "paymentMethod": "webpay",
        });
        let request = Request::post("/api/payments").key(&self.key).json(registration.to_string());
        let answer = self.service.exchange(&request)?;
        self.check("the portal registers it", &answer, "status", (201, "registered"));
        let applied = &answer.json()["applied"];
        let as_expected = *applied == json!(["completed"]);
        self.note("… which applies what was kept", &applied.to_string(), as_expected, || {
            "expected [\"completed\"]".to_owned()
        });
        Ok((payment, order))
    }

    fn requests_that_are_refused(&mut self) -> io::Result<()> {
        let completed = notification(MARATHON_PAYMENT, MARATHON_ORDER, "completed", "stripe").to_string();
        let answer = self.send("a-wrong-key", &completed)?;
        self.check("the same with a wrong key", &answer, "code", (401, "unauthorized"));
        let answer = self.service.replay(OLDER_COMPLETED)?;
        self.check("an older sender has no key at all (recorded bytes)", &answer, "code", (401, "unauthorized"));
        let answer = self.send(&self.key, &completed[..completed.len() / 2])?;
        self.check("half of a body", &answer, "code", (400, "invalid_payload"));
        let bad = json!({
            "paymentId": "", "status": "completed", "event": "completed", "paymentMethod": "webpay",
            "timestamp": "2026-07-20T10:20:00Z",
        });
        let answer = self.send(&self.key, &bad.to_string())?;
        self.check("a body with a bad and a missing field", &answer, "code", (400, "invalid_payload"));
        let fields: Vec<_> = answer.json()["errors"].as_array().into_iter().flatten().cloned().collect();
        let mut fields: Vec<_> = fields.iter().filter_map(|error| error["field"].as_str()).collect();
        fields.sort_unstable();
        let as_expected = fields == ["orderId", "paymentId"];
        self.note("… and the answer names both", &fields.join(", "), as_expected, || {
            "expected orderId, paymentId".to_owned()
        });
        Ok(())
    }

    fn orders_are_paid_once(&mut self, orders: &[(&str, &str)]) -> io::Result<()> {
        for (order, payment) in orders {
            let document = self.ask(&["order", order, "--json"])?;
            let (status, paid_by) = (&document["order"]["status"], &document["order"]["paidBy"]);
            let as_expected = status == "paid" && paid_by == payment;
            let what = format!("order {}", shortened(order));
            self.note(&what, &format!("{status} by {paid_by}"), as_expected, || format!("expected paid by {payment}"));
        }
        Ok(())
    }

    fn the_trail_is_complete(&mut self, since: &str, completed_now: bool) -> io::Result<()> {
        let document = self.ask(&["deliveries", "--since", since, "--json"])?;
        let entries = document["deliveries"].as_array().cloned().unwrap_or_default();
        let mut outcomes: Vec<_> = entries.iter().filter_map(|entry| entry["outcome"].as_str()).collect();
        outcomes.reverse();
        let mut sorted = outcomes.clone();
        sorted.sort_unstable();
        let first = if completed_now { "completed" } else { "duplicate" };
        let mut expected = [first, "duplicate", "duplicate", "ignored", "parked", "completed", "invalid", "invalid"];
        expected.sort_unstable();
        self.note("the audit trail", &outcomes.join(", "), sorted == expected, || {
            format!("expected {}", expected.join(", "))
        });
        Ok(())
    }

    /// The orders are those that were paid in this run.
    fn the_portal_heard_of_each_once(&mut self, orders: &[(&str, &str)]) {
        let is_about = |event: &HeardEvent, order: &str| event.body["data"]["orderId"] == order;
        let heard =
            self.portal.wait_for_events(orders.len(), |event| orders.iter().any(|(order, _)| is_about(event, order)));
        for (order, payment) in orders {
            let events = heard.iter().filter(|event| is_about(event, order));
            let told: Vec<_> =
                events.map(|event| format!("{} by {}", event.kind(), event.body["data"]["paymentId"])).collect();
            let expected = format!("order.paid by {}", json!(payment));
            let what = format!("the portal hears of order {}", shortened(order));
            self.note(&what, &told.join(", "), told == [expected.as_str()], || format!("expected {expected}, once"));
        }
    }

    fn it_stops(&mut self) -> io::Result<()> {
        let stopped = self.service.stop()?;
        let came = format!("exit code {:?} after {} ms", stopped.code.unwrap_or(-1), stopped.took.as_millis());
        self.note("the service is told to stop", &came, stopped.code == Some(0), || "expected 0".to_owned());
        Ok(())
    }

    fn send(&self, key: &str, body: &str) -> io::Result<Response> {
        self.service.exchange(&Request::post(WEBHOOK).key(key).json(body))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path());
        command.env_clear().env("DATABASE_URL", &self.database_url).stdin(Stdio::null());
        command
    }

    /// Runs a command that prints for people.
    fn show(&mut self, arguments: &[&str]) -> io::Result<()> {
        let status = self.command(arguments).status()?;
        if !status.success() {
            self.wrong.push(format!("payment-callback {}: {status}", arguments[0]));
        }
        Ok(())
    }

    /// Runs a command and parses what it prints for scripts.
    fn ask(&self, arguments: &[&str]) -> io::Result<Value> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output()?;
        serde_json::from_slice(&output.stdout).map_err(io::Error::other)
    }

    fn check(&mut self, what: &str, answer: &Response, field: &str, expected: (u16, &str)) {
        let (status, word) = expected;
        let as_expected = answer.status == status && answer.json()[field] == word;
        self.note(what, &summary(answer, field), as_expected, || format!("expected {status} {word}"));
    }

    fn note(&mut self, what: &str, came: &str, as_expected: bool, expected: impl FnOnce() -> String) {
        let mark = if as_expected { "✓" } else { "✗" };
        println!("{mark} {what:<56} {came}");
        if !as_expected {
            self.wrong.push(format!("{what}: {came}, {}", expected()));
        }
    }
}

fn summary(answer: &Response, field: &str) -> String {
    format!("{} {}", answer.status, answer.json()[field].as_str().unwrap_or("?"))
}

fn shortened(order: &str) -> String {
    order.chars().take(24).collect()
}

fn notification(payment: &str, order: &str, status: &str, method: &str) -> Value {
    json!({
        "paymentId": payment, "orderId": order, "status": status, "event": status, "paymentMethod": method,
        "timestamp": "2026-07-20T10:20:00Z",
    })
}

/// A new random key.
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
