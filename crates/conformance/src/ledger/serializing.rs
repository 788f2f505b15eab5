//! Whatever happens at once ends as if one thing had come after the other.

use std::collections::HashSet;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use chrono::{DateTime, Utc};
use domain::{
    Cancellation, Event, Notification, OrderId, Outcome, PaymentStatus, Provenance, Registration, RegistrationOutcome,
    Report, Settlement,
};
use ports::{OrderHistory, Store};
use usecases::Caller;

use crate::MemoryStore;
use crate::fixtures::{
    at_micros, completion, money, notification, order_id, partial_refund, provenance, registration, settle_as,
    use_cases,
};

/// Each round is about two orders and three payments.
const ROUNDS: usize = 30;
const THREADS: usize = 9;

/// The events of a ledger in an SQL database, as [`check_serializability`] wants them.
pub const EVENTS: &str = "SELECT kind || ' of ' || payment_id || ' for ' || order_id AS text \
     FROM events e JOIN orders o ON o.order_key = e.order_key \
     JOIN external_payments p ON p.payment_key = e.payment_key ORDER BY e.position";

/// An event in the same words.
#[must_use]
pub fn event_words(event: &Event) -> String {
    format!("{} of {} for {}", event.kind, event.payment_id, event.order_id)
}

/// Something that is done with a ledger.
#[derive(Debug, Clone)]
enum Act {
    Settle(Box<Notification>, Box<Provenance>),
    Register(Box<Registration>, DateTime<Utc>),
    Cancel(OrderId, DateTime<Utc>),
}

/// What the ledger made of it.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Settled(Settled),
    Registered(RegistrationOutcome, Vec<Settled>),
    Cancelled(Cancellation),
}

/// What came of a notification, and the payment's status before and after.
#[derive(Debug, Clone, PartialEq)]
struct Settled {
    outcome: Outcome,
    previous: Option<PaymentStatus>,
    new: Option<PaymentStatus>,
}

impl From<&Settlement> for Settled {
    fn from(settlement: &Settlement) -> Self {
        let delivery = &settlement.delivery;
        Self { outcome: delivery.outcome.clone(), previous: delivery.previous_status, new: delivery.new_status }
    }
}

impl Answer {
    /// Whether nothing that is decided later can depend on it, unless it is a registration that finds what was parked.
    fn has_no_effect(&self) -> bool {
        match self {
            Self::Settled(settled) => matches!(
                settled.outcome,
                Outcome::Duplicate | Outcome::Ignored | Outcome::Rejected(_) | Outcome::Parked
            ),
            Self::Registered(outcome, _) => *outcome != RegistrationOutcome::Registered,
            Self::Cancelled(cancellation) => *cancellation != Cancellation::Cancelled,
        }
    }
}

/// Does these things, those that are to be settled in one transaction.
fn perform(ledger: &Arc<dyn Store>, acts: &[Act]) -> Vec<Answer> {
    if let [Act::Register(registration, now)] = acts {
        let registered = use_cases(ledger, *now).register_payment(registration, &Caller::default());
        let registered = registered.expect("a ledger that registers");
        return vec![Answer::Registered(registered.outcome, registered.applied.iter().map(Settled::from).collect())];
    }
    if let [Act::Cancel(order_id, now)] = acts {
        let cancelled =
            use_cases(ledger, *now).cancel_order(order_id, &Caller::default()).expect("a ledger that cancels").outcome;
        return vec![Answer::Cancelled(cancelled)];
    }
    let received = acts.iter().map(|act| match act {
        Act::Settle(notification, provenance) => ((**notification).clone(), (**provenance).clone()),
        Act::Register(..) | Act::Cancel(..) => panic!("a batch holds notifications alone"),
    });
    let settled = settle_as(ledger, &received.collect::<Vec<_>>()).expect("a ledger that settles");
    settled.iter().map(|settlement| Answer::Settled(settlement.into())).collect()
}

/// What was done with some orders and their payments, what was answered, and what is left of it.
struct History {
    acts: Vec<(Act, Answer)>,
    events: Vec<String>,
    orders: Vec<OrderId>,
    end: Vec<Option<OrderHistory>>,
}

fn standing(ledger: &(impl ports::History + ?Sized), orders: &[OrderId]) -> Vec<Option<OrderHistory>> {
    orders.iter().map(|id| ledger.order(id).expect("a ledger that reads")).collect()
}

impl History {
    /// Whether the acts, one after the other in some order, bring the same answers, the same events in their order and
    /// the same end, by the domain's rule.
    fn is_serial(&self) -> bool {
        self.has_order(&MemoryStore::default(), (0..self.acts.len()).collect(), &mut HashSet::new())
    }

    /// Whether what is left has such an order after what `model` has seen. Those without an effect come as early as
    /// they can: moved there from a later place they change nothing for the others.
    fn has_order(
        &self,
        model: &MemoryStore,
        mut left: Vec<usize>,
        dead_ends: &mut HashSet<(Vec<usize>, String)>,
    ) -> bool {
        let mut model = model.clone();
        loop {
            let count = left.len();
            left.retain(|act| {
                if !self.acts[*act].1.has_no_effect() {
                    return true;
                }
                let after = self.after(&model, *act);
                if let (Some(after), Answer::Settled(Settled { outcome: Outcome::Parked, .. })) =
                    (&after, &self.acts[*act].1)
                {
                    model = after.clone();
                }
                after.is_none()
            });
            if left.len() == count {
                break;
            }
        }
        let standing = standing(&model, &self.orders);
        if left.is_empty() {
            return model.events_in_order().len() == self.events.len() && standing == self.end;
        }
        if !dead_ends.insert((left.clone(), format!("{standing:?}"))) {
            return false;
        }
        (0..left.len()).any(|index| {
            let mut rest = left.clone();
            let act = rest.remove(index);
            self.after(&model, act).is_some_and(|after| self.has_order(&after, rest, dead_ends))
        })
    }

    /// The model after this act, if that brings the same answer and the next events.
    fn after(&self, model: &MemoryStore, act: usize) -> Option<MemoryStore> {
        let (act, answer) = &self.acts[act];
        let model = Arc::new(model.clone());
        let store: Arc<dyn Store> = Arc::clone(&model) as _;
        let same = perform(&store, std::slice::from_ref(act)) == std::slice::from_ref(answer);
        drop(store);
        let told: Vec<String> = model.events_in_order().iter().map(event_words).collect();
        (same && self.events.starts_with(&told)).then(|| Arc::unwrap_or_clone(model))
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Everything that can happen to the payments of two orders, roughly in the order of real life. No two acts have the
/// same time.
fn acts_of_round(round: usize, numbers: &mut Numbers) -> Vec<Act> {
    let orders = [format!("o{round}"), format!("other {round}")];
    let mut staged: Vec<(u64, Act)> = Vec::new();
    let mut micros = 0;
    let mut now = || {
        micros += 1;
        at_micros(micros)
    };
    for (name, order) in [("a", 0), ("b", 0), ("c", 1)] {
        let (id, order_text, other) = (format!("{name}{round}"), &orders[order], &orders[1 - order]);
        let cheaper = Registration { price: money("28", "EUR"), ..registration(&id, order_text) };
        for registration in [registration(&id, order_text), registration(&id, other), cheaper] {
            staged.push((0, Act::Register(registration.into(), now())));
        }
        let reached = |status| notification(&id, order_text, Report::Reached(status));
        let cheap = Notification { amount: Some("1".parse().expect("an amount")), ..completion(&id, order_text) };
        for (stage, said) in [
            (0, reached(PaymentStatus::Pending)),
            (0, reached(PaymentStatus::Processing)),
            (1, reached(PaymentStatus::Failed)),
            (1, reached(PaymentStatus::Cancelled)),
            (1, cheap),
            (1, completion(&id, other)),
            (1, completion(&id, order_text)),
            (2, completion(&id, order_text)),
            (2, partial_refund(&id, order_text, 1)),
            (2, partial_refund(&id, order_text, 1)),
            (2, partial_refund(&id, order_text, 2)),
            (2, partial_refund(&id, order_text, 3)),
            (2, reached(PaymentStatus::Refunded)),
            (3, reached(PaymentStatus::Refunded)),
        ] {
            staged.push((stage, Act::Settle(said.into(), provenance(now()).into())));
        }
    }
    for order in &orders {
        staged.push((1, Act::Cancel(order_id(order), now())));
        staged.push((2, Act::Cancel(order_id(order), now())));
    }
    staged.sort_by_cached_key(|(stage, _)| 4 * stage + numbers.below(5));
    staged.into_iter().map(|(_, act)| act).collect()
}

/// Cuts what a thread does into transactions: up to three notifications together.
fn transactions(acts: &[Act]) -> impl Iterator<Item = &[Act]> {
    let settles = |act: &Act| matches!(act, Act::Settle(..));
    acts.chunk_by(move |one, other| settles(one) && settles(other)).flat_map(|chunk| chunk.chunks(3))
}

/// Does much at once in these ledgers over one store and looks for an order that explains all of it. `events` reads the
/// events of the store, in their order, as [`EVENTS`] words them.
///
/// # Panics
/// If there is no such order.
pub fn check_serializability(ledgers: &[Arc<dyn Store>], events: &dyn Fn() -> Vec<String>) {
    let mut numbers = Numbers(7);
    let rounds: Vec<Vec<Act>> = (0..ROUNDS).map(|round| acts_of_round(round, &mut numbers)).collect();
    let histories: Vec<Mutex<Vec<(Act, Answer)>>> = rounds.iter().map(|_| Mutex::default()).collect();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (rounds, histories, start) = (&rounds, &histories, &start);
            scope.spawn(move || {
                let ledger = &ledgers[thread % ledgers.len()];
                for (acts, history) in rounds.iter().zip(histories) {
                    let own: Vec<Act> = acts.iter().skip(thread).step_by(THREADS).cloned().collect();
                    start.wait();
                    for transaction in transactions(&own) {
                        let answers = perform(ledger, transaction);
                        let done = transaction.iter().cloned().zip(answers);
                        history.lock().expect("no panic").extend(done);
                    }
                }
            });
        }
    });
    let events = events();
    let without_order = histories.into_iter().enumerate().filter_map(|(round, acts)| {
        let orders = [format!("o{round}"), format!("other {round}")];
        let of_round = |event: &&String| orders.iter().any(|order| event.ends_with(&format!(" for {order}")));
        let events = events.iter().filter(of_round).cloned().collect();
        let orders: Vec<OrderId> = orders.iter().map(|order| order_id(order)).collect();
        let end = standing(&*ledgers[0], &orders);
        let history = History { acts: acts.into_inner().expect("no panic"), events, orders, end };
        (!history.is_serial()).then_some((round, history.events))
    });
    let without_order: Vec<_> = without_order.collect();
    assert!(without_order.is_empty(), "{} of {ROUNDS} have no order: {without_order:#?}", without_order.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What these acts leave in a fresh ledger, one after the other.
    fn history(acts: Vec<Act>) -> History {
        let ledger = Arc::new(MemoryStore::default());
        let store: Arc<dyn Store> = Arc::clone(&ledger) as _;
        let acts = acts.into_iter().map(|act| (act.clone(), perform(&store, &[act]).remove(0))).collect();
        let orders = vec![order_id("o")];
        let end = standing(&*ledger, &orders);
        History { acts, events: ledger.events_in_order().iter().map(event_words).collect(), orders, end }
    }

    fn refunded_in_part_and_in_full() -> History {
        let settle = |said: Notification, micros| Act::Settle(said.into(), provenance(at_micros(micros)).into());
        history(vec![
            Act::Register(registration("p", "o").into(), at_micros(0)),
            settle(completion("p", "o"), 1),
            settle(partial_refund("p", "o", 1), 2),
            settle(notification("p", "o", Report::Reached(PaymentStatus::Refunded)), 3),
            settle(completion("p", "o"), 4),
        ])
    }

    #[test]
    fn acts_that_came_one_after_the_other_have_an_order_however_they_are_listed() {
        let mut history = refunded_in_part_and_in_full();
        assert!(history.is_serial());
        history.acts.reverse();
        assert!(history.is_serial());
    }

    #[test]
    fn a_partial_refund_told_after_the_full_one_has_no_order() {
        let mut history = refunded_in_part_and_in_full();
        history.events.swap(1, 2);
        assert!(!history.is_serial());
    }

    #[test]
    fn a_payment_that_is_completed_twice_has_no_order() {
        let mut history = refunded_in_part_and_in_full();
        history.acts[4].1 = history.acts[1].1.clone();
        assert!(!history.is_serial());
    }

    #[test]
    fn an_end_that_no_act_explains_has_no_order() {
        let mut history = refunded_in_part_and_in_full();
        history.end = vec![None];
        assert!(!history.is_serial());
    }
}
