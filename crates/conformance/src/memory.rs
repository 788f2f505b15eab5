use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::{
    Books, Changes, Delivery, DeliveryId, Event, ExternalPayment, MethodRecord, NotificationIdentity, Order, OrderId,
    ParkedNotification, PartialRefund, PaymentId, PaymentStatus, Source,
};
use ports::{
    COUNT_MAX, Connections, DeliveryFilter, HISTORY_MAX, History, Leases, Ledger, LedgerError, LedgerStats,
    OrderHistory, PaymentHistory, RecordedPayment, Scope, UNAPPLIED_MAX, Upkeep,
};
use uuid::Uuid;

/// The ledger in memory: what the others do with tables and locks, with maps and one mutex. It lasts as long
/// as the value.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

#[derive(Debug, Clone, Default)]
struct Tables {
    orders: BTreeMap<OrderId, Order>,
    payments: BTreeMap<PaymentId, RecordedPayment>,
    partial_refunds: BTreeSet<PartialRefund>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    /// Which notifications wait for which payments, and since which delivery.
    parked: BTreeMap<(PaymentId, NotificationIdentity), DeliveryId>,
    events: Vec<Event>,
    /// Who has which lease, until when.
    leases: BTreeMap<String, (Uuid, Instant)>,
}

impl MemoryStore {
    /// What the portal must be told, in this order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// A panic within an `act` has changed nothing yet, so a poisoned lock can be used like any other.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for MemoryStore {
    /// A ledger of its own, with the same content.
    fn clone(&self) -> Self {
        Self { tables: Mutex::new(self.lock().clone()) }
    }
}

impl Ledger for MemoryStore {
    fn amend_books(&self, scope: &Scope, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        let mut tables = self.lock();
        let mut books = tables.open(scope);
        act(&mut books);
        tables.store(books.close())
    }
}

impl History for MemoryStore {
    fn payment(&self, id: &PaymentId) -> Result<Option<PaymentHistory>, LedgerError> {
        let tables = self.lock();
        let history = |payment: &RecordedPayment| {
            let order = tables.orders[&payment.payment.order_id].clone();
            let newest = tables.newest(HISTORY_MAX + 1, |delivery| delivery.content.payment_id() == Some(id));
            PaymentHistory::new(payment.clone(), order, newest)
        };
        Ok(tables.payments.get(id).map(history))
    }

    fn order(&self, id: &OrderId) -> Result<Option<OrderHistory>, LedgerError> {
        let tables = self.lock();
        let history = |order: &Order| {
            let of_order = |payment: &&RecordedPayment| payment.payment.order_id == *id;
            let mut payments: Vec<_> = tables.payments.values().filter(of_order).cloned().collect();
            payments.sort_by_key(|payment| payment.payment.created_at);
            OrderHistory { order: order.clone(), payments }
        };
        Ok(tables.orders.get(id).map(history))
    }

    fn payment_and_order(&self, id: &PaymentId) -> Result<Option<(RecordedPayment, Order)>, LedgerError> {
        Ok(self.payment(id)?.map(|history| (history.payment, history.order)))
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, LedgerError> {
        Ok(self.lock().deliveries.get(&id).cloned())
    }

    fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>, LedgerError> {
        let DeliveryFilter { payment, order, outcome, since, before, limit } = filter;
        let wanted = |delivery: &Delivery| {
            (payment.is_none() || payment.as_ref() == delivery.content.payment_id())
                && (order.is_none() || order.as_ref() == delivery.content.order_id())
                && outcome.is_none_or(|outcome| outcome == delivery.outcome.kind())
                && since.is_none_or(|since| since <= delivery.provenance.received_at)
                && before.is_none_or(|before| delivery.provenance.delivery_id < before)
        };
        Ok(self.lock().newest(*limit, wanted))
    }
}

impl Upkeep for MemoryStore {
    fn check(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn stats(&self) -> Result<LedgerStats, LedgerError> {
        let tables = self.lock();
        let count = |count: usize| i64::try_from(count).unwrap_or(COUNT_MAX).min(COUNT_MAX);
        let payments = || tables.payments.values().map(|recorded| &recorded.payment);
        let open = || payments().filter(|payment| payment.status.is_open());
        let unapplied = |payment: &&ExternalPayment| {
            payment.status == PaymentStatus::Completed
                && tables.orders[&payment.order_id].paid_by.as_ref() != Some(&payment.id)
        };
        let receipts = || tables.deliveries.values().map(|delivery| &delivery.provenance);
        let oldest_parked = tables.parked.values().min().map(|id| tables.deliveries[id].provenance.received_at);
        Ok(LedgerStats {
            open_payments: count(open().count()),
            oldest_open_payment_at: open().map(|payment| payment.created_at).min(),
            parked_notifications: count(tables.parked.len()),
            oldest_parked_notification_at: oldest_parked,
            unapplied_payments: count(payments().filter(unapplied).count()).min(UNAPPLIED_MAX),
            last_callback_at: receipts()
                .filter(|provenance| provenance.source == Source::Callback)
                .map(|provenance| provenance.received_at)
                .max(),
        })
    }

    fn connections(&self) -> Connections {
        Connections::default()
    }
}

impl Leases for MemoryStore {
    fn acquire(&self, name: &str, holder: Uuid, duration: Duration) -> Result<bool, LedgerError> {
        let (mut tables, now) = (self.lock(), Instant::now());
        let granted = tables.leases.get(name).is_none_or(|(other, end)| *other == holder || *end <= now);
        if granted {
            tables.leases.insert(name.to_owned(), (holder, now + duration));
        }
        Ok(granted)
    }

    fn release(&self, name: &str, holder: Uuid) -> Result<(), LedgerError> {
        self.lock().leases.retain(|leased, (by, _)| leased != name || *by != holder);
        Ok(())
    }
}

impl Tables {
    fn open(&self, scope: &Scope) -> Books {
        let payments: Vec<_> = scope.payments.iter().filter_map(|id| self.payments.get(id)).collect();
        let of_payments = payments.iter().map(|recorded| &recorded.payment.order_id);
        let orders = scope.orders.iter().chain(of_payments).filter_map(|id| self.orders.get(id));
        let wanted = |id: &PaymentId| scope.parked && scope.payments.contains(id);
        let parked = self.parked.iter().filter(|((payment, _), _)| wanted(payment));
        let mut parked: Vec<ParkedNotification> =
            parked.filter_map(|(_, id)| self.deliveries.get(id)?.parked()).collect();
        parked.sort_by_key(|parked| parked.provenance.delivery_id);
        Books::open(
            payments.iter().map(|recorded| recorded.payment.clone()).collect(),
            orders.cloned().collect(),
            self.partial_refunds.intersection(&scope.partial_refunds).cloned().collect(),
            parked,
        )
    }

    /// Stores all of it, or nothing.
    fn store(&mut self, changes: Changes) -> Result<(), LedgerError> {
        let Changes {
            added_orders,
            added_payments,
            changed_orders,
            changed_payments,
            partial_refunds,
            deliveries,
            unparked,
            events,
            rests_on_unchanged: _,
        } = changes;
        let mut ids = BTreeSet::new();
        let mut used = |id: DeliveryId| self.deliveries.contains_key(&id) || !ids.insert(id);
        if let Some(id) = deliveries.iter().map(|delivery| delivery.provenance.delivery_id).find(|id| used(*id)) {
            return Err(LedgerError::Refused(format!("delivery {id} is there already").into()));
        }
        self.orders.extend(added_orders.into_iter().chain(changed_orders).map(|order| (order.id.clone(), order)));
        let added = added_payments.into_iter().map(|(payment, record)| RecordedPayment { payment, record });
        self.payments.extend(added.map(|recorded| (recorded.payment.id.clone(), recorded)));
        for payment in changed_payments {
            if let Some(recorded) = self.payments.get_mut(&payment.id) {
                let details = recorded.record.take().map(MethodRecord::into_details).unwrap_or_default();
                let record = MethodRecord::of(&payment, details);
                *recorded = RecordedPayment { payment, record };
            }
        }
        self.partial_refunds.extend(partial_refunds);
        for ParkedNotification { provenance, notification } in deliveries.iter().filter_map(Delivery::parked) {
            let key = (notification.payment_id.clone(), notification.identity());
            self.parked.entry(key).or_insert(provenance.delivery_id);
        }
        self.parked.retain(|(payment, _), _| !unparked.contains(payment));
        self.deliveries.extend(deliveries.into_iter().map(|delivery| (delivery.provenance.delivery_id, delivery)));
        self.events.extend(events);
        Ok(())
    }

    fn newest(&self, limit: i64, wanted: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let limit = usize::try_from(limit).unwrap_or(0);
        self.deliveries.values().rev().filter(|delivery| wanted(delivery)).take(limit).cloned().collect()
    }
}
