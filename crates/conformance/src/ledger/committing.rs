//! Group commit over this ledger.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use domain::{Books, Content, DeliveryId, OrderStatus, Outcome, Payload, PaymentId, PaymentStatus, Report, Settlement};
use ports::{Ledger, LedgerError, Scope, Store};
use usecases::{Callback, GroupCommit, GroupCommitLimits, Observer, ParsedBody, ReceiveError, UseCases};

use crate::fixtures::{
    any, at, callback, completion, count, deliveries, notification, observed_use_cases, order, payment, payment_id,
    register, registration, use_cases,
};

const LIMITS: GroupCommitLimits =
    GroupCommitLimits { queue_max: 1000, batch_max: 64, committers: 1, patience: Duration::from_secs(3) };

fn start(ledger: &Arc<dyn Store>, limits: GroupCommitLimits) -> GroupCommit {
    GroupCommit::start(&use_cases(ledger, at(1)), limits).expect("threads")
}

type Answer = Result<Settlement, ReceiveError>;

/// A callback that was handed over and not yet answered.
struct Submission<'a>(Pin<Box<dyn Future<Output = Answer> + 'a>>);

impl<'a> Submission<'a> {
    /// Hands it over.
    fn begin(intake: &'a GroupCommit, callback: Callback) -> Self {
        let mut submission = Box::pin(intake.submit(callback));
        // The answer may be there already; then it is kept.
        match submission.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Self(Box::pin(std::future::ready(answer))),
            Poll::Pending => Self(submission),
        }
    }

    /// What there is to hear without waiting.
    fn at_once(mut self) -> Option<Answer> {
        match self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn wait(self) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.0)
    }
}

fn outcome(answer: Answer) -> Outcome {
    answer.expect("a callback that is settled").delivery.outcome
}

/// Submits all of them at once, from one thread, and hands back the answers in the same order.
pub(super) fn submit_all(intakes: &[Arc<GroupCommit>], callbacks: Vec<Callback>) -> Vec<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let submit = |(callback, intake): (Callback, &Arc<GroupCommit>)| {
            let intake = Arc::clone(intake);
            tokio::spawn(async move { intake.submit(callback).await })
        };
        let tasks: Vec<_> = callbacks.into_iter().zip(intakes.iter().cycle()).map(submit).collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.expect("a task without a panic"));
        }
        answers
    })
}

/// A ledger that can be held up, that refuses some payments, is hindered at others and finds others held.
struct ScriptedLedger {
    ledger: Arc<dyn Store>,
    refused: Option<PaymentId>,
    hindered_at: Vec<PaymentId>,
    panics_at: Option<PaymentId>,
    held: Mutex<BTreeSet<PaymentId>>,
    state: Mutex<ScriptedState>,
    changed: Condvar,
}

struct ScriptedState {
    open: bool,
    /// How many payments each amend was about.
    amends: Vec<usize>,
}

impl ScriptedLedger {
    fn new(ledger: &Arc<dyn Store>) -> Self {
        let state = Mutex::new(ScriptedState { open: false, amends: Vec::new() });
        Self {
            ledger: Arc::clone(ledger),
            refused: None,
            hindered_at: Vec::new(),
            panics_at: None,
            held: Mutex::default(),
            state,
            changed: Condvar::new(),
        }
    }

    /// The use cases on it.
    fn use_cases(self: &Arc<Self>, observer: Arc<dyn Observer>) -> UseCases {
        let ledger = Arc::clone(self) as Arc<dyn Ledger>;
        UseCases { ledger, ..observed_use_cases(&self.ledger, at(1), observer) }
    }

    fn start(self: &Arc<Self>, limits: GroupCommitLimits) -> GroupCommit {
        GroupCommit::start(&self.use_cases(Arc::new(())), limits).expect("threads")
    }

    fn lock(&self) -> MutexGuard<'_, ScriptedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_amend(&self) {
        drop(self.changed.wait_while(self.lock(), |state| state.amends.is_empty()));
    }

    fn open(&self) {
        self.lock().open = true;
        self.changed.notify_all();
    }

    /// From now on another session holds these payments, and no others.
    fn hold<const N: usize>(&self, payments: [&str; N]) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = payments.map(payment_id).into();
    }

    fn amends(&self) -> Vec<usize> {
        self.lock().amends.clone()
    }
}

impl Ledger for ScriptedLedger {
    fn amend_books(&self, scope: &Scope, act: &mut dyn FnMut(&mut Books)) -> Result<(), LedgerError> {
        self.lock().amends.push(scope.payments.len());
        self.changed.notify_all();
        drop(self.changed.wait_while(self.lock(), |state| !state.open));
        let among = |payment: &Option<PaymentId>| payment.as_ref().is_some_and(|id| scope.payments.contains(id));
        if among(&self.refused) {
            return Err(LedgerError::Refused("as it was told to".into()));
        }
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let payments: BTreeSet<_> = scope.payments.intersection(&held).cloned().collect();
        if !payments.is_empty() {
            return Err(LedgerError::Held { payments });
        }
        if self.hindered_at.iter().any(|id| scope.payments.contains(id)) {
            return Err(LedgerError::Contended("as it was told to".into()));
        }
        if among(&self.panics_at) {
            std::panic::resume_unwind(Box::new("as it was told to"));
        }
        self.ledger.amend_books(scope, act)
    }
}

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    dequeued: usize,
    /// How many callbacks each transaction had, and whether it was stored.
    committed: Vec<(usize, bool)>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Notes {
    fn dequeued(&self, _: Duration) {
        self.lock().dequeued += 1;
    }

    fn committed(&self, callbacks: usize, _: Duration, result: Result<(), &LedgerError>) {
        self.lock().committed.push((callbacks, result.is_ok()));
    }
}

/// Registers `p0`, `p1`, … of as many orders, and says of each that it is completed.
fn completions(ledger: &Arc<dyn Store>, number: usize) -> Vec<Callback> {
    let registered = |n| {
        let (id, order) = (format!("p{n}"), format!("o{n}"));
        register(ledger, &registration(&id, &order), 0);
        callback(completion(&id, &order), 1)
    };
    (0..number).map(registered).collect()
}

pub fn of_identical_completions_at_once_one_counts(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let intake = Arc::new(start(ledger, GroupCommitLimits { batch_max: 16, committers: 4, ..LIMITS }));
    let identical = (0..64).map(|_| callback(completion("p", "o"), 1)).collect();
    let said: Vec<_> = submit_all(&[Arc::clone(&intake)], identical).into_iter().map(outcome).collect();
    intake.finish();
    assert_eq!((count(&said, &Outcome::Completed), count(&said, &Outcome::Duplicate)), (1, 63));
    let history = payment(ledger, "p");
    assert_eq!(history.deliveries.len(), 64);
    assert_eq!((history.order.status, history.order.paid_by), (OrderStatus::Paid, Some(payment_id("p"))));
}

pub fn what_arrives_during_a_commit_is_committed_together(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger::new(ledger));
    let mut callbacks = completions(ledger, 64).into_iter();
    let intake = scripted.start(LIMITS);
    let first = Submission::begin(&intake, callbacks.next().expect("a first callback"));
    scripted.wait_for_amend();
    let rest: Vec<_> = callbacks.map(|callback| Submission::begin(&intake, callback)).collect();
    scripted.open();
    assert_eq!(outcome(first.wait()), Outcome::Completed);
    for submission in rest {
        assert_eq!(outcome(submission.wait()), Outcome::Completed);
    }
    intake.finish();
    assert_eq!(scripted.amends(), [1, 63]);
}

pub fn each_caller_hears_of_its_own_callback(ledger: &Arc<dyn Store>) {
    let mut callbacks = completions(ledger, 40);
    let invalid = ParsedBody::Invalid { payload: Payload::default(), reason: "body: is not JSON".to_owned() };
    callbacks.push(Callback { body: invalid, ..callback(completion("invalid", "o"), 1) });
    callbacks.push(callback(completion("unknown", "o"), 1));
    callbacks.push(callback(completion("p0", "another order"), 1));
    let said: Vec<_> = callbacks.iter().map(|callback| callback.body.clone()).collect();
    let intake = Arc::new(start(ledger, GroupCommitLimits { batch_max: 7, committers: 3, ..LIMITS }));
    let answers = submit_all(&[Arc::clone(&intake)], callbacks);
    intake.finish();
    for (answer, body) in answers.into_iter().zip(said) {
        let delivery = answer.expect("a callback that is settled").delivery;
        let content = match body {
            ParsedBody::Valid(notification) => Content::Notification(notification),
            ParsedBody::Invalid { payload, .. } => Content::Fragments(payload),
        };
        assert_eq!(delivery.content, content);
        assert_eq!(ledger.delivery(delivery.provenance.delivery_id).expect("a ledger that reads"), Some(delivery));
    }
}

pub fn a_full_queue_says_so_at_once(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger::new(ledger));
    let mut callbacks = completions(ledger, 6).into_iter();
    let limits = GroupCommitLimits { queue_max: 4, ..LIMITS };
    let intake = scripted.start(limits);
    let mut begin = || Submission::begin(&intake, callbacks.next().expect("a callback"));
    let first = begin();
    scripted.wait_for_amend();
    let waiting = [begin(), begin(), begin(), begin()];
    assert!(intake.is_full());
    let turned_away = begin();
    assert!(matches!(turned_away.at_once(), Some(Err(ReceiveError::Full))));
    scripted.open();
    for submission in [first].into_iter().chain(waiting) {
        assert_eq!(outcome(submission.wait()), Outcome::Completed);
    }
    assert!(!intake.is_full());
    intake.finish();
    assert_eq!(payment(ledger, "p5").payment.payment.status, PaymentStatus::Pending);
}

pub fn finishing_settles_what_waits_and_takes_no_more(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger::new(ledger));
    let mut callbacks = completions(ledger, 21);
    let late = callbacks.pop().expect("a callback");
    let intake = scripted.start(GroupCommitLimits { batch_max: 4, ..LIMITS });
    let waiting: Vec<_> = callbacks.into_iter().map(|callback| Submission::begin(&intake, callback)).collect();
    scripted.wait_for_amend();
    thread::scope(|scope| {
        scope.spawn(|| intake.finish());
        scripted.open();
    });
    for submission in waiting {
        let answer = submission.at_once().expect("an answer that is there when `finish` returns");
        assert_eq!(outcome(answer), Outcome::Completed);
    }
    assert!(matches!(Submission::begin(&intake, late).at_once(), Some(Err(ReceiveError::Full))));
    assert_eq!(payment(ledger, "p20").payment.payment.status, PaymentStatus::Pending);
}

pub fn a_caller_that_goes_away_changes_nothing(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger::new(ledger));
    let mut callbacks = completions(ledger, 3).into_iter();
    let intake = scripted.start(LIMITS);
    let mut begin = || Submission::begin(&intake, callbacks.next().expect("a callback"));
    let under_way = begin();
    scripted.wait_for_amend();
    let (waiting, stays) = (begin(), begin());
    drop(under_way);
    drop(waiting);
    scripted.open();
    assert_eq!(outcome(stays.wait()), Outcome::Completed);
    intake.finish();
    for id in ["p0", "p1", "p2"] {
        assert_eq!(payment(ledger, id).order.status, OrderStatus::Paid, "{id}");
    }
}

pub fn what_the_ledger_refuses_does_not_sink_its_neighbours(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger { refused: Some(payment_id("p7")), ..ScriptedLedger::new(ledger) });
    let mut callbacks = completions(ledger, 20).into_iter();
    let intake = scripted.start(LIMITS);
    let first = Submission::begin(&intake, callbacks.next().expect("a callback"));
    scripted.wait_for_amend();
    let rest: Vec<_> = callbacks.map(|callback| Submission::begin(&intake, callback)).collect();
    scripted.open();
    assert_eq!(outcome(first.wait()), Outcome::Completed);
    for (submission, n) in rest.into_iter().zip(1..) {
        match submission.wait() {
            Err(ReceiveError::Ledger(error)) if n == 7 => assert!(matches!(*error, LedgerError::Refused(_))),
            answer => assert_eq!(outcome(answer), Outcome::Completed, "p{n}"),
        }
    }
    intake.finish();
    assert_eq!(order(ledger, "o7").order.status, OrderStatus::Pending);
    assert_eq!(deliveries(ledger, &any()).len(), 19);
}

/// Submits completions of `p0`, `p1`, … while the ledger is busy with the first, so that the others share a batch.
fn submit_in_one_batch<'a>(
    intake: &'a GroupCommit,
    scripted: &ScriptedLedger,
    callbacks: Vec<Callback>,
) -> Vec<Submission<'a>> {
    let mut callbacks = callbacks.into_iter();
    let first = Submission::begin(intake, callbacks.next().expect("a first callback"));
    scripted.wait_for_amend();
    let rest = callbacks.map(|callback| Submission::begin(intake, callback));
    let submissions = [first].into_iter().chain(rest).collect();
    scripted.open();
    submissions
}

pub fn what_hinders_the_ledger_holds_up_itself_alone(ledger: &Arc<dyn Store>) {
    let hindered_at = ["p2", "p4", "p6", "p8"].map(payment_id).into();
    let scripted = Arc::new(ScriptedLedger { hindered_at, ..ScriptedLedger::new(ledger) });
    let callbacks = completions(ledger, 10);
    let limits = GroupCommitLimits { patience: Duration::from_millis(200), ..LIMITS };
    let intake = scripted.start(limits);
    for (submission, n) in submit_in_one_batch(&intake, &scripted, callbacks).into_iter().zip(0..) {
        match submission.wait() {
            Err(ReceiveError::Ledger(error)) if [2, 4, 6, 8].contains(&n) => {
                assert!(matches!(*error, LedgerError::Contended(_)), "p{n}");
            }
            answer => assert_eq!(outcome(answer), Outcome::Completed, "p{n}"),
        }
    }
    intake.finish();
}

pub fn what_another_session_holds_is_set_apart_and_settles_when_it_is_free(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger::new(ledger));
    scripted.hold(["p2", "p4", "p6", "p8"]);
    let mut callbacks = completions(ledger, 11);
    let last = callbacks.pop().expect("a callback");
    let limits = GroupCommitLimits { patience: Duration::from_secs(60), ..LIMITS };
    let intake = scripted.start(limits);
    let submissions = submit_in_one_batch(&intake, &scripted, callbacks);
    let (held, free): (Vec<_>, Vec<_>) =
        submissions.into_iter().enumerate().partition(|(n, _)| [2, 4, 6, 8].contains(n));
    for (n, submission) in free {
        assert_eq!(outcome(submission.wait()), Outcome::Completed, "p{n}");
    }
    assert_eq!(scripted.amends()[..3], [1, 9, 5], "one look finds all of them");
    assert!(intake.depth() >= held.len(), "they still wait");
    let again = Submission::begin(&intake, callback(completion("p2", "o2"), 2));
    assert_eq!(outcome(Submission::begin(&intake, last).wait()), Outcome::Completed, "the others go on");

    scripted.hold([]);
    for (n, submission) in held {
        assert_eq!(outcome(submission.wait()), Outcome::Completed, "p{n}");
    }
    assert_eq!(outcome(again.wait()), Outcome::Duplicate);
    intake.finish();
    assert_eq!(intake.depth(), 0);
}

pub fn what_stays_held_is_given_up_when_it_has_waited_long_enough(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger::new(ledger));
    scripted.hold(["p1", "p2"]);
    let notes = Notes::default();
    let limits = GroupCommitLimits { patience: Duration::from_millis(200), ..LIMITS };
    let intake = GroupCommit::start(&scripted.use_cases(Arc::new(notes.clone())), limits).expect("threads");
    let callbacks = completions(ledger, 4);
    for (submission, n) in submit_in_one_batch(&intake, &scripted, callbacks).into_iter().zip(0..) {
        match submission.wait() {
            Err(ReceiveError::Ledger(error)) if [1, 2].contains(&n) => {
                assert!(matches!(&*error, LedgerError::Held { payments } if payments.len() == 2), "p{n}");
            }
            answer => assert_eq!(outcome(answer), Outcome::Completed, "p{n}"),
        }
    }
    intake.finish();
    let mut committed = notes.lock().committed.clone();
    committed.sort_unstable();
    assert_eq!(committed, [(1, false), (1, false), (1, true), (1, true)], "each is told of once");
}

pub fn a_panic_is_told_to_its_callers_and_the_next_are_settled(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger { panics_at: Some(payment_id("p0")), ..ScriptedLedger::new(ledger) });
    let mut callbacks = completions(ledger, 2).into_iter();
    let intake = scripted.start(LIMITS);
    let mut begin = || Submission::begin(&intake, callbacks.next().expect("a callback"));
    let unlucky = begin();
    scripted.wait_for_amend();
    let next = begin();
    scripted.open();
    intake.finish();
    assert!(matches!(unlucky.at_once(), Some(Err(ReceiveError::Lost))));
    assert_eq!(next.at_once().map(outcome), Some(Outcome::Completed));
}

pub fn what_is_committed_is_observed(ledger: &Arc<dyn Store>) {
    let scripted = Arc::new(ScriptedLedger { refused: Some(payment_id("p1")), ..ScriptedLedger::new(ledger) });
    let notes = Notes::default();
    let intake = GroupCommit::start(&scripted.use_cases(Arc::new(notes.clone())), LIMITS).expect("threads");
    let mut callbacks = completions(ledger, 3).into_iter();
    let mut begin = || Submission::begin(&intake, callbacks.next().expect("a callback"));
    let _first = begin();
    scripted.wait_for_amend();
    let _rest = [begin(), begin()];
    assert_eq!((intake.depth(), notes.lock().dequeued), (2, 1));
    scripted.open();
    intake.finish();
    assert_eq!((intake.depth(), notes.lock().dequeued), (0, 3));
    let one_by_one = [(1, true), (2, false), (1, false), (1, true)];
    assert_eq!(notes.lock().committed, one_by_one, "the one that is refused is found");
}

pub fn entries_stand_in_the_order_in_which_they_were_decided(ledger: &Arc<dyn Store>) {
    register(ledger, &registration("p", "o"), 0);
    let intake = Arc::new(start(ledger, GroupCommitLimits { batch_max: 5, committers: 4, ..LIMITS }));
    let reached = |status| notification("p", "o", Report::Reached(status));
    let statuses = [PaymentStatus::Processing, PaymentStatus::Completed, PaymentStatus::Refunded];
    // What came last may be decided first.
    let callbacks = (0..90).map(|n| callback(reached(statuses[n % 3]), if n % 2 == 0 { 2 } else { 1 }));
    let answers = submit_all(&[Arc::clone(&intake)], callbacks.collect());
    intake.finish();
    assert!(answers.iter().all(Result::is_ok));
    let mut entries = deliveries(ledger, &any());
    entries.reverse();
    let moves: Vec<_> = entries.iter().filter(|entry| entry.previous_status != entry.new_status).collect();
    assert!(moves.windows(2).all(|two| two[0].new_status == two[1].previous_status), "{moves:#?}");
    for status in statuses.map(Some) {
        let first = entries.iter().position(|entry| entry.new_status >= status).expect("an entry");
        assert_ne!(
            entries[first].previous_status, entries[first].new_status,
            "{status:?} is reached before it repeats"
        );
    }
    let receipts = || entries.iter().map(|entry| &entry.provenance);
    assert!(receipts().all(|provenance| provenance.delivery_id >= DeliveryId::first_at(provenance.received_at)));
}
