//! The stand-ins as programs, for a shell and for containers: each is a server that prints what it hears.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Request, Response};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;
use simulator::{
    Behaviour, EVENTS_PATH, EventReceiver, HeardEvent, PaymentsService, Server, empty_answer, read_record,
    record_answer, timestamp,
};

const PORTAL_HELP: &str = "\
Needs from the environment:
  PORTAL_EVENTS_SECRET  the whsec_… secret that signs the events; of several, separated by
                        spaces, one is enough";

const PAYMENTS_HELP: &str = "\
Needs from the environment:
  PAYMENT_SERVICE_API_KEY  the key that callers send in X-API-Key
  PAYMENT_API_KEY          with --callback-url: the key that callbacks bear (of several,
                           separated by commas, the first)

Requests of its callers, with the key; 100 a minute of each kind from one address:
  POST /payments/create    makes a payment of {\"orderId\", \"amount\", \"currency\", \"paymentMethod\"}
  GET /payments/{id}       returns it

Requests that make something happen, without the key:
  POST /payments/{id}/complete, /fail, /cancel, /refund or /refund-partially
                           changes the payment and calls back
    ?copies=3              sends three callbacks at the same time; with 0 the callback is lost
    ?delay_ms=500          calls back later, so that callbacks of later changes overtake this one
    ?form=older            calls back as the older version: no key, no method, no metadata, no retry";

/// Stand-ins for the neighbours of payment-callback; each prints what it hears
#[derive(Debug, Parser)]
#[command(name = "simulator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The portal: verifies each event and answers 204
    #[command(after_help = PORTAL_HELP)]
    Portal(Portal),
    /// payments-microservice: makes payments, says how they are, and calls back
    #[command(after_help = PAYMENTS_HELP)]
    Payments(Payments),
    /// logging-microservice: takes records of exactly its form
    Logging(Logging),
}

#[derive(Debug, Args)]
struct Portal {
    /// Where it listens; port 0 is a free one
    #[arg(long, env = "BIND_ADDRESS", value_name = "IP:PORT", default_value = "127.0.0.1:8001")]
    bind_address: SocketAddr,
    /// Answers events with this status, such as 410 or 429 [default: 204, or 500 with --fail]
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..600))]
    answer: Option<u16>,
    /// Adds Retry-After to that answer: seconds, or an HTTP date
    #[arg(long, value_name = "WHEN")]
    retry_after: Option<HeaderValue>,
    /// Answers like that only when an event comes for the first N times, and then 204
    #[arg(long, value_name = "N")]
    fail: Option<usize>,
    /// Never answers
    #[arg(long, conflicts_with_all = ["answer", "retry_after", "fail", "slow_ms"])]
    hang: bool,
    /// Answers after this time, in milliseconds
    #[arg(long, value_name = "MS")]
    slow_ms: Option<u64>,
}

#[derive(Debug, Args)]
struct Payments {
    /// Where it listens; port 0 is a free one
    #[arg(long, env = "BIND_ADDRESS", value_name = "IP:PORT", default_value = "127.0.0.1:8002")]
    bind_address: SocketAddr,
    /// Where it calls back, such as http://127.0.0.1:8080/api/payments/webhook [default: nowhere]
    #[arg(long, env = "CALLBACK_URL", value_name = "URL")]
    callback_url: Option<String>,
}

#[derive(Debug, Args)]
struct Logging {
    /// Where it listens; port 0 is a free one
    #[arg(long, env = "BIND_ADDRESS", value_name = "IP:PORT", default_value = "127.0.0.1:8003")]
    bind_address: SocketAddr,
}

fn main() -> ExitCode {
    let Err(error) = run(Cli::parse());
    eprintln!("simulator: {error}");
    ExitCode::from(if error.kind() == io::ErrorKind::InvalidInput { 2 } else { 1 })
}

fn run(cli: Cli) -> io::Result<Infallible> {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // A process with the id 1 is spared by signals that it does not handle.
        register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
    }
    match cli.command {
        Command::Portal(command) => command.run(),
        Command::Payments(command) => command.run(),
        Command::Logging(command) => command.run(),
    }
}

impl Portal {
    fn run(self) -> io::Result<Infallible> {
        let secrets = variable("PORTAL_EVENTS_SECRET")?;
        let receiver = EventReceiver::new(&secrets.split_whitespace().collect::<Vec<_>>())?;
        let behaviour = match self.slow_ms {
            // Unlike a hanging server, it prints what it hears.
            _ if self.hang => Behaviour::Slow(Duration::MAX),
            Some(slow_ms) => Behaviour::Slow(Duration::from_millis(slow_ms)),
            None => Behaviour::Proper,
        };
        let address = self.bind_address;
        let handler = move |request| match receiver.receive(&request) {
            Ok(event) => {
                let answer = self.answer(&event);
                let status = answer.status();
                let answered = if self.hang { "not answered" } else { status.as_str() };
                say(&format_args!("{}, verified: {answered}", for_people(&event)));
                answer
            }
            Err(refusal) => {
                say(&format_args!("refused, {}: {}", refusal.reason, refusal.status));
                refusal.answer()
            }
        };
        let server = Server::listen(address, handler, behaviour)?;
        say(&format_args!("listening at {}{EVENTS_PATH}", server.url()));
        wait()
    }

    fn answer(&self, event: &HeardEvent) -> Response<Vec<u8>> {
        if self.fail.is_some_and(|fail| event.attempt > fail) {
            return empty_answer(204, &[]);
        }
        let status = self.answer.unwrap_or(if self.fail.is_some() { 500 } else { 204 });
        let mut answer = empty_answer(status, &[]);
        answer.headers_mut().extend(self.retry_after.clone().map(|value| (RETRY_AFTER, value)));
        answer
    }
}

impl Payments {
    fn run(self) -> io::Result<Infallible> {
        let key = variable("PAYMENT_SERVICE_API_KEY")?;
        let service = PaymentsService::listen(self.bind_address, &key, say)?;
        if let Some(url) = &self.callback_url {
            let keys = variable("PAYMENT_API_KEY")?;
            service.calls_back(url, keys.split(',').next().unwrap_or_default().trim())?;
        }
        say(&format_args!("listening at {}", service.url()));
        wait()
    }
}

impl Logging {
    fn run(self) -> io::Result<Infallible> {
        let handler = |request: Request<Vec<u8>>| {
            let record = read_record(&request);
            match &record {
                Ok(record) => say(&format_args!("{} {}", word(&record["level"]), word(&record["message"]))),
                Err(refusal) => say(&format_args!("refused, {}: {}", refusal.reason, refusal.status)),
            }
            record_answer(&record)
        };
        let server = Server::listen(self.bind_address, handler, Behaviour::Proper)?;
        say(&format_args!("listening at {}", server.url()));
        wait()
    }
}

/// The servers run in their own threads, until a signal ends the process.
fn wait() -> ! {
    loop {
        thread::park();
    }
}

fn for_people(event: &HeardEvent) -> String {
    let (kind, data) = (event.kind(), &event.body["data"]);
    let (order, payment) = (word(&data["orderId"]), word(&data["paymentId"]));
    format!("{kind} order={order} payment={payment} event={} attempt={}", event.id, event.attempt)
}

fn word(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or("-")
}

/// Prints a line with the time; what comes from outside cannot break it.
fn say(line: &dyn Display) {
    let line = line.to_string().replace(char::is_control, " ");
    // A server goes on without a reader.
    let _ = writeln!(io::stdout(), "{} {line}", timestamp());
}

/// A secret, which is never an argument.
fn variable(name: &str) -> io::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "only secrets are read here; clap reads the other variables")]
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not set")))
}
