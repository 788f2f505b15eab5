//! SIGTERM, SIGINT, SIGHUP: what is in flight is finished, and the process ends (contract §1).

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use simulator::{Connection, Request, Service};

use crate::test_app::{
    PORTAL_KEY, Store, TestApp, WEBHOOK, assert_settled, callback, notification, register, registration,
};

on_both_stores! {
    what_is_in_flight_is_answered,
    what_nobody_waits_for_any_more_is_settled,
    a_database_that_does_not_answer_does_not_hold_it_up,
    it_stops_while_callbacks_stream_in,
    no_request_on_an_open_connection_is_left_without_an_answer,
    a_request_that_comes_just_after_the_signal_is_answered,
    every_signal_to_stop_stops_it,
    a_body_that_is_half_sent_is_still_taken,
    nobody_new_is_served_while_it_stops,
    what_was_answered_before_a_crash_is_kept_and_settled_once,
}

/// What the contract promises.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Callbacks wait for as long as a test lets them, however busy the machine is.
const PATIENT: (&str, &str) = ("RESPONSE_DEADLINE_MS", "60000");

fn connect(app: &TestApp) -> Connection {
    app.service.connect().expect("a connection")
}

fn what_is_in_flight_is_answered(store: Store) {
    let mut app = TestApp::with(store, &[PATIENT]);
    app.expect_payment("p", "o");
    let mut idle: Vec<_> = (0..5).map(|_| connect(&app)).collect();
    let mut used = connect(&app);
    assert_eq!(used.exchange(&Request::get("/healthz")).expect("an answer").status, 200);
    idle.push(used);

    let held = app.store.hold();
    let mut in_flight: Vec<_> = (0..4)
        .map(|_| {
            let mut connection = connect(&app);
            connection.send(&callback(&notification("p", "o", "completed")).bytes()).expect("an open connection");
            connection
        })
        .collect();
    let mut registering = connect(&app);
    let register = register(&registration("p2", "o2"));
    registering.send(&register.bytes()).expect("an open connection");
    thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    app.service.terminate().expect("a process");
    let _ = app.service.wait_for_records(1, |record| record["message"] == "stopping");
    thread::sleep(Duration::from_millis(300));
    drop(held);

    let answers: Vec<_> = in_flight.iter_mut().map(|connection| connection.receive().expect("an answer")).collect();
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert!(answers.iter().all(|answer| answer.header("connection") == Some("close")), "{answers:#?}");
    assert_eq!(registering.receive().expect("an answer").status, 201);
    let stopped = app.service.ended(told).expect("an end");
    assert_eq!(stopped.code, Some(0));
    assert!(stopped.took < STOPS_WITHIN, "{stopped:?}");
    for connection in &mut idle {
        connection.closed().expect("a connection that ends without a word");
    }
    let last = app.service.records().last().cloned().expect("records");
    assert_eq!((&last["message"], &last["all_settled"]), (&"stopped".into(), &true.into()));

    app.restart();
    app.assert_order("o", "paid", Some("p"));
}

fn what_nobody_waits_for_any_more_is_settled(store: Store) {
    let mut app = TestApp::with(store, &[PATIENT]);
    app.expect_payment("p", "o");
    let held = app.store.hold();
    connect(&app).send(&callback(&notification("p", "o", "completed")).bytes()).expect("an open connection");
    thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    app.service.terminate().expect("a process");
    thread::sleep(Duration::from_millis(300));
    drop(held);
    assert_eq!(app.service.ended(told).expect("an end").code, Some(0));
    app.restart();
    app.assert_order("o", "paid", Some("p"));
}

fn a_database_that_does_not_answer_does_not_hold_it_up(store: Store) {
    let mut app = TestApp::open(store);
    app.expect_payment("p", "o");
    let held = app.store.hold();
    let requests = [
        callback(&notification("p", "o", "completed")),
        Request::get("/api/payments/p").key(PORTAL_KEY),
        Request::post("/api/orders/o/cancel").key(PORTAL_KEY),
    ];
    let in_flight: Vec<_> = requests
        .iter()
        .map(|request| {
            let mut connection = connect(&app);
            connection.send(&request.bytes()).expect("an open connection");
            connection
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let stopped = app.service.stop().expect("an end");
    assert_eq!(stopped.code, Some(0));
    assert!(stopped.took < STOPS_WITHIN, "{stopped:?}");
    drop((held, in_flight));
}

fn it_stops_while_callbacks_stream_in(store: Store) {
    let mut app = TestApp::open(store);
    app.expect_payment("p", "o");
    let address = app.service.address();
    let (stopped, received) = thread::scope(|scope| {
        let senders: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(move || {
                    let mut connection = Connection::open(address).expect("a connection");
                    let request = callback(&notification("p", "o", "processing"));
                    let mut received = 0;
                    // Until the service says that it is the last answer, or closes what is idle.
                    while let Ok(answer) = connection.exchange(&request) {
                        assert_eq!(answer.status, 200);
                        received += 1;
                        if answer.header("connection") == Some("close") {
                            break;
                        }
                    }
                    received
                })
            })
            .collect();
        let settled = |record: &Value| record["message"] == "notification settled";
        let _ = app.service.wait_for_records(40, settled);
        let stopped = app.service.stop().expect("an end");
        (stopped, senders.into_iter().map(|sender| sender.join().expect("no panic")).sum::<usize>())
    });
    let answered = |record: &&Value| record["route"] == WEBHOOK && record["http_status"] == 200;
    let answered = app.service.records().iter().filter(answered).count();
    assert_eq!(received, answered, "what is answered arrives");
    assert_eq!(stopped.code, Some(0));
    assert!(stopped.took < STOPS_WITHIN, "{stopped:?}");
    app.restart();
    assert_settled(&app.callback(&notification("p", "o", "completed")), "completed");
}

fn no_request_on_an_open_connection_is_left_without_an_answer(store: Store) {
    let mut app = TestApp::open(store);
    app.expect_payment("p", "o");
    for _ in 0..3 {
        let address = app.service.address();
        let (lost, stopped) = thread::scope(|scope| {
            let senders: Vec<_> = (0..12)
                .map(|_| {
                    scope.spawn(move || {
                        let request = callback(&notification("p", "o", "completed"));
                        // A connection that is refused has carried no request.
                        while let Ok(mut connection) = Connection::open(address) {
                            loop {
                                let Ok(answer) = connection.exchange(&request) else { return 1 };
                                assert_eq!(answer.status, 200);
                                if answer.header("connection") == Some("close") {
                                    break;
                                }
                            }
                        }
                        0
                    })
                })
                .collect();
            let _ = app.service.wait_for_records(100, |record| record["message"] == "notification settled");
            let stopped = app.service.stop().expect("an end");
            (senders.into_iter().map(|sender| sender.join().expect("no panic")).sum::<usize>(), stopped)
        });
        assert_eq!((lost, stopped.code), (0, Some(0)));
        assert!(stopped.took < STOPS_WITHIN, "{stopped:?}");
        app.restart();
    }
}

fn a_request_that_comes_just_after_the_signal_is_answered(store: Store) {
    let mut app = TestApp::open(store);
    app.expect_payment("p", "o");
    let mut unused = connect(&app);
    let mut used = connect(&app);
    assert_eq!(used.exchange(&Request::get("/healthz")).expect("an answer").status, 200);
    let told = Instant::now();
    app.service.terminate().expect("a process");
    let _ = app.service.wait_for_records(1, |record| record["message"] == "stopping");
    for (connection, outcome) in [(&mut unused, "completed"), (&mut used, "duplicate")] {
        let answer = connection.exchange(&callback(&notification("p", "o", "completed"))).expect("an answer");
        assert_settled(&answer, outcome);
        assert_eq!(answer.header("connection"), Some("close"));
        connection.closed().expect("a connection that ends after the answer");
    }
    let stopped = app.service.ended(told).expect("an end");
    assert!(stopped.code == Some(0) && stopped.took < STOPS_WITHIN, "{stopped:?}");
}

fn every_signal_to_stop_stops_it(store: Store) {
    let mut app = TestApp::with(store, &[PATIENT]);
    let signals = [Service::terminate as fn(&Service) -> io::Result<()>, Service::interrupt, Service::hang_up];
    for (index, signal) in signals.into_iter().enumerate() {
        let (payment, order) = (format!("p{index}"), format!("o{index}"));
        app.expect_payment(&payment, &order);
        let held = app.store.hold();
        let mut connection = connect(&app);
        connection.send(&callback(&notification(&payment, &order, "completed")).bytes()).expect("an open connection");
        thread::sleep(Duration::from_millis(300));
        let told = Instant::now();
        signal(&app.service).expect("a process");
        let _ = app.service.wait_for_records(1, |record| record["message"] == "stopping");
        drop(held);
        assert_settled(&connection.receive().expect("an answer"), "completed");
        let stopped = app.service.ended(told).expect("an end");
        assert!(stopped.code == Some(0) && stopped.took < STOPS_WITHIN, "{stopped:?}");
        app.restart();
        app.assert_order(&order, "paid", Some(&payment));
    }
}

fn a_body_that_is_half_sent_is_still_taken(store: Store) {
    let mut app = TestApp::open(store);
    app.expect_payment("p", "o");
    let bytes = callback(&notification("p", "o", "completed")).bytes();
    let (one, other) = bytes.split_at(bytes.len() - 40);
    let mut connection = connect(&app);
    connection.send(one).expect("an open connection");
    thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    app.service.terminate().expect("a process");
    let _ = app.service.wait_for_records(1, |record| record["message"] == "stopping");
    connection.send(other).expect("an open connection");
    assert_settled(&connection.receive().expect("an answer"), "completed");
    let stopped = app.service.ended(told).expect("an end");
    assert!(stopped.code == Some(0) && stopped.took < STOPS_WITHIN, "{stopped:?}");
    app.restart();
    app.assert_order("o", "paid", Some("p"));
}

fn nobody_new_is_served_while_it_stops(store: Store) {
    let mut app = TestApp::with(store, &[PATIENT]);
    app.expect_payment("p", "o");
    let address = app.service.address();
    let held = app.store.hold();
    let mut connection = connect(&app);
    connection.send(&callback(&notification("p", "o", "completed")).bytes()).expect("an open connection");
    thread::sleep(Duration::from_millis(300));
    let told = Instant::now();
    app.service.terminate().expect("a process");
    let _ = app.service.wait_for_records(1, |record| record["message"] == "stopping");
    thread::sleep(Duration::from_millis(300));
    let request = callback(&notification("p", "o", "failed"));
    let late = thread::spawn(move || Connection::open(address).and_then(|mut late| late.exchange(&request)));
    thread::sleep(Duration::from_millis(300));
    drop(held);
    assert_settled(&connection.receive().expect("an answer"), "completed");
    assert_eq!(app.service.ended(told).expect("an end").code, Some(0));
    let late = late.join().expect("no panic");
    assert!(late.is_err(), "{late:?}");
    assert!(Connection::open(address).is_err());
}

fn what_was_answered_before_a_crash_is_kept_and_settled_once(store: Store) {
    const SENDERS: usize = 4;
    const EACH: usize = 40;
    let mut app = TestApp::open(store);
    let ids = |sender: usize| (0..EACH).map(move |index| format!("{sender}-{index}"));
    for id in (0..SENDERS).flat_map(ids) {
        app.expect_payment(&id, &format!("o{id}"));
    }
    let completed = |id: &String| callback(&notification(id, &format!("o{id}"), "completed"));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mut connection = connect(&app);
            thread::spawn(move || {
                let mut answered = Vec::new();
                // Over and over, so that the crash finds everybody sending.
                for id in ids(sender).collect::<Vec<_>>().into_iter().cycle() {
                    let Ok(answer) = connection.exchange(&completed(&id)) else { break };
                    assert_eq!(answer.status, 200);
                    answered.push(id);
                }
                answered
            })
        })
        .collect();
    let _ = app.service.wait_for_records(EACH, |record| record["outcome"] == "completed");
    app.service.kill().expect("a process that can be killed");
    let answered: Vec<_> = senders.into_iter().flat_map(|sender| sender.join().expect("no panic")).collect();
    assert!(answered.len() >= EACH / 2, "{}", answered.len());

    app.restart();
    for id in answered {
        app.assert_order(&format!("o{id}"), "paid", Some(&id));
        assert_settled(&app.send(&completed(&id)), "duplicate");
    }
    for id in (0..SENDERS).flat_map(ids) {
        assert_eq!(app.send(&completed(&id)).status, 200);
    }
    assert_eq!(app.store.events(), vec!["order.paid"; SENDERS * EACH]);
}
