//! An attempt against a real server, which misbehaves in many ways.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use http::Response;
use outbound::{
    Answer, Client, Failure, FailureKind, Limits, Method, Request, RetryRules, StatusCode, Url, Verdict,
    final_unless_transient, post_json, reason,
};
use serde_json::json;
use simulator::{Behaviour, Server, json_answer};

const LIMITS: Limits = Limits {
    connect_max: Duration::from_secs(30),
    attempt_max: Duration::from_secs(30),
    idle_max: Duration::from_secs(30),
    answer_bytes_max: 1000,
};

const RULES: RetryRules = RetryRules { is_final: final_unless_transient, retry_after_max: Duration::from_secs(60) };

fn client(change: impl FnOnce(&mut Limits)) -> Client {
    let mut limits = LIMITS;
    change(&mut limits);
    Client::new(limits).expect("a client")
}

/// A server that answers 201 and as many bytes as the request's body has.
fn server(behaviour: Behaviour) -> Server {
    Server::start(|request| json_answer(201, &json!("x".repeat(request.body().len()))), behaviour).expect("a server")
}

/// A POST of this many bytes. The URL holds what must not be told.
fn request(server: &Server, bytes: usize) -> Request {
    post_json(url(&server.url()), vec![b'x'; bytes])
}

fn url(base: &str) -> Url {
    format!("{base}/events?key=marked").parse().expect("a URL")
}

#[track_caller]
fn failed(attempted: &Result<Answer, Failure>, kind: FailureKind, verdict: Verdict) -> &str {
    let failure = attempted.as_ref().expect_err("no answer");
    assert_eq!((failure.kind, RULES.verdict(attempted)), (kind, verdict), "{failure}");
    assert!(!failure.reason.contains("marked") && !failure.reason.contains("127.0.0.1"), "{failure}");
    &failure.reason
}

const AFTER_PAUSE: Verdict = Verdict::RetryAfterPause { at_least: Duration::ZERO };

#[tokio::test]
async fn json_is_posted_and_the_answer_is_read() {
    let server = Server::start(
        |request| {
            let media_type = request.headers()["content-type"].to_str().unwrap_or_default();
            let body = String::from_utf8_lossy(request.body());
            json_answer(202, &json!([request.method().as_str(), request.uri().to_string(), media_type, body]))
        },
        Behaviour::Proper,
    );
    let server = server.expect("a server");
    let attempted = client(|_| {}).attempt(&post_json(url(&server.url()), "{}")).await.and_then(Answer::whole);
    let answer = attempted.as_ref().expect("an answer");
    let received: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(received, json!(["POST", "/events?key=marked", "application/json", "{}"]));
    assert_eq!(
        (RULES.verdict(&attempted), reason(&attempted)),
        (Verdict::Delivered, "answered 202 Accepted".to_owned())
    );
}

#[tokio::test]
async fn connections_are_kept_between_attempts() {
    let (server, client) = (server(Behaviour::Proper), client(|_| {}));
    for bytes in [0, 1, 998] {
        assert!(client.attempt(&request(&server, bytes)).await.and_then(Answer::whole).is_ok());
    }
    assert_eq!((server.connections(), server.requests()), (1, 3));
}

#[tokio::test]
async fn any_status_is_an_answer_and_redirects_are_not_followed() {
    for (status, verdict) in [
        (200, Verdict::Delivered),
        (302, Verdict::GiveUp),
        (307, Verdict::GiveUp),
        (410, Verdict::GiveUp),
        (429, AFTER_PAUSE),
        (500, AFTER_PAUSE),
    ] {
        let server = server(Behaviour::Answering(status));
        let attempted = client(|_| {}).attempt(&request(&server, 1)).await;
        assert_eq!(attempted.as_ref().expect("an answer").status.as_u16(), status);
        assert_eq!((RULES.verdict(&attempted), server.requests()), (verdict, 1), "{status}");
    }
}

#[tokio::test]
async fn a_receiver_says_when_to_come_back() {
    for (value, date, expect) in [
        ("7", None, 7),
        ("3600", None, 60),
        ("Fri, 31 Dec 1999 23:59:59 GMT", Some("Fri, 31 Dec 1999 23:59:49 GMT"), 10),
        // By the clock of this machine that was long ago.
        ("Fri, 31 Dec 1999 23:59:59 GMT", None, 0),
        ("Thu, 31 Dec 2099 23:59:59 GMT", None, 60),
        ("later", None, 0),
    ] {
        let answer = move |_| {
            let response = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).header("retry-after", value);
            let response = if let Some(date) = date { response.header("date", date) } else { response };
            response.body(Vec::new()).expect("an answer")
        };
        let server = Server::start(answer, Behaviour::Proper).expect("a server");
        let attempted = client(|_| {}).attempt(&request(&server, 1)).await;
        let at_least = Duration::from_secs(expect);
        assert_eq!(RULES.verdict(&attempted), Verdict::RetryAfterPause { at_least }, "{value}");
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit() {
    let (server, client) = (server(Behaviour::Proper), client(|_| {}));
    for (bytes, is_whole) in [(997, true), (998, true), (999, false), (100_000, false)] {
        let attempted = client.attempt(&request(&server, bytes)).await;
        // Two quotes belong to the body.
        let answer = attempted.as_ref().expect("an answer");
        assert_eq!(answer.body.len(), (bytes + 2).min(1000));
        assert_eq!(RULES.verdict(&attempted), Verdict::Delivered, "the status decides");
        let whole = attempted.and_then(Answer::whole);
        assert_eq!(whole.is_ok(), is_whole, "{bytes}");
        if !is_whole {
            assert_eq!(failed(&whole, FailureKind::TooLong, Verdict::GiveUp), "more than 1000 bytes");
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_its_status() {
    let server = server(Behaviour::CutShort);
    let attempted = client(|_| {}).attempt(&request(&server, 10)).await;
    let answer = attempted.as_ref().expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (StatusCode::CREATED, 11));
    assert_eq!(RULES.verdict(&attempted), Verdict::Delivered);
    failed(&attempted.and_then(Answer::whole), FailureKind::Broken, Verdict::RetryAtOnce);
}

#[tokio::test]
async fn a_body_that_takes_too_long_leaves_its_status() {
    let server = server(Behaviour::SlowBody(Duration::from_millis(50)));
    let client = client(|limits| limits.attempt_max = Duration::from_millis(500));
    let began = Instant::now();
    let attempted = client.attempt(&request(&server, 500)).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(RULES.verdict(&attempted), Verdict::Delivered);
    failed(&attempted.and_then(Answer::whole), FailureKind::TimedOut, AFTER_PAUSE);
}

#[tokio::test]
async fn a_slow_body_that_comes_in_time_is_read() {
    let server = server(Behaviour::SlowBody(Duration::from_millis(1)));
    let answer = client(|_| {}).attempt(&request(&server, 30)).await.and_then(Answer::whole).expect("an answer");
    assert_eq!(answer.body.len(), 32);
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let client = client(|limits| limits.attempt_max = Duration::from_millis(100));
    for behaviour in [Behaviour::Hanging, Behaviour::Slow(Duration::from_secs(30))] {
        let server = server(behaviour);
        failed(&client.attempt(&request(&server, 1)).await, FailureKind::TimedOut, AFTER_PAUSE);
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_is_a_failure_with_its_cause() {
    let server = server(Behaviour::Proper);
    server.stop();
    let attempted = client(|_| {}).attempt(&request(&server, 1)).await;
    let reason = failed(&attempted, FailureKind::Unreachable, AFTER_PAUSE);
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_failure() {
    let request = post_json(url("http://nowhere.invalid"), "{}");
    failed(&client(|_| {}).attempt(&request).await, FailureKind::Unreachable, AFTER_PAUSE);
}

#[tokio::test]
async fn a_server_without_tls_is_unreachable_for_https() {
    let server = server(Behaviour::Proper);
    let request = Request::new(Method::GET, url(&server.url().replace("http", "https")));
    failed(&client(|_| {}).attempt(&request).await, FailureKind::Unreachable, AFTER_PAUSE);
}

#[tokio::test]
async fn a_connection_that_was_kept_and_closed_is_worth_another_attempt_at_once() {
    let (server, client) = (server(Behaviour::Crossing), client(|_| {}));
    assert_eq!(RULES.verdict(&client.attempt(&request(&server, 1)).await), Verdict::Delivered);
    failed(&client.attempt(&request(&server, 1)).await, FailureKind::Broken, Verdict::RetryAtOnce);
    assert_eq!(RULES.verdict(&client.attempt(&request(&server, 1)).await), Verdict::Delivered);
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_ends_is_a_failure() {
    let server = server(Behaviour::Resetting);
    failed(&client(|_| {}).attempt(&request(&server, 1)).await, FailureKind::Broken, Verdict::RetryAtOnce);
}

#[tokio::test]
async fn idle_connections_are_given_up_before_the_server_closes_them() {
    let idle_max = Duration::from_millis(300);
    let server = Server::closing_idle_after(idle_max, |_| Response::new(Vec::new()), Behaviour::Proper);
    let (server, client) = (server.expect("a server"), client(|limits| limits.idle_max = Duration::from_millis(100)));
    for _ in 0..3 {
        assert!(client.attempt(&request(&server, 1)).await.is_ok());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!((server.connections(), server.requests()), (3, 3));
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_is_given_up() {
    let request = post_json(url("ftp://127.0.0.1"), "{}");
    failed(&client(|_| {}).attempt(&request).await, FailureKind::Unsendable, Verdict::GiveUp);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_left_in_time() {
    // The kernel accepts, and no one reads.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = url(&format!("http://{}", listener.local_addr().expect("an address")));
    let client = client(|limits| limits.attempt_max = Duration::from_millis(100));
    failed(&client.attempt(&post_json(url, "{}")).await, FailureKind::TimedOut, AFTER_PAUSE);
}
