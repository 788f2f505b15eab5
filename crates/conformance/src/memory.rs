use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{
    Books, Changes, Delivery, DeliveryId, Event, EventAttempt, EventId, EventState, ExternalPayment, MethodRecord,
    NotificationIdentity, Order, OrderId, ParkedNotification, PartialRefund, PaymentId, PaymentStatus, Source,
};
use ports::{
    ATTEMPTS_MAX, AttemptResult, AttemptedEvent, CLAIMED_EVENTS_MAX, COUNT_MAX, Claim, ClaimedQueue, Claims,
    Connections, DeliveryFilter, EventFilter, EventHistory, EventStatus, HISTORY_MAX, History, Leases, Ledger,
    LedgerError, LedgerStats, OrderHistory, Outbox, PaymentHistory, PendingEvent, QueueProgress, RecordCounts,
    RecordPosition, RecordedPayment, RemovableRecords, Retention, Scope, UNAPPLIED_MAX, Upkeep,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::fixtures::at;

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
    /// In the order of their settlement.
    events: Vec<StoredEvent>,
    /// The orders with events to send.
    queues: BTreeMap<OrderId, Queue>,
    /// How many queues there have been.
    queues_made: i64,
    /// Who has which lease, until when.
    leases: BTreeMap<String, (Uuid, DateTime<Utc>)>,
}

#[derive(Debug, Clone)]
struct StoredEvent {
    event: Event,
    failures: u32,
    delivered_at: Option<DateTime<Utc>>,
    died_at: Option<DateTime<Utc>>,
    attempts: Vec<EventAttempt>,
}

#[derive(Debug, Clone)]
struct Queue {
    number: i64,
    due_at: DateTime<Utc>,
    claimed_until: Option<DateTime<Utc>>,
    revision: i64,
}

impl MemoryStore {
    /// What the portal must be told, in this order.
    #[must_use]
    pub fn events_in_order(&self) -> Vec<Event> {
        self.lock().events.iter().map(|stored| stored.event.clone()).collect()
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

    fn event(&self, id: EventId) -> Result<Option<EventHistory>, LedgerError> {
        let tables = self.lock();
        let history = |stored: &StoredEvent| {
            let newest = stored.attempts.iter().rev().take(usize::try_from(ATTEMPTS_MAX).unwrap_or(0));
            EventHistory { status: tables.status(stored), attempts: newest.cloned().collect() }
        };
        Ok(tables.events.iter().find(|stored| stored.event.id == id).map(history))
    }

    fn events(&self, filter: &EventFilter) -> Result<Vec<EventStatus>, LedgerError> {
        let tables = self.lock();
        let limit = usize::try_from(filter.limit).unwrap_or(0);
        Ok(tables.filtered_events(filter).into_iter().take(limit).map(|stored| tables.status(stored)).collect())
    }
}

impl Outbox for MemoryStore {
    fn claim(&self, queues_max: usize, duration: Duration) -> Result<Claims, LedgerError> {
        let mut tables = self.lock();
        let (now, until) = (tables.now(), tables.now() + duration);
        let is_free = |queue: &Queue| queue.claimed_until.is_none_or(|until| until <= now);
        let is_due = |queue: &Queue| queue.due_at <= now && is_free(queue);
        let due = tables.queues.iter().filter(|(_, queue)| is_due(queue));
        let mut due: Vec<_> = due.map(|(order_id, queue)| (queue.due_at, queue.number, order_id.clone())).collect();
        due.sort();
        due.truncate(queues_max);
        let mut queues = Vec::new();
        for (_, _, order_id) in due {
            let events = tables.pending(&order_id);
            let Some(queue) = tables.queues.get_mut(&order_id) else { continue };
            queue.claimed_until = Some(until);
            let claim = Claim { queue: queue.number, revision: queue.revision, until };
            queues.push(ClaimedQueue { claim, events, unreadable: None });
        }
        let next = tables.queues.values().filter(|queue| is_free(queue)).map(|queue| queue.due_at).min();
        let next_due_in = next.map(|at| (at - now).to_std().unwrap_or_default());
        Ok(Claims { queues, next_due_in })
    }

    fn record(&self, progress: &[QueueProgress]) -> Result<bool, LedgerError> {
        let mut tables = self.lock();
        Ok(progress.iter().filter(|progress| tables.record(progress)).count() > 0)
    }

    fn redeliver(&self, id: EventId) -> Result<bool, LedgerError> {
        Ok(self.lock().redeliver(id))
    }

    fn redeliver_all(&self, filter: &EventFilter) -> Result<usize, LedgerError> {
        let mut tables = self.lock();
        let events = tables.filtered_events(filter);
        let limit = usize::try_from(filter.limit).unwrap_or(0);
        let ids: Vec<_> = events.iter().rev().take(limit).map(|stored| stored.event.id).collect();
        Ok(ids.into_iter().filter(|id| tables.redeliver(*id)).count())
    }

    fn announce(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn wait_for_announcement(&self, patience: Duration) -> Result<bool, LedgerError> {
        thread::sleep(patience);
        Ok(false)
    }
}

impl StoredEvent {
    fn state(&self) -> EventState {
        match (self.delivered_at, self.died_at) {
            (None, None) => EventState::Pending,
            (Some(_), _) => EventState::Delivered,
            (None, Some(_)) => EventState::Dead,
        }
    }
}

impl Retention for MemoryStore {
    fn removable(
        &self,
        before: DateTime<Utc>,
        after: RecordPosition,
        records_max: usize,
    ) -> Result<RemovableRecords, LedgerError> {
        let tables = self.lock();
        let (mut records, mut position) = (RemovableRecords::default(), after);
        let entries = tables.deliveries.values().filter(|entry| entry.provenance.delivery_id > after.delivery);
        let entries = entries.filter(|entry| entry.provenance.received_at < before).take(records_max);
        for entry in entries {
            position.delivery = entry.provenance.delivery_id;
            if tables.needs_entry(entry) {
                records.needed.deliveries += 1;
            } else {
                records.deliveries.push(position.delivery);
            }
        }
        let events = tables.events.iter().map(|stored| &stored.event).filter(|event| event.id > after.event);
        let mut events: Vec<_> = events.filter(|event| event.created_at < before).collect();
        events.sort_by_key(|event| event.id);
        for event in events.into_iter().take(records_max) {
            position.event = event.id;
            if tables.needs_records_of(&event.order_id) {
                records.needed.events += 1;
            } else {
                records.events.push(position.event);
            }
        }
        let entries_seen = records.deliveries.len() + records.needed.deliveries;
        let events_seen = records.events.len() + records.needed.events;
        records.next = (entries_seen == records_max || events_seen == records_max).then_some(position);
        Ok(records)
    }

    fn remove(&self, records: &RemovableRecords) -> Result<RecordCounts, LedgerError> {
        let mut tables = self.lock();
        let deliveries = records.deliveries.iter().filter(|id| tables.deliveries.remove(id).is_some()).count();
        let before = tables.events.len();
        tables
            .events
            .retain(|stored| stored.state() != EventState::Delivered || !records.events.contains(&stored.event.id));
        Ok(RecordCounts { deliveries, events: before - tables.events.len() })
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
        let unapplied = |payment: &&ExternalPayment| tables.is_unapplied(payment);
        let receipts = || tables.deliveries.values().map(|delivery| &delivery.provenance);
        let in_state = |state| tables.events.iter().filter(move |stored| stored.state() == state);
        let oldest_parked = tables.parked.values().min().map(|id| tables.deliveries[id].provenance.received_at);
        Ok(LedgerStats {
            open_payments: count(open().count()),
            oldest_open_payment_at: open().map(|payment| payment.created_at).min(),
            parked_notifications: count(tables.parked.len()),
            oldest_parked_notification_at: oldest_parked,
            unapplied_payments: count(payments().filter(unapplied).count()).min(UNAPPLIED_MAX),
            pending_events: count(in_state(EventState::Pending).count()),
            oldest_pending_event_at: in_state(EventState::Pending).map(|stored| stored.event.created_at).min(),
            dead_events: count(in_state(EventState::Dead).count()),
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
        let mut tables = self.lock();
        let now = tables.now();
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

    /// The time on this store's clock, which goes on from second 0 of the tests. That of a runtime whose clock is paused
    /// moves with it.
    fn now(&self) -> DateTime<Utc> {
        static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
        at(0) + Instant::now().saturating_duration_since(*STARTED)
    }

    /// Whether its money arrived and did not pay its order.
    fn is_unapplied(&self, payment: &ExternalPayment) -> bool {
        payment.status == PaymentStatus::Completed
            && self.orders[&payment.order_id].paid_by.as_ref() != Some(&payment.id)
    }

    fn needs_entry(&self, entry: &Delivery) -> bool {
        let Some(id) = entry.content.payment_id() else { return false };
        let order = self.payments.get(id).map(|recorded| &recorded.payment.order_id);
        self.parked.keys().any(|(payment, _)| payment == id) || order.is_some_and(|id| self.needs_records_of(id))
    }

    fn needs_records_of(&self, order_id: &OrderId) -> bool {
        let payments = self.payments.values().map(|recorded| &recorded.payment);
        let mut payments = payments.filter(|payment| payment.order_id == *order_id);
        let mut events = self.events.iter().filter(|stored| stored.event.order_id == *order_id);
        payments.any(|payment| payment.status.is_open() || self.is_unapplied(payment))
            || events.any(|stored| stored.state() != EventState::Delivered)
    }

    /// Puts the order among those with events to send.
    fn queue(&mut self, order_id: &OrderId) -> &mut Queue {
        let new = Queue { number: self.queues_made, due_at: self.now(), claimed_until: None, revision: 0 };
        self.queues_made += 1;
        self.queues.entry(order_id.clone()).and_modify(|queue| queue.revision += 1).or_insert(new)
    }

    fn pending(&self, order_id: &OrderId) -> Vec<PendingEvent> {
        let pending =
            |stored: &&StoredEvent| stored.event.order_id == *order_id && stored.state() == EventState::Pending;
        let of_order = self.events.iter().filter(pending).take(CLAIMED_EVENTS_MAX);
        let with_payment = |stored: &StoredEvent| {
            let payment = &self.payments[&stored.event.payment_id].payment;
            let (method, price) = (payment.method, payment.price);
            PendingEvent { event: stored.event.clone(), method, price, failures: stored.failures }
        };
        of_order.map(with_payment).collect()
    }

    fn status(&self, stored: &StoredEvent) -> EventStatus {
        let state = stored.state();
        let due_at = self.queues.get(&stored.event.order_id).map(|queue| queue.due_at);
        EventStatus {
            event: stored.event.clone(),
            state,
            attempts: stored.attempts.len() as i64,
            next_attempt_at: due_at.filter(|_| state == EventState::Pending).map(|at| at.max(stored.event.created_at)),
            delivered_at: stored.delivered_at,
            last_error: stored.attempts.last().and_then(|attempt| attempt.error.clone()),
        }
    }

    /// The events that this filter lets through, newest first.
    fn filtered_events(&self, filter: &EventFilter) -> Vec<&StoredEvent> {
        let EventFilter { state, order, payment, since, before, limit: _ } = filter;
        let wanted = |stored: &&StoredEvent| {
            let event = &stored.event;
            state.is_none_or(|state| state == stored.state())
                && order.as_ref().is_none_or(|order| *order == event.order_id)
                && payment.as_ref().is_none_or(|payment| *payment == event.payment_id)
                && since.is_none_or(|since| since <= event.created_at)
                && before.is_none_or(|before| event.id < before)
        };
        let mut events: Vec<_> = self.events.iter().filter(wanted).collect();
        events.sort_by_key(|stored| Reverse(stored.event.id));
        events
    }

    fn redeliver(&mut self, id: EventId) -> bool {
        let Some(stored) = self.events.iter_mut().find(|stored| stored.event.id == id) else { return false };
        (stored.failures, stored.delivered_at, stored.died_at) = (0, None, None);
        let (order_id, now) = (stored.event.order_id.clone(), self.now());
        self.queue(&order_id).due_at = now;
        true
    }

    /// Whether events were added to the queue, of which nothing was left.
    fn record(&mut self, progress: &QueueProgress) -> bool {
        let QueueProgress { claim: Claim { queue: number, revision, until }, attempts, due_in } = progress;
        for AttemptedEvent { id, attempt, result } in attempts {
            let Some(stored) = self.events.iter_mut().find(|stored| stored.event.id == *id) else { continue };
            stored.attempts.push(attempt.clone());
            if stored.state() == EventState::Pending {
                let ended_at = attempt.attempted_at + attempt.duration;
                match result {
                    AttemptResult::Delivered => stored.delivered_at = Some(ended_at),
                    AttemptResult::Failed => stored.failures += 1,
                    AttemptResult::Dead => {
                        stored.failures += 1;
                        stored.died_at = Some(ended_at);
                    }
                }
            }
        }
        let due_at = self.now() + due_in.unwrap_or_default();
        let mut added = false;
        self.queues.retain(|_, queue| {
            let claimed = queue.number == *number && queue.claimed_until == Some(*until);
            if claimed {
                (queue.due_at, queue.claimed_until) = (due_at, None);
            }
            let empty = claimed && due_in.is_none();
            added |= empty && queue.revision != *revision;
            !(empty && queue.revision == *revision)
        });
        added
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
        for event in events {
            self.queue(&event.order_id);
            let (delivered_at, died_at, attempts) = (None, None, Vec::new());
            self.events.push(StoredEvent { event, failures: 0, delivered_at, died_at, attempts });
        }
        Ok(())
    }

    fn newest(&self, limit: i64, wanted: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let limit = usize::try_from(limit).unwrap_or(0);
        self.deliveries.values().rev().filter(|delivery| wanted(delivery)).take(limit).cloned().collect()
    }
}
