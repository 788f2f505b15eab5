use std::collections::BTreeSet;
use std::error::Error;

use chrono::{DateTime, Utc};
use domain::{
    Books, Delivery, DeliveryId, ExternalPayment, MethodRecord, Notification, Order, OrderId, OutcomeKind,
    PartialRefund, PaymentId, Registration,
};

/// The most deliveries that are read with a payment; the newest ones. [`Ledger::deliveries`] has the others.
pub const HISTORY_MAX: i64 = 500;

/// How far [`Ledger::figures`] counts: it must cost the same, however much there is to count.
pub const COUNT_MAX: i64 = 10_000;

/// Among how many of the newest unapplied payments [`Ledger::figures`] looks for those that still are: each costs
/// a look.
pub const UNAPPLIED_MAX: i64 = 1_000;

/// The store of payments, orders, audit entries and events: durable, transactional, shared by all replicas.
///
/// Every method blocks. None may be called from async code directly.
pub trait Ledger: Send + Sync {
    /// Opens the books at `keys`, lets `act` work on them, and stores all that it left there in one
    /// transaction. When this returns `Ok`, that is on disk.
    ///
    /// An effect is serializable over what it rests on: no other caller changes these payments, their orders or the orders
    /// of `keys` between the look and the write, nor registers one of these payments. Of two callers at once, one waits or
    /// starts over. They never wait for each other in a circle.
    ///
    /// `act` runs again from fresh books when the transaction lost a race, so nothing but the books and its
    /// own result may change in it. [`dyn Ledger::amend`] is the comfortable form.
    ///
    /// # Errors
    /// Nothing was stored. See [`LedgerError`] for what the caller can do.
    fn amend_books(&self, keys: &Keys, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError>;

    /// One payment with all that belongs to it; at most [`HISTORY_MAX`] deliveries.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn payment(&self, id: &PaymentId) -> Result<Option<PaymentHistory>, LedgerError>;

    /// One payment and its order.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn payment_and_order(&self, id: &PaymentId) -> Result<Option<(RecordedPayment, Order)>, LedgerError>;

    /// One order with all its payments.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn order(&self, id: &OrderId) -> Result<Option<OrderHistory>, LedgerError>;

    /// One audit entry.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, LedgerError>;

    /// Audit entries, newest first.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>, LedgerError>;

    /// Whether the schema is this program's. Only reads. A store without a schema has nothing to compare.
    ///
    /// # Errors
    /// [`LedgerError::Outdated`] or [`LedgerError::Newer`] if not; see [`LedgerError`] for the others.
    fn check_schema(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Whether a callback could be settled now: the schema is this program's, the tables can be written to, and a
    /// commit gets to disk, and to a standby if it has to. Costs what a commit costs.
    ///
    /// # Errors
    /// Why not.
    fn check(&self) -> Result<(), LedgerError>;

    /// How the ledger stands, for those who watch it. Costs the same, however large the ledger is.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn figures(&self) -> Result<LedgerFigures, LedgerError>;

    /// How many connections are open now. Does not block.
    fn connections(&self) -> Connections;
}

impl dyn Ledger + '_ {
    /// As [`Ledger::amend_books`], handing back what `act` returned when its work was stored.
    ///
    /// # Errors
    /// As [`Ledger::amend_books`].
    pub fn amend<T>(&self, keys: &Keys, mut act: impl FnMut(&mut Books) -> T) -> Result<T, LedgerError> {
        let mut result = None;
        self.amend_books(keys, &mut |books| result = Some(act(books)))?;
        Ok(result.expect("a ledger that has stored something has run `act`"))
    }
}

/// What the books are opened at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Payments, registered or not; those that are registered come with their orders.
    pub payments: BTreeSet<PaymentId>,
    /// More orders, existing or not.
    pub orders: BTreeSet<OrderId>,
    /// Partial refunds that may be known already.
    pub partial_refunds: BTreeSet<PartialRefund>,
    /// Whether the deliveries that wait for these payments are wanted as well.
    pub waiting: bool,
    /// How long to wait for locks that other sessions hold.
    pub lock_wait: LockWait,
}

/// How long to wait for a lock that another session holds, before [`LedgerError::Held`] or [`LedgerError::Hindered`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LockWait {
    /// For a caller that does not try again: a quarter of the time that a statement may take.
    #[default]
    Long,
    /// For a caller that can set apart what is held: at most a quarter of a second, which another replica's commit rarely
    /// takes.
    Short,
    /// For a caller that tries again and again: some milliseconds.
    Minimal,
}

impl Keys {
    /// What settling these notifications concerns.
    pub fn of_notifications<'a>(notifications: impl IntoIterator<Item = &'a Notification>) -> Self {
        let mut keys = Self::default();
        for notification in notifications {
            keys.payments.insert(notification.payment_id.clone());
            keys.partial_refunds.extend(PartialRefund::reported(notification));
        }
        keys
    }

    /// What a registration concerns: the payment, its order and the deliveries that wait for it.
    #[must_use]
    pub fn of_registration(registration: &Registration) -> Self {
        Self {
            payments: BTreeSet::from([registration.payment_id.clone()]),
            orders: BTreeSet::from([registration.order_id.clone()]),
            waiting: true,
            ..Self::default()
        }
    }

    /// One order alone.
    #[must_use]
    pub fn of_order(order_id: &OrderId) -> Self {
        Self { orders: BTreeSet::from([order_id.clone()]), ..Self::default() }
    }
}

/// A payment and the record that its method keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPayment {
    /// The payment.
    pub payment: ExternalPayment,
    /// Its method's record; `None` for the providers that have none.
    pub record: Option<MethodRecord>,
}

/// A payment with all that belongs to it, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentHistory {
    /// The payment.
    pub payment: RecordedPayment,
    /// Its order.
    pub order: Order,
    /// What was said about it, newest first, at most [`HISTORY_MAX`].
    pub deliveries: Vec<Delivery>,
    /// The last of these deliveries, if there are older ones: where the next page begins.
    pub next: Option<DeliveryId>,
}

impl PaymentHistory {
    /// The history whose deliveries begin with these, of which the first [`HISTORY_MAX`] are shown.
    #[must_use]
    pub fn new(payment: RecordedPayment, order: Order, mut deliveries: Vec<Delivery>) -> Self {
        let most = usize::try_from(HISTORY_MAX).unwrap_or(usize::MAX);
        let more = deliveries.len() > most;
        deliveries.truncate(most);
        let next = deliveries.last().filter(|_| more).map(|delivery| delivery.receipt.delivery_id);
        Self { payment, order, deliveries, next }
    }
}

/// An order with all its payments, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderHistory {
    /// The order.
    pub order: Order,
    /// Its payments, in the order of their registration.
    pub payments: Vec<RecordedPayment>,
}

/// Which audit entries are wanted. What is `None` does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Those that name this payment.
    pub payment: Option<PaymentId>,
    /// Those that name this order.
    pub order: Option<OrderId>,
    /// Those with this outcome.
    pub outcome: Option<OutcomeKind>,
    /// Those received at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Those older than this one: where the last page ended.
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: i64,
}

impl DeliveryFilter {
    /// The newest of all.
    #[must_use]
    pub fn newest(limit: i64) -> Self {
        Self { payment: None, order: None, outcome: None, since: None, before: None, limit }
    }
}

/// How a ledger stands, as of one moment. Counts end at [`COUNT_MAX`], that of unapplied payments at
/// [`UNAPPLIED_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerFigures {
    /// Payments that nobody has heard the end of: pending or processing.
    pub open_payments: i64,
    /// When the oldest of these was registered.
    pub oldest_open_payment_at: Option<DateTime<Utc>>,
    /// Notifications that wait for their payment to be registered.
    pub parked_notifications: i64,
    /// When the oldest of these came.
    pub oldest_parked_notification_at: Option<DateTime<Utc>>,
    /// Payments whose money arrived and was not refunded, and that could not pay their order.
    pub unapplied_payments: i64,
    /// When the newest callback came, if it is among the newest thousand audit entries.
    pub last_callback_at: Option<DateTime<Utc>>,
}

/// The connections of a ledger to its store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Those that somebody works with.
    pub busy: u32,
    /// Those that wait for work.
    pub idle: u32,
    /// How many there may be.
    pub limit: u32,
}

/// Why a ledger did not do what it was asked to. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It is out of reach or too busy. Try again later.
    #[error("the ledger is unavailable")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Another session has locked these payments or their orders. Try again later; what concerns other payments can
    /// succeed at once.
    #[error("{} of these payments or their orders are locked by another session", .payments.len())]
    Held {
        /// Those of the payments asked for.
        payments: BTreeSet<PaymentId>,
    },
    /// It could not do just this, because of a locked table or a statement that took too long, say. Try again later;
    /// what concerns other payments may succeed at once.
    #[error("the ledger could not do this in time")]
    Hindered(#[source] Box<dyn Error + Send + Sync>),
    /// Its schema is not this program's. Run `payment-callback migrate`.
    #[error("the ledger's schema is not up to date: {pending} pending migrations")]
    Outdated {
        /// How many migrations are pending.
        pending: usize,
    },
    /// Its schema is that of a newer program. Run that one.
    #[error("the ledger's schema is newer than this program: {unknown} unknown migrations")]
    Newer {
        /// How many migrations were applied that this program does not know.
        unknown: usize,
    },
    /// A stored value cannot be understood. Somebody has to look at it.
    #[error("the ledger holds a {what} that cannot be understood: {value:?}")]
    Corrupt {
        /// What it is: a table's column.
        what: &'static str,
        /// What was found there, or its length where it may be somebody's own.
        value: String,
    },
    /// It refuses. Trying again would fail again.
    #[error("the ledger refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
}
