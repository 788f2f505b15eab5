//! The HTTP layer of the service and nothing behind it: the same server, authentication, parsing, group commit,
//! rule and log, on a ledger that finds every payment pending and forgets what became of it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use adapters_http::{ApiKeys, Parts, ServerSettings, WebhookAuthentication, listen};
use adapters_logging::{Format, LogSettings};
use benchmark::payments::{order_id_of, price};
use chrono::{DateTime, SubsecRound as _, Utc};
use conformance::MemoryStore;
use domain::{Books, ExternalPayment, Money, Order, OrderId, PaymentId, PaymentMethod, PaymentStatus};
use ports::{Clock, Ledger, LedgerError, Scope};
use prometheus::Registry;
use slog::{Level, info};
use telemetry::{Metrics, Telemetry};
use tokio::sync::Semaphore;
use usecases::{Blocking, GroupCommit, GroupCommitLimits, Observer, ReceiveNotification, StatsCache, UseCases};

fn main() -> anyhow::Result<()> {
    let log_settings = LogSettings {
        level: Level::Info,
        service: "bare".to_owned(),
        format: Format::Json,
        central: None,
        now: || SystemClock.now(),
    };
    let (log, _guard) = adapters_logging::start(log_settings, std::io::stdout())?;
    #[expect(clippy::disallowed_methods, reason = "this program has no settings but this one")]
    let key = std::env::var("PAYMENT_API_KEY")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let registry = Registry::new();
    let metrics = Metrics::new(&registry, env!("CARGO_PKG_VERSION"), "bare");
    let callback_duration = metrics.whole_duration();
    let observer: Arc<dyn Observer> = Arc::new(Telemetry::new(log.clone(), metrics));
    let empty = Arc::new(MemoryStore::default());
    let use_cases = UseCases {
        ledger: Arc::new(Forgetful { price: price()? }),
        history: Arc::clone(&empty) as _,
        outbox: Arc::clone(&empty) as _,
        clock: Arc::clone(&clock),
        observer,
        events_to_send: Arc::default(),
    };
    let limits = GroupCommitLimits { queue_max: 4096, batch_max: 64, committers: 2, patience: Duration::from_secs(3) };
    let intake = Arc::new(GroupCommit::start(&use_cases, limits)?);
    let permits = Arc::new(Semaphore::new(1));
    let upkeep = Blocking::new(Arc::clone(&empty) as _, Arc::clone(&permits));
    let settings = ServerSettings {
        bind_address: "127.0.0.1:0".to_owned(),
        connections_max: 512,
        keep_alive: Duration::from_secs(75),
        response_deadline: Duration::from_secs(4),
        body_bytes_max: 65536,
        webhook_authentication: WebhookAuthentication::ApiKey(ApiKeys::parse("payment", &key.into())?),
        portal_keys: ApiKeys::default(),
        operator_keys: ApiKeys::default(),
    };
    System::new().block_on(async {
        let parts = Parts {
            receive: ReceiveNotification::new(Arc::clone(&intake), use_cases.clone()),
            intake,
            use_cases: Blocking::new(Arc::new(use_cases), Arc::clone(&permits)),
            history: Blocking::new(empty as _, permits),
            stats: Arc::new(StatsCache::new(upkeep.clone())),
            upkeep,
            background: Arc::default(),
            registry,
            callback_duration,
            clock,
            log: log.clone(),
        };
        let mut server = listen(settings, parts)?;
        for address in server.addresses()? {
            info!(log, "listening"; "address" => %address);
        }
        Err(server.run().await.into())
    })
}

/// Knows every payment, each pending and of an open order, and keeps nothing.
struct Forgetful {
    price: Money,
}

impl Forgetful {
    fn payment(&self, id: &PaymentId) -> Option<ExternalPayment> {
        Some(ExternalPayment {
            id: id.clone(),
            order_id: OrderId::parse(&order_id_of(id.as_str())?).ok()?,
            method: PaymentMethod::Webpay,
            price: self.price,
            status: PaymentStatus::Pending,
            redirect_url: None,
            transaction_id: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            paid_at: None,
        })
    }
}

impl Ledger for Forgetful {
    fn amend_books(&self, scope: &Scope, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        let payments: Vec<_> = scope.payments.iter().filter_map(|id| self.payment(id)).collect();
        let order_ids = payments.iter().map(|payment| &payment.order_id).chain(&scope.orders);
        let order = |id: &OrderId| Order::open(id.clone(), self.price, DateTime::UNIX_EPOCH);
        let orders = order_ids.map(order).collect();
        let mut books = Books::open(payments, orders, Vec::new(), Vec::new());
        act(&mut books);
        drop(books.close());
        Ok(())
    }
}

/// The time of the machine.
struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "this program's one clock")]
        Utc::now().trunc_subsecs(6)
    }
}
