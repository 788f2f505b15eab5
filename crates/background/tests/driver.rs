//! When tasks have their rounds, on a clock that moves by itself when all wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use background::{Driver, DriverParts, Next, Schedule, Task, TaskError};
use conformance::MemoryStore;
use conformance::fixtures::clock;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use usecases::{BackgroundStatus, Blocking, Observer};

const PERIOD: Duration = Duration::from_secs(60);
const SCHEDULE: Schedule = Schedule { period: PERIOD, back_off_max: Duration::from_secs(4), lease: None };

/// What a round comes to.
type Act = fn(usize) -> Result<Next, TaskError>;

/// Does what it is told and notes when.
struct Scripted {
    rounds: Arc<Mutex<Vec<Instant>>>,
    act: Act,
    takes: Duration,
}

impl Task for Scripted {
    const NAME: &'static str = "scripted";

    async fn run(&self) -> Result<Next, TaskError> {
        let round = {
            let mut rounds = self.rounds.lock().expect("no panic");
            rounds.push(Instant::now());
            rounds.len()
        };
        sleep(self.takes).await;
        (self.act)(round)
    }
}

fn after_period(_: usize) -> Result<Next, TaskError> {
    Ok(Next::AfterPeriod)
}

/// A task, and the seconds from the start at which its rounds began.
struct Trial {
    rounds: Arc<Mutex<Vec<Instant>>>,
    began: Instant,
}

impl Trial {
    fn of(act: Act, takes: Duration) -> (Self, Scripted) {
        let rounds = Arc::default();
        (Self { rounds: Arc::clone(&rounds), began: Instant::now() }, Scripted { rounds, act, takes })
    }

    fn seconds(&self) -> Vec<f64> {
        let rounds = self.rounds.lock().expect("no panic");
        rounds.iter().map(|round| (*round - self.began).as_secs_f64()).collect()
    }

    #[track_caller]
    fn assert_near(&self, expected: &[f64]) {
        let seconds = self.seconds();
        // A pause is up to a tenth shorter, so that replicas do not stay together.
        let near = |(at, expected): (&f64, &f64)| (expected * 0.89 - 0.1..=expected + 0.1).contains(at);
        assert_eq!(seconds.len(), expected.len(), "{seconds:?}");
        assert!(seconds.iter().zip(expected).all(near), "{seconds:?} instead of {expected:?}");
    }
}

#[derive(Default)]
struct Failures(Mutex<Vec<(String, u32)>>);

impl Observer for Failures {
    fn task_failed(&self, _: &'static str, error: &(dyn std::error::Error + 'static), failures: u32) {
        self.0.lock().expect("no panic").push((error.to_string(), failures));
    }
}

struct Replica {
    driver: Driver,
    status: Arc<BackgroundStatus>,
    failures: Arc<Failures>,
}

fn replica_on(store: &Arc<MemoryStore>) -> Replica {
    let (status, failures) = (Arc::new(BackgroundStatus::default()), Arc::new(Failures::default()));
    let driver = Driver::new(DriverParts {
        leases: Blocking::new(Arc::clone(store) as _, Arc::new(Semaphore::new(1))),
        clock: clock(),
        status: Arc::clone(&status),
        observer: Arc::clone(&failures) as _,
    });
    Replica { driver, status, failures }
}

fn replica() -> Replica {
    replica_on(&Arc::default())
}

#[tokio::test(start_paused = true)]
async fn a_task_has_a_round_at_once_and_one_after_each_period() {
    let Replica { mut driver, status, .. } = replica();
    let (trial, task) = Trial::of(after_period, Duration::ZERO);
    driver.start(task, SCHEDULE, Arc::default());
    sleep(PERIOD * 2 + Duration::from_secs(1)).await;
    trial.assert_near(&[0.0, 60.0, 120.0]);
    assert_eq!(status.all()["scripted"].succeeded, 3);
    assert_eq!(status.all()["scripted"].last_success_at, Some(clock().now()));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_more_to_do_goes_on_at_once() {
    let mut driver = replica().driver;
    let more: Act = |round| Ok(if round < 4 { Next::AtOnce } else { Next::AfterPeriod });
    let (trial, task) = Trial::of(more, Duration::ZERO);
    driver.start(task, SCHEDULE, Arc::default());
    sleep(Duration::from_secs(1)).await;
    trial.assert_near(&[0.0, 0.0, 0.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_woken_does_not_wait_for_its_period() {
    let mut driver = replica().driver;
    let (trial, task) = Trial::of(after_period, Duration::ZERO);
    let wake_up = Arc::new(Notify::new());
    driver.start(task, SCHEDULE, Arc::clone(&wake_up));
    sleep(Duration::from_secs(20)).await;
    wake_up.notify_one();
    sleep(Duration::from_secs(1)).await;
    trial.assert_near(&[0.0, 20.0]);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_with_failures_whoever_wakes_the_task_and_end_with_a_success() {
    let Replica { mut driver, status, failures } = replica();
    let act: Act = |round| if round < 5 { Err("as told".into()) } else { Ok(Next::AfterPeriod) };
    let (trial, task) = Trial::of(act, Duration::ZERO);
    let wake_up = Arc::new(Notify::new());
    driver.start(task, SCHEDULE, Arc::clone(&wake_up));
    for _ in 0..20 {
        sleep(Duration::from_millis(100)).await;
        wake_up.notify_one();
    }
    sleep(Duration::from_secs(18)).await;
    // The wake-up that was kept during the pauses counts after the success.
    trial.assert_near(&[0.0, 1.0, 3.0, 7.0, 11.0, 11.0]);
    assert_eq!(failures.0.lock().expect("no panic").last(), Some(&("as told".to_owned(), 4)));
    assert_eq!((status.all()["scripted"].failed, status.all()["scripted"].succeeded), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_and_not_the_end() {
    let Replica { mut driver, status, failures } = replica();
    let act: Act = |round| if round == 1 { panic!("as told") } else { Ok(Next::AfterPeriod) };
    let (trial, task) = Trial::of(act, Duration::ZERO);
    driver.start(task, SCHEDULE, Arc::default());
    sleep(Duration::from_secs(2)).await;
    trial.assert_near(&[0.0, 1.0]);
    assert_eq!(*failures.0.lock().expect("no panic"), [("the task panicked".to_owned(), 1)]);
    assert_eq!((status.all()["scripted"].failed, status.all()["scripted"].succeeded), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_round_under_way_and_begins_no_other() {
    let Replica { mut driver, status, .. } = replica();
    let (trial, task) = Trial::of(|_| Ok(Next::AtOnce), Duration::from_secs(2));
    driver.start(task, SCHEDULE, Arc::default());
    sleep(Duration::from_secs(1)).await;
    assert!(driver.stop(Duration::from_secs(5)).await);
    trial.assert_near(&[0.0]);
    assert_eq!(status.all()["scripted"].succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_longer_than_it_may() {
    let mut driver = replica().driver;
    let (trial, task) = Trial::of(after_period, Duration::from_secs(100));
    driver.start(task, SCHEDULE, Arc::default());
    sleep(Duration::from_secs(1)).await;
    let asked = Instant::now();
    assert!(!driver.stop(Duration::from_secs(5)).await);
    assert_eq!(asked.elapsed().as_secs(), 5);
    trial.assert_near(&[0.0]);
}

#[tokio::test]
async fn of_two_replicas_one_has_the_rounds_and_the_other_follows_when_it_stops() {
    static ONE: AtomicUsize = AtomicUsize::new(0);
    static OTHER: AtomicUsize = AtomicUsize::new(0);
    static STOPPED: AtomicBool = AtomicBool::new(false);
    let one: Act = |_| {
        ONE.fetch_add(1, Ordering::SeqCst);
        Ok(Next::AfterPeriod)
    };
    let other: Act = |_| {
        assert!(STOPPED.load(Ordering::SeqCst), "the first one has the lease");
        OTHER.fetch_add(1, Ordering::SeqCst);
        Ok(Next::AfterPeriod)
    };
    let schedule = Schedule { period: Duration::from_millis(20), lease: Some(Duration::from_secs(600)), ..SCHEDULE };
    let store = Arc::default();
    let (mut first, mut second) = (replica_on(&store), replica_on(&store));
    first.driver.start(Trial::of(one, Duration::ZERO).1, schedule, Arc::default());
    until(|| ONE.load(Ordering::SeqCst) >= 3).await;
    second.driver.start(Trial::of(other, Duration::ZERO).1, schedule, Arc::default());
    sleep(Duration::from_millis(100)).await;
    assert!(ONE.load(Ordering::SeqCst) > 3, "the holder renews it");
    STOPPED.store(true, Ordering::SeqCst);
    assert!(first.driver.stop(Duration::from_secs(5)).await);
    until(|| OTHER.load(Ordering::SeqCst) >= 1).await;
    assert_eq!(second.status.all()["scripted"].failed, 0);
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), met).await.expect("it comes to pass");
}
