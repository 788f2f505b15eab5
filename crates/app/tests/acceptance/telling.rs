//! What the portal is told (contract §7).

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use simulator::{Behaviour, HeardEvent, Portal, empty_answer};

use crate::test_app::{
    Store, TestApp, Watched, callback, command, folder, notification, partial_refund, register, registration, serve,
    with,
};

on_both_stores! {
    every_kind_of_settlement_is_told_once_and_in_order,
    what_settles_nothing_is_told_to_no_one,
    an_event_holds_what_the_contract_says,
    an_event_that_fails_is_sent_again_and_holds_up_its_order_alone,
    after_its_last_attempt_an_event_is_dead,
    a_portal_that_wants_an_event_no_more_is_not_told_again,
    retry_after_is_waited_for,
    a_redirect_is_a_failure,
    what_was_settled_while_the_portal_was_down_is_told_when_it_is_back,
    what_was_settled_without_a_url_is_told_when_there_is_one,
    connections_are_kept_open_and_a_stale_one_is_replaced_at_once,
    every_committed_settlement_is_told_whenever_the_service_is_killed,
    replicas_share_the_telling_and_one_may_be_killed,
    a_stop_loses_no_event,
    a_command_s_settlement_is_told_by_the_service,
    one_connection_is_enough_to_settle_and_to_tell,
}

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const OTHER_SECRET: &str = "whsec_OTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMy";

/// The service, and the portal that it tells.
struct Trial {
    app: TestApp,
    portal: Portal,
}

impl Trial {
    fn open(store: Store) -> Self {
        Self::with(store, "1,1")
    }

    /// With these pauses between attempts.
    fn with(store: Store, retry_s: &str) -> Self {
        let portal = Portal::start(&[SECRET]).expect("a portal");
        let url = portal.url();
        let app = TestApp::with(store, &telling(&url, retry_s));
        Self { app, portal }
    }

    fn another(&self) -> Watched {
        serve(&self.app.store.url(), &telling(&self.portal.url(), "1,1"))
    }

    /// Registers and completes a payment for each of these orders, which have the ids of the payments.
    fn pay(&self, orders: &[&str]) {
        for order in orders {
            self.app.expect_payment(order, order);
            self.report(notification(order, order, "completed"));
        }
    }

    #[track_caller]
    fn report(&self, body: Value) {
        assert_eq!(self.app.callback(&body).status, 200, "{body}");
    }

    /// What the portal has heard of this order, when it has heard so much.
    #[track_caller]
    fn heard_of(&self, order: &str, count: usize) -> Vec<String> {
        let heard = self.portal.wait_for_events(count, |event| event.body["data"]["orderId"] == order);
        heard.iter().map(|event| event.kind().to_owned()).collect()
    }

    /// Waits until nothing is to be sent any more.
    fn wait_until_told(&self) {
        for _ in 0..600 {
            if self.app.store.texts("SELECT 'a row' AS text FROM event_queues LIMIT 1").is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("there are events to send after half a minute");
    }
}

fn telling<'a>(url: &'a str, retry_s: &'a str) -> [(&'a str, &'a str); 3] {
    [("PORTAL_EVENTS_URL", url), ("PORTAL_EVENTS_SECRET", SECRET), ("PORTAL_EVENTS_RETRY_S", retry_s)]
}

fn every_kind_of_settlement_is_told_once_and_in_order(store: Store) {
    let trial = Trial::open(store);
    for (payment, order) in [("a", "o"), ("b", "o"), ("c", "cancelled"), ("d", "refunded first"), ("e", "in part")] {
        trial.app.expect_payment(payment, order);
    }
    for status in ["processing", "failed", "cancelled", "completed", "completed", "failed"] {
        trial.report(notification("a", "o", status));
    }
    trial.report(partial_refund("a", "o", "2025-01-02T12:00:00Z"));
    trial.report(partial_refund("a", "o", "2025-01-02T12:00:00Z"));
    trial.report(notification("b", "o", "completed"));
    trial.report(notification("a", "o", "refunded"));
    trial.report(notification("c", "cancelled", "cancelled"));
    trial.report(notification("d", "refunded first", "refunded"));
    trial.report(notification("d", "refunded first", "completed"));
    trial.report(partial_refund("e", "in part", "2025-01-02T12:00:00Z"));
    let told = [
        "payment.failed",
        "payment.cancelled",
        "order.paid",
        "payment.partially_refunded",
        "payment.unapplied",
        "payment.refunded",
    ];
    assert_eq!(trial.heard_of("o", told.len()), told);
    assert_eq!(trial.heard_of("cancelled", 1), ["payment.cancelled"]);
    assert_eq!(trial.heard_of("refunded first", 1), ["payment.refunded"]);
    assert_eq!(trial.heard_of("in part", 2), ["order.paid", "payment.partially_refunded"]);
    trial.wait_until_told();
    assert_eq!((trial.portal.heard().len(), trial.portal.refusals()), (10, vec![]));
    let ids: BTreeSet<String> = trial.portal.heard().into_iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), 10, "each has an id of its own");
}

fn what_settles_nothing_is_told_to_no_one(store: Store) {
    let trial = Trial::open(store);
    trial.app.expect_payment("p", "o");
    let rejected = trial.app.callback(&with(notification("p", "o", "completed"), json!({ "amount": "1.00" })));
    assert_eq!(rejected.status, 400);
    assert_eq!(trial.app.callback(&notification("unknown", "o", "completed")).status, 404);
    assert_eq!(trial.app.callback(&json!({ "paymentId": "p" })).status, 400);
    trial.report(notification("p", "o", "processing"));
    trial.report(notification("p", "o", "processing"));
    trial.report(notification("p", "o", "pending"));
    assert_eq!(trial.app.post(crate::test_app::PORTAL_KEY, "/api/orders/o/cancel").status, 200);
    // What is told after all of these is told first.
    trial.pay(&["last"]);
    assert_eq!(trial.heard_of("last", 1), ["order.paid"]);
    trial.wait_until_told();
    assert_eq!(trial.portal.requests(), 1);
}

fn an_event_holds_what_the_contract_says(store: Store) {
    let trial = Trial::open(store);
    let order = "marathon:7 /ě";
    let registered = with(registration("p", order), json!({ "amount": "29.9", "paymentMethod": "paypal" }));
    assert_eq!(trial.app.register(&registered).status, 201);
    trial.report(notification("p", order, "failed"));
    trial.report(notification("p", order, "completed"));
    let [failed, paid]: [HeardEvent; 2] = trial.portal.wait_for_events(2, |_| true).try_into().expect("two events");
    let paid_at = trial.app.payment("p")["payment"]["paidAt"].clone();
    let data = json!({
        "orderId": order, "paymentId": "p", "paymentMethod": "paypal", "amount": "29.90", "currency": "EUR",
    });
    assert_eq!(failed.body["data"], with(data.clone(), json!({ "paidAt": null })));
    let expected =
        json!({ "type": "order.paid", "timestamp": paid_at, "data": with(data, json!({ "paidAt": paid_at })) });
    assert_eq!(paid.body, expected);
    assert_eq!(paid.request_id.as_deref(), Some(paid.id.as_str()));
}

fn an_event_that_fails_is_sent_again_and_holds_up_its_order_alone(store: Store) {
    let trial = Trial::open(store);
    trial.portal.answers(|event| {
        let fails = event.body["data"]["orderId"] == "bad" && event.attempt <= 2;
        fails.then(|| empty_answer(500, &[]))
    });
    trial.pay(&["bad"]);
    trial.report(notification("bad", "bad", "refunded"));
    trial.pay(&["good"]);
    assert_eq!(trial.heard_of("good", 1), ["order.paid"]);
    assert_eq!(trial.heard_of("bad", 4), ["order.paid", "order.paid", "order.paid", "payment.refunded"]);
    let heard = trial.portal.heard();
    let of_bad: Vec<&HeardEvent> = heard.iter().filter(|event| event.body["data"]["orderId"] == "bad").collect();
    assert!(of_bad[1].id == of_bad[0].id && of_bad[2].id == of_bad[0].id, "{of_bad:#?}");
    assert!(of_bad[1].at - of_bad[0].at >= Duration::from_millis(800), "{of_bad:#?}");
    trial.wait_until_told();
}

fn after_its_last_attempt_an_event_is_dead(store: Store) {
    let trial = Trial::open(store);
    trial.portal.answers(|event| (event.kind() == "order.paid").then(|| empty_answer(503, &[])));
    trial.pay(&["o"]);
    trial.report(notification("o", "o", "refunded"));
    assert_eq!(trial.heard_of("o", 4), ["order.paid", "order.paid", "order.paid", "payment.refunded"]);
    trial.wait_until_told();
    let dead = "SELECT kind AS text FROM events WHERE died_at IS NOT NULL";
    assert_eq!(trial.app.store.texts(dead), ["order.paid"]);
    let given_up = |record: &Value| record["message"] == "event not delivered; it is given up";
    let records = trial.app.service.wait_for_records(1, given_up);
    assert_eq!((&records[0]["level"], &records[0]["http_status"]), (&json!("error"), &json!(503)));
}

fn a_portal_that_wants_an_event_no_more_is_not_told_again(store: Store) {
    let trial = Trial::open(store);
    trial.portal.answers(|_| Some(empty_answer(410, &[])));
    trial.pay(&["o"]);
    trial.wait_until_told();
    assert_eq!(trial.portal.requests(), 1);
    assert_eq!(trial.app.store.texts("SELECT error AS text FROM event_attempts"), ["answered 410 Gone"]);
}

fn retry_after_is_waited_for(store: Store) {
    let trial = Trial::open(store);
    trial.portal.answers(|event| (event.attempt == 1).then(|| empty_answer(429, &[("retry-after", "3")])));
    trial.pay(&["o"]);
    let heard = trial.portal.wait_for_events(2, |_| true);
    assert!(heard[1].at - heard[0].at >= Duration::from_millis(2900), "{heard:#?}");
}

fn a_redirect_is_a_failure(store: Store) {
    let trial = Trial::open(store);
    trial.portal.behaviour(Behaviour::Answering(307));
    trial.pay(&["o"]);
    let failed = |record: &Value| record["message"] == "event not delivered; it is tried again";
    let _ = trial.app.service.wait_for_records(1, failed);
    trial.portal.behaviour(Behaviour::Proper);
    assert_eq!(trial.heard_of("o", 1), ["order.paid"]);
    trial.wait_until_told();
    let statuses = "SELECT CAST(status AS TEXT) AS text FROM event_attempts ORDER BY attempted_at";
    assert_eq!(trial.app.store.texts(statuses), ["307", "204"]);
}

fn what_was_settled_while_the_portal_was_down_is_told_when_it_is_back(store: Store) {
    let trial = Trial::with(store, "1,1,1,1,1,1,1,1,1,1,1,1");
    trial.portal.stop();
    trial.pay(&["a", "b"]);
    let _ =
        trial.app.service.wait_for_records(2, |record| record["message"] == "event not delivered; it is tried again");
    trial.portal.restart();
    assert_eq!(trial.heard_of("a", 1), ["order.paid"]);
    assert_eq!(trial.heard_of("b", 1), ["order.paid"]);
    trial.wait_until_told();
}

fn what_was_settled_without_a_url_is_told_when_there_is_one(store: Store) {
    let app = TestApp::open(store);
    app.expect_payment("p", "o");
    assert_eq!(app.callback(&notification("p", "o", "completed")).status, 200);
    let portal = Portal::start(&[SECRET]).expect("a portal");
    let _service = serve(&app.store.url(), &telling(&portal.url(), "1"));
    assert_eq!(portal.wait_for_events(1, |_| true)[0].kind(), "order.paid");
}

fn connections_are_kept_open_and_a_stale_one_is_replaced_at_once(store: Store) {
    let trial = Trial::open(store);
    trial.pay(&["a"]);
    assert_eq!(trial.heard_of("a", 1).len(), 1);
    trial.pay(&["b"]);
    assert_eq!(trial.heard_of("b", 1).len(), 1);
    assert_eq!(trial.portal.connections(), 1);
    // The next request meets the end of its connection.
    trial.portal.behaviour(Behaviour::Crossing);
    trial.pay(&["c"]);
    assert_eq!(trial.heard_of("c", 1).len(), 1);
    trial.wait_until_told();
    assert_eq!(trial.app.store.texts("SELECT error AS text FROM event_attempts WHERE error IS NOT NULL"), [""; 0]);
    assert_eq!(trial.portal.connections(), 2);
}

/// Sends completions of `count` payments to each of these services, over and over from four threads each, until their
/// connections end. Returns which were answered 200.
fn complete(services: &[&Watched], count: usize) -> Vec<String> {
    thread::scope(|scope| {
        let send = |(sender, service): (usize, &&Watched)| {
            let mut connection = service.connect().expect("a connection");
            scope.spawn(move || {
                let mut answered = Vec::new();
                for n in (0..count).map(|n| (n + sender * 7) % count) {
                    let id = format!("p{n}");
                    let Ok(answer) = connection.exchange(&callback(&notification(&id, &id, "completed"))) else {
                        break;
                    };
                    if answer.status == 200 {
                        answered.push(id);
                    }
                }
                answered
            })
        };
        let senders: Vec<_> = services.iter().cycle().take(4 * services.len()).enumerate().map(send).collect();
        senders.into_iter().flat_map(|sender| sender.join().expect("no panic")).collect()
    })
}

/// Every settlement that is stored was told, and nothing else.
fn assert_told(trial: &Trial, answered: &[String]) {
    trial.wait_until_told();
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in trial.portal.heard() {
        let order = event.body["data"]["orderId"].as_str().unwrap_or_default().to_owned();
        told.entry(order).or_default().insert(event.id);
    }
    let paid = "SELECT order_id AS text FROM orders WHERE status = 'paid' ORDER BY order_id";
    let paid: BTreeSet<String> = trial.app.store.texts(paid).into_iter().collect();
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), paid);
    assert!(told.values().all(|ids| ids.len() == 1), "one event each, however often it was sent: {told:#?}");
    assert!(answered.iter().all(|order| paid.contains(order)));
    assert_eq!(trial.portal.refusals(), []);
}

fn every_committed_settlement_is_told_whenever_the_service_is_killed(store: Store) {
    const PAYMENTS: usize = 120;
    let mut trial = Trial::open(store);
    for n in 0..PAYMENTS {
        trial.app.expect_payment(&format!("p{n}"), &format!("p{n}"));
    }
    let mut answered = Vec::new();
    for round in 1..=3 {
        answered.extend(thread::scope(|scope| {
            let service = &trial.app.service;
            let senders = scope.spawn(move || complete(&[service], PAYMENTS));
            // At another moment each time: while much is being settled and told.
            trial.portal.wait_for_requests(round * 15);
            simulator_kill(service);
            senders.join().expect("no panic")
        }));
        trial.app.service = trial.another();
    }
    answered.extend(complete(&[&trial.app.service], PAYMENTS));
    assert_eq!(answered.iter().collect::<BTreeSet<_>>().len(), PAYMENTS);
    assert_told(&trial, &answered);
}

fn replicas_share_the_telling_and_one_may_be_killed(store: Store) {
    const PAYMENTS: usize = 150;
    let trial = Trial::open(store);
    for n in 0..PAYMENTS {
        trial.app.expect_payment(&format!("p{n}"), &format!("p{n}"));
    }
    let (second, third) = (trial.another(), trial.another());
    let answered = thread::scope(|scope| {
        let services = [&trial.app.service, &second, &third];
        let senders = scope.spawn(move || complete(&services, PAYMENTS));
        trial.portal.wait_for_requests(30);
        simulator_kill(&third);
        senders.join().expect("no panic")
    });
    assert_told(&trial, &answered);
}

/// Kills the process (SIGKILL) while others use it.
fn simulator_kill(service: &Watched) {
    let killed = std::process::Command::new("kill").args(["-KILL", &service.pid().to_string()]).status();
    assert!(killed.expect("a shell's kill").success());
}

fn a_stop_loses_no_event(store: Store) {
    let mut trial = Trial::open(store);
    trial.portal.behaviour(Behaviour::Slow(Duration::from_millis(300)));
    let orders: Vec<String> = (0..20).map(|n| format!("o{n}")).collect();
    trial.pay(&orders.iter().map(String::as_str).collect::<Vec<_>>());
    let stopped = trial.app.service.stop().expect("an end");
    assert_eq!(stopped.code, Some(0));
    let heard = trial.portal.heard().len();
    let delivered = trial.app.store.texts("SELECT kind AS text FROM events WHERE delivered_at IS NOT NULL").len();
    assert_eq!(delivered, heard, "what was sent is known to be sent");
    trial.app.service = trial.another();
    trial.wait_until_told();
    assert_eq!(trial.portal.heard().len(), 20);
}

fn a_command_s_settlement_is_told_by_the_service(store: Store) {
    let trial = Trial::open(store);
    assert_eq!(trial.app.callback(&notification("p", "o", "completed")).status, 404);
    let registered = trial.app.command(&[
        "register",
        "--payment-id",
        "p",
        "--order-id",
        "o",
        "--amount",
        "29.00",
        "--currency",
        "EUR",
        "--method",
        "webpay",
    ]);
    assert!(registered.status.success(), "{registered:?}");
    assert_eq!(trial.heard_of("o", 1), ["order.paid"]);
}

fn one_connection_is_enough_to_settle_and_to_tell(store: Store) {
    let portal = Portal::start(&[SECRET]).expect("a portal");
    let url = portal.url();
    let settings = [&telling(&url, "1")[..], &[("DATABASE_POOL_SIZE", "1")]].concat();
    let trial = Trial { app: TestApp::with(store, &settings), portal };
    trial.pay(&["a", "b", "c"]);
    trial.wait_until_told();
    trial.pay(&["d"]);
    assert_eq!(trial.heard_of("d", 1), ["order.paid"]);
}

#[test]
fn every_secret_signs_so_that_a_portal_can_change_its_own() {
    for secret in [SECRET, OTHER_SECRET] {
        let portal = Portal::start(&[secret]).expect("a portal");
        let url = portal.url();
        let both = format!("{SECRET} {OTHER_SECRET}");
        let settings = [("PORTAL_EVENTS_URL", url.as_str()), ("PORTAL_EVENTS_SECRET", both.as_str())];
        let app = TestApp::with(Store::sqlite(), &settings);
        assert_eq!(app.register(&registration("p", "o")).status, 201);
        assert_eq!(app.send(&callback(&notification("p", "o", "completed"))).status, 200);
        assert_eq!(portal.wait_for_events(1, |_| true)[0].kind(), "order.paid");
        assert_eq!(portal.refusals(), []);
    }
}

#[test]
fn ping_portal_says_what_came_back() {
    let portal = Portal::start(&[SECRET]).expect("a portal");
    let url = portal.url();
    let ping = |secret, json| {
        let arguments: &[&str] = if json { &["ping-portal", "--json"] } else { &["ping-portal"] };
        command(&folder(), arguments, &[("PORTAL_EVENTS_URL", &url), ("PORTAL_EVENTS_SECRET", secret)])
    };
    let taken = ping(SECRET, false);
    assert!(taken.status.success(), "{taken:?}");
    assert!(String::from_utf8_lossy(&taken.stdout).starts_with("answered 204 after "), "{taken:?}");
    let heard = portal.heard();
    assert_eq!((heard.len(), heard[0].kind(), &heard[0].body["data"]), (1, "ping", &json!({})));

    let refused = ping(OTHER_SECRET, true);
    assert_eq!(refused.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert_eq!((&document["acknowledged"], &document["httpStatus"]), (&json!(false), &json!(401)));

    portal.stop();
    let unreachable = ping(SECRET, true);
    assert_eq!(unreachable.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&unreachable.stdout).expect("JSON");
    assert!(document["httpStatus"].is_null() && document["error"].is_string(), "{document}");

    for (settings, named) in [
        (vec![("PORTAL_EVENTS_SECRET", SECRET)], "PORTAL_EVENTS_URL"),
        (vec![("PORTAL_EVENTS_URL", url.as_str())], "PORTAL_EVENTS_SECRET"),
    ] {
        let bad = command(&folder(), &["ping-portal"], &settings);
        let stderr = String::from_utf8_lossy(&bad.stderr).into_owned();
        assert_eq!(bad.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
    }
}

#[test]
fn a_registration_that_applies_what_was_parked_is_told() {
    let trial = Trial::open(Store::sqlite());
    assert_eq!(trial.app.callback(&notification("p", "o", "completed")).status, 404);
    assert_eq!(trial.app.send(&register(&registration("p", "o"))).status, 201);
    assert_eq!(trial.heard_of("o", 1), ["order.paid"]);
}
