//! When the portal is told of events, on a clock that moves by itself when all wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use background::{DispatchEvents, Driver, DriverParts, Schedule};
use conformance::MemoryStore;
use conformance::fixtures::{at, clock, completion, order_id, partial_refund, register, registration, settle};
use domain::{EventAttempt, EventState};
use ports::{AttemptResult, EventFilter, Notified, Outbox, PendingEvent, PortalNotifier, Reaction, Store};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use usecases::{BackgroundStatus, Blocking, DispatchEvents as UseCase, DispatchParts, Observer};

const ACKNOWLEDGED: Reaction = Reaction::Acknowledged;
const FAILED: Reaction = Reaction::TryAgain { retry_after: Duration::ZERO };

/// What the portal does with the attempt of this number (from 1) to tell it of an event of this order, and how long it
/// takes.
type Rule = fn(&str, usize) -> (Reaction, Duration);

/// An event of this order came at this second, for the time of this number.
type Heard = (String, f64, usize);

/// A portal that notes what it hears.
#[derive(Clone)]
struct ScriptedPortal {
    rule: Rule,
    began: Instant,
    heard: Arc<Mutex<Vec<(PendingEvent, f64)>>>,
}

impl PortalNotifier for ScriptedPortal {
    async fn notify(&self, pending: &PendingEvent) -> Notified {
        let attempt = {
            let mut heard = self.heard.lock().expect("no panic");
            heard.push((pending.clone(), self.began.elapsed().as_secs_f64()));
            heard.iter().filter(|(earlier, _)| earlier.event.id == pending.event.id).count()
        };
        let (reaction, takes) = (self.rule)(pending.event.order_id.as_str(), attempt);
        sleep(takes).await;
        let error = (reaction != ACKNOWLEDGED).then(|| "failed".to_owned());
        Notified { attempt: EventAttempt { attempted_at: at(0), duration: takes, status: None, error }, reaction }
    }
}

#[derive(Default)]
struct Results(Mutex<Vec<AttemptResult>>);

impl Observer for Results {
    fn event_attempted(&self, _: &PendingEvent, _: &EventAttempt, result: AttemptResult, _: Option<Duration>) {
        self.0.lock().expect("no panic").push(result);
    }
}

/// A store and a portal, and what was heard.
struct Trial {
    store: Arc<dyn Store>,
    portal: ScriptedPortal,
    wake_up: Arc<Notify>,
    results: Arc<Results>,
}

impl Trial {
    fn with(rule: Rule) -> Self {
        let portal = ScriptedPortal { rule, began: Instant::now(), heard: Arc::default() };
        Self { store: Arc::new(MemoryStore::default()), portal, wake_up: Arc::default(), results: Arc::default() }
    }

    /// A replica that sends what there is, so many events at a time. It does not look by itself while a test lasts.
    fn replica(&self, concurrency: usize) -> Driver {
        self.replica_that_looks_every(Duration::from_secs(10_000), concurrency)
    }

    fn replica_that_looks_every(&self, period: Duration, concurrency: usize) -> Driver {
        let permits = Arc::new(Semaphore::new(4));
        let observer = Arc::clone(&self.results) as Arc<dyn Observer>;
        let mut driver = Driver::new(DriverParts {
            leases: Blocking::new(Arc::clone(&self.store) as _, Arc::clone(&permits)),
            clock: clock(),
            status: Arc::new(BackgroundStatus::default()),
            observer: Arc::clone(&observer),
        });
        let dispatch = UseCase::new(DispatchParts {
            outbox: Blocking::new(Arc::clone(&self.store) as Arc<dyn Outbox>, permits),
            notifier: self.portal.clone(),
            schedule: "5,60,300".parse().expect("a schedule"),
            concurrency,
            observer,
            wake_up: Arc::clone(&self.wake_up),
            callbacks_come_first: Box::new(|| false),
        });
        let schedule = Schedule { period, back_off_max: Duration::from_secs(30), lease: None };
        driver.start(DispatchEvents(dispatch), schedule, Arc::clone(&self.wake_up));
        driver
    }

    /// Pays these orders, whose payments have the same ids.
    fn pay(&self, orders: &[&str]) {
        for order in orders {
            register(&self.store, &registration(order, order), 0);
            settle(&self.store, &[completion(order, order)], 0);
        }
        self.wake_up.notify_one();
    }

    fn heard(&self) -> Vec<Heard> {
        let mut counts = std::collections::BTreeMap::new();
        let heard = self.portal.heard.lock().expect("no panic");
        let number = |(pending, second): &(PendingEvent, f64)| {
            let count = counts.entry(pending.event.id).or_insert(0);
            *count += 1;
            (pending.event.order_id.to_string(), *second, *count)
        };
        heard.iter().map(number).collect()
    }

    /// At which seconds the events of this order came.
    fn seconds(&self, order: &str) -> Vec<f64> {
        self.heard().into_iter().filter(|(heard, ..)| heard == order).map(|(_, second, _)| second).collect()
    }

    fn states(&self, order: &str) -> Vec<EventState> {
        let filter = EventFilter { order: Some(order_id(order)), ..EventFilter::any(100) };
        let events = self.store.events(&filter).expect("a store that reads");
        events.into_iter().map(|status| status.state).collect()
    }
}

/// Whether these times are about so far apart, ±20 % and a moment.
#[track_caller]
fn assert_pauses(seconds: &[f64], pauses: &[f64]) {
    let apart: Vec<_> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let near = |(apart, pause): (&f64, &f64)| (pause * 0.79..=pause * 1.21 + 0.1).contains(apart);
    assert!(apart.len() == pauses.len() && apart.iter().zip(pauses).all(near), "{apart:?} instead of {pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_is_sent_at_once_and_once() {
    let trial = Trial::with(|_, _| (ACKNOWLEDGED, Duration::ZERO));
    let _driver = trial.replica(8);
    sleep(Duration::from_secs(100)).await;
    trial.pay(&["a", "b"]);
    sleep(Duration::from_secs(100)).await;
    let heard = trial.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard.iter().all(|(_, second, _)| (100.0..100.1).contains(second)), "{heard:?}");
    assert_eq!(trial.states("a"), [EventState::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_fails_twice_is_sent_after_the_pauses_of_the_schedule() {
    let trial = Trial::with(|_, attempt| (if attempt <= 2 { FAILED } else { ACKNOWLEDGED }, Duration::ZERO));
    let _driver = trial.replica(8);
    trial.pay(&["o"]);
    sleep(Duration::from_secs(1000)).await;
    assert_pauses(&trial.seconds("o"), &[5.0, 60.0]);
    assert_eq!(trial.states("o"), [EventState::Delivered]);
    let results = trial.results.0.lock().expect("no panic").clone();
    assert_eq!(results, [AttemptResult::Failed, AttemptResult::Failed, AttemptResult::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_an_event_is_dead_and_holds_up_no_other() {
    let trial = Trial::with(|order, _| (if order == "bad" { FAILED } else { ACKNOWLEDGED }, Duration::ZERO));
    let _driver = trial.replica(1);
    trial.pay(&["bad", "good"]);
    settle(&trial.store, &[partial_refund("bad", "bad", 1)], 1);
    sleep(Duration::from_secs(280)).await;
    assert_eq!(trial.states("bad"), [EventState::Pending, EventState::Pending], "the last pause");
    assert_eq!(trial.seconds("good").len(), 1);
    sleep(Duration::from_secs(165)).await;
    assert_pauses(&trial.seconds("bad")[..4], &[5.0, 60.0, 300.0]);
    assert_eq!(trial.states("bad"), [EventState::Pending, EventState::Dead], "newest first");
    sleep(Duration::from_secs(500)).await;
    assert_eq!(trial.states("bad"), [EventState::Dead, EventState::Dead]);
    assert_eq!(trial.seconds("bad").len(), 8);
}

#[tokio::test(start_paused = true)]
async fn the_portal_may_ask_for_a_longer_pause_and_may_refuse_for_good() {
    let trial = Trial::with(|order, attempt| match (order, attempt) {
        ("gone", _) => (Reaction::Gone, Duration::ZERO),
        (_, 1) => (Reaction::TryAgain { retry_after: Duration::from_secs(500) }, Duration::ZERO),
        _ => (ACKNOWLEDGED, Duration::ZERO),
    });
    let _driver = trial.replica(8);
    trial.pay(&["busy", "gone"]);
    sleep(Duration::from_secs(1000)).await;
    let busy = trial.seconds("busy");
    assert!(busy.len() == 2 && (500.0..501.0).contains(&(busy[1] - busy[0])), "{busy:?}");
    assert_eq!((trial.seconds("gone").len(), trial.states("gone")), (1, vec![EventState::Dead]));
}

#[tokio::test(start_paused = true)]
async fn one_order_that_hangs_holds_up_itself_alone() {
    let trial = Trial::with(|order, _| {
        let takes = if order == "slow" { 10 } else { 0 };
        (ACKNOWLEDGED, Duration::from_secs(takes))
    });
    let _driver = trial.replica(2);
    trial.pay(&["slow", "a", "b", "c", "d"]);
    sleep(Duration::from_secs(1)).await;
    let mut heard: Vec<_> = trial.heard().into_iter().map(|(order, ..)| order).collect();
    heard.sort();
    assert_eq!(heard, ["a", "b", "c", "d", "slow"]);
    // What comes for that order meanwhile is sent after it.
    settle(&trial.store, &[partial_refund("slow", "slow", 1)], 1);
    trial.wake_up.notify_one();
    sleep(Duration::from_secs(60)).await;
    assert_pauses(&trial.seconds("slow"), &[10.0]);
    assert_eq!(trial.states("slow"), [EventState::Delivered; 2]);
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts_than_allowed_are_under_way() {
    let trial = Trial::with(|_, _| (ACKNOWLEDGED, Duration::from_secs(1)));
    let _driver = trial.replica(3);
    let orders: Vec<String> = (0..9).map(|n| format!("o{n}")).collect();
    trial.pay(&orders.iter().map(String::as_str).collect::<Vec<_>>());
    sleep(Duration::from_secs(10)).await;
    let mut seconds: Vec<u64> = trial.heard().into_iter().map(|(_, second, _)| second.round() as u64).collect();
    seconds.sort_unstable();
    assert_eq!(seconds, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_portal_that_hangs_is_given_back_and_sent_later() {
    let trial = Trial::with(|_, attempt| (if attempt == 1 { FAILED } else { ACKNOWLEDGED }, Duration::from_secs(10)));
    let _driver = trial.replica(1);
    trial.pay(&["a", "b", "c", "d", "e"]);
    sleep(Duration::from_secs(600)).await;
    for order in ["a", "b", "c", "d", "e"] {
        assert_eq!((trial.seconds(order).len(), trial.states(order)), (2, vec![EventState::Delivered]), "{order}");
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_share_what_there_is_to_send() {
    let trial = Trial::with(|_, _| (ACKNOWLEDGED, Duration::from_secs(1)));
    let orders: Vec<String> = (0..20).map(|n| format!("o{n}")).collect();
    trial.pay(&orders.iter().map(String::as_str).collect::<Vec<_>>());
    let _drivers = [trial.replica(2), trial.replica(2), trial.replica(2)];
    sleep(Duration::from_secs(200)).await;
    let mut heard: Vec<_> = trial.heard().into_iter().map(|(order, ..)| order).collect();
    heard.sort();
    let mut expected = orders;
    expected.sort();
    assert_eq!(heard, expected, "each once");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_attempts_under_way_and_gives_back_what_was_not_begun() {
    let trial = Trial::with(|_, _| (ACKNOWLEDGED, Duration::from_secs(2)));
    let driver = trial.replica(1);
    trial.pay(&["a", "b", "c"]);
    sleep(Duration::from_secs(1)).await;
    assert!(driver.stop(Duration::from_secs(5)).await, "it ends");
    let delivered = ["a", "b", "c"].iter().filter(|order| trial.states(order) == [EventState::Delivered]).count();
    assert_eq!((trial.heard().len(), delivered), (1, 1));
    // Another replica need not wait for the end of the claims.
    let _driver = trial.replica(8);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(trial.heard().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_claims_of_a_replica_that_is_gone_come_free() {
    let trial = Trial::with(|_, attempt| (ACKNOWLEDGED, Duration::from_secs(if attempt == 1 { 1000 } else { 0 })));
    trial.pay(&["a", "b"]);
    let gone = trial.store.claim(10, Duration::from_secs(30)).expect("a store that claims");
    assert_eq!(gone.queues.len(), 2);
    let trial =
        Trial { portal: ScriptedPortal { rule: |_, _| (ACKNOWLEDGED, Duration::ZERO), ..trial.portal }, ..trial };
    let _driver = trial.replica_that_looks_every(Duration::from_secs(5), 8);
    sleep(Duration::from_secs(29)).await;
    assert_eq!(trial.heard(), []);
    sleep(Duration::from_secs(7)).await;
    assert_eq!(trial.heard().len(), 2);
}
