use std::collections::BTreeSet;

use domain::{Books, Notification, OrderId, PartialRefund, PaymentId, Registration};

use crate::LedgerError;

/// Where payments are settled: the one port that writes money, and its one method that does. Durable, transactional,
/// shared by all replicas.
///
/// To write another store, pass the suites of the crate `conformance`: `ledger_conformance!`,
/// `shared_ledger_conformance!` (several replicas) and, over SQL, `sql_ledger_conformance!` make a test of each fact.
/// Its `MemoryStore` is the shortest one that passes.
///
/// ```
/// use domain::{Books, Cancellation, OrderId, parse_timestamp};
/// use ports::{Ledger, LedgerError, LedgerExt as _, Scope};
///
/// /// Holds nothing and stores nothing.
/// struct EmptyLedger;
///
/// impl Ledger for EmptyLedger {
///     fn amend_books(&self, _: &Scope, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
///         let mut books = Books::open(vec![], vec![], vec![], vec![]); // what is stored within the scope
///         act(&mut books);
///         let _changes = books.close(); // are stored, all of them or nothing
///         Ok(())
///     }
/// }
///
/// let (order_id, now) = (OrderId::parse("order-1")?, parse_timestamp("2026-11-25T12:00:00Z")?);
/// let cancellation = EmptyLedger.amend(&Scope::of_order(&order_id), |books| books.cancel(&order_id, now))?;
/// assert_eq!(cancellation, Cancellation::Unknown);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Ledger: Send + Sync {
    /// Opens the books at `scope`, lets `act` work on them, and stores all that it left there in one transaction. When
    /// this returns `Ok`, that is on disk. Blocks: it must not be called from async code directly.
    ///
    /// An effect is serializable over what it rests on: no other caller changes these payments, their orders or the
    /// orders of `scope` between the look and the write, nor registers one of these payments. Of two callers at once,
    /// one waits or starts over. Free of deadlocks.
    ///
    /// `act` runs again from fresh books when the transaction lost a race, so nothing but the books and its
    /// own result may change in it. [`LedgerExt::amend`] is the comfortable form.
    ///
    /// # Errors
    /// [`LedgerError`] says what the caller can do.
    fn amend_books(&self, scope: &Scope, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError>;
}

/// What every [`Ledger`] can do besides, with an example there.
pub trait LedgerExt: Ledger {
    /// As [`Ledger::amend_books`], handing back what `act` returned when its work was stored.
    ///
    /// # Errors
    /// As [`Ledger::amend_books`].
    fn amend<T>(&self, scope: &Scope, mut act: impl FnMut(&mut Books) -> T) -> Result<T, LedgerError> {
        let mut result = None;
        self.amend_books(scope, &mut |books| result = Some(act(books)))?;
        Ok(result.expect("a ledger that has stored something has run `act`"))
    }
}

impl<L: Ledger + ?Sized> LedgerExt for L {}

/// What the books are opened at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Payments, registered or not; those that are registered come with their orders.
    pub payments: BTreeSet<PaymentId>,
    /// More orders, existing or not.
    pub orders: BTreeSet<OrderId>,
    /// Partial refunds that may be known already.
    pub partial_refunds: BTreeSet<PartialRefund>,
    /// Whether the notifications parked for these payments are wanted as well.
    pub parked: bool,
    /// How long to wait for locks that other sessions hold.
    pub lock_wait: LockWait,
}

/// How long to wait for a lock that another session holds, before [`LedgerError::Held`] or [`LedgerError::Contended`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LockWait {
    /// For a caller that does not try again: a quarter of the time that a statement may take.
    #[default]
    Long,
    /// For a caller that can set apart what is held: at most a quarter of a second, which another replica's commit
    /// rarely takes.
    Short,
    /// For a caller that tries again and again: some milliseconds.
    Minimal,
}

impl Scope {
    /// What settling these notifications concerns.
    pub fn of_notifications<'a>(notifications: impl IntoIterator<Item = &'a Notification>) -> Self {
        let mut scope = Self::default();
        for notification in notifications {
            scope.payments.insert(notification.payment_id.clone());
            scope.partial_refunds.extend(PartialRefund::reported(notification));
        }
        scope
    }

    /// What a registration concerns: the payment, its order and the notifications parked for it.
    #[must_use]
    pub fn of_registration(registration: &Registration) -> Self {
        Self {
            payments: BTreeSet::from([registration.payment_id.clone()]),
            orders: BTreeSet::from([registration.order_id.clone()]),
            parked: true,
            ..Self::default()
        }
    }

    /// One order alone.
    #[must_use]
    pub fn of_order(order_id: &OrderId) -> Self {
        Self { orders: BTreeSet::from([order_id.clone()]), ..Self::default() }
    }
}
