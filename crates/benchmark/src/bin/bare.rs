//! The HTTP layer of the service and nothing behind it: the same server, authentication, parsing, group commit,
//! rule and log, on a ledger that finds every payment pending and forgets what became of it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::System;
use adapters_http::{ApiKeys, Desk, Metrics, ServerSettings, WebhookAuthentication, listen};
use adapters_logging::{Format, LogSettings};
use benchmark::payments::{order_id_of, price};
use chrono::{DateTime, SubsecRound as _, Utc};
use domain::{
    Books, Delivery, DeliveryId, ExternalPayment, Money, Order, OrderId, PaymentId, PaymentMethod, PaymentStatus,
};
use ports::{
    Clock, Connections, DeliveryFilter, Keys, Ledger, LedgerError, LedgerFigures, OrderHistory, PaymentHistory,
    RecordedPayment,
};
use slog::{Level, info};
use usecases::{GroupCommit, GroupCommitLimits, ReceiveNotification};

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
    let ledger: Arc<dyn Ledger> = Arc::new(Forgetful { price: price()? });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new(Arc::clone(&clock), env!("CARGO_PKG_VERSION"), "bare", Vec::new));
    let limits = GroupCommitLimits { queue_max: 4096, batch_max: 64, committers: 2, patience: Duration::from_secs(3) };
    let intake = Arc::new(GroupCommit::start(&ledger, &clock, limits, Arc::clone(&metrics) as _)?);
    let receive = ReceiveNotification::new(Arc::clone(&intake), Arc::clone(&clock));
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
        let desk = Desk::new(ledger, clock, 1);
        let mut server = listen(settings, intake, receive, desk, metrics, log.clone())?;
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
    fn amend_books(&self, keys: &Keys, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        let payments: Vec<_> = keys.payments.iter().filter_map(|id| self.payment(id)).collect();
        let order_ids = payments.iter().map(|payment| &payment.order_id).chain(&keys.orders);
        let order = |id: &OrderId| Order::open(id.clone(), self.price, DateTime::UNIX_EPOCH);
        let orders = order_ids.map(order).collect();
        let mut books = Books::open(payments, orders, Vec::new(), Vec::new());
        act(&mut books);
        drop(books.close());
        Ok(())
    }

    fn payment(&self, _: &PaymentId) -> Result<Option<PaymentHistory>, LedgerError> {
        Ok(None)
    }

    fn payment_and_order(&self, _: &PaymentId) -> Result<Option<(RecordedPayment, Order)>, LedgerError> {
        Ok(None)
    }

    fn order(&self, _: &OrderId) -> Result<Option<OrderHistory>, LedgerError> {
        Ok(None)
    }

    fn delivery(&self, _: DeliveryId) -> Result<Option<Delivery>, LedgerError> {
        Ok(None)
    }

    fn deliveries(&self, _: &DeliveryFilter) -> Result<Vec<Delivery>, LedgerError> {
        Ok(Vec::new())
    }

    fn check(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn figures(&self) -> Result<LedgerFigures, LedgerError> {
        Ok(LedgerFigures::default())
    }

    fn connections(&self) -> Connections {
        Connections::default()
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
