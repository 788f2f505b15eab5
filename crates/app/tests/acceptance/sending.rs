//! `send`: posts a callback the way the upstream does, with its retry policy (contract §1).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::test_app::{OPERATOR_KEY, PAYMENT_KEY, Store, TestApp, command, folder, registration, word};

on_both_stores! {
    a_callback_is_sent_and_settled,
    a_signed_callback_is_sent_and_settled,
}

/// Sends what completes a payment, with these options in place of those of the same name.
fn send(to: &str, options: &[&str], environment: &[(&str, &str)]) -> Output {
    let usual = [["--url", to], ["--payment-id", "p"], ["--order-id", "o"], ["--status", "completed"]];
    let kept = usual.into_iter().filter(|[name, _]| !options.contains(name)).flatten();
    let arguments: Vec<_> = ["send", "--json"].into_iter().chain(kept).chain(options.iter().copied()).collect();
    command(&folder(), &arguments, environment)
}

#[track_caller]
fn document(output: &Output, code: i32) -> Value {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{error}");
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out} is no JSON"))
}

const KEY: [(&str, &str); 1] = [("PAYMENT_API_KEY", "the-key-of-the-sender, the-next-key")];

fn a_callback_is_sent_and_settled(store: Store) {
    let app = TestApp::open(store);
    let url = format!("http://{}", app.service.address());
    let sent = document(&send(&url, &[], &KEY), 1);
    assert_eq!((&sent["delivered"], &sent["attempts"], &sent["httpStatus"]), (&json!(false), &json!(1), &json!(404)));
    assert_eq!(sent["answer"]["code"], "payment_not_found");
    assert_eq!(app.register(&registration("p", "o")).json()["applied"], json!(["completed"]));
    app.expect_payment("p2", "o2");
    let options = ["--transaction-id", "t", "--amount", "29.00", "--currency", "EUR", "--method", "webpay"];
    let options = [&["--payment-id", "p2", "--order-id", "o2"], &options[..]].concat();
    let sent = document(&send(&format!("{url}/"), &options, &KEY), 0);
    assert_eq!((&sent["delivered"], &sent["httpStatus"]), (&json!(true), &json!(200)));
    assert_eq!(sent["answer"]["outcome"], "completed");
    assert_eq!(app.payment("p2")["payment"]["providerTransactionId"], "t");
    let partial = ["--event", "refunded", "--timestamp", "2025-01-06T12:00:00Z", "--amount", "5"];
    let partial = document(&send(&url, &partial, &KEY), 0);
    assert_eq!(partial["answer"]["outcome"], "partially_refunded");
    let delivery = &app.deliveries("?limit=1")[0];
    assert_eq!((&delivery["event"], &delivery["sentAt"]), (&json!("refunded"), &json!("2025-01-06T12:00:00.000Z")));
    assert_eq!(delivery["paymentMethod"], json!(null), "the deployed sender names none");
    let refused = document(&send(&url, &["--amount", "1"], &KEY), 1);
    assert_eq!((&refused["httpStatus"], &refused["answer"]["code"]), (&json!(400), &json!("amount_mismatch")));
    let unknown = document(&send(&url, &[], &[("PAYMENT_API_KEY", "wrong")]), 1);
    assert_eq!((&unknown["httpStatus"], &unknown["attempts"]), (&json!(401), &json!(1)));
}

fn a_signed_callback_is_sent_and_settled(store: Store) {
    const SECRETS: &str =
        "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZw== whsec_YW5vdGhlciBzZWNyZXQgb2YgdGhlIHRlc3RzLCAzMmJ5dGVz";
    let settings = [("WEBHOOK_AUTH", "both"), ("PAYMENT_WEBHOOK_SECRET", SECRETS)];
    let app = TestApp::with(store, &settings);
    app.expect_payment("p", "o");
    let url = format!("http://{}", app.service.address());
    let environment = [("PAYMENT_API_KEY", PAYMENT_KEY), ("PAYMENT_WEBHOOK_SECRET", SECRETS)];
    assert_eq!(document(&send(&url, &[], &environment), 0)["answer"]["outcome"], "completed");
    assert_eq!(document(&send(&url, &[], &KEY), 1)["httpStatus"], 401);
    assert_eq!(app.get(OPERATOR_KEY, "/api/deliveries").json()["deliveries"].as_array().map(Vec::len), Some(1));
}

/// Answers each request in turn with these answers, one a connection, and hands over what was asked.
struct Receiver {
    address: SocketAddr,
    asked: JoinHandle<Vec<Asked>>,
}

struct Asked {
    head: String,
    body: Value,
}

impl Receiver {
    /// What is no answer closes the connection instead.
    fn answering(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked = thread::spawn(move || answers.iter().map(|answer| Self::answer(&listener, answer)).collect());
        Self { address, asked }
    }

    fn answer(listener: &TcpListener, answer: &str) -> Asked {
        let (stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("a line"), 0, "{head}");
        }
        head.make_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = vec![0; length.expect("a length")];
        reader.read_exact(&mut body).expect("a body");
        if !answer.is_empty() {
            let response = format!("HTTP/1.1 {answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
            reader.get_mut().write_all(response.as_bytes()).expect("an open connection");
        }
        Asked { head, body: serde_json::from_slice(&body).expect("JSON") }
    }

    fn url(&self) -> String {
        format!("http://{}/base/", self.address)
    }

    fn asked(self) -> Vec<Asked> {
        self.asked.join().expect("no panic")
    }
}

#[test]
fn a_failure_of_the_receiver_is_tried_again() {
    let receiver = Receiver::answering(&["500 Internal Server Error", "200 OK"]);
    let sent = document(&send(&receiver.url(), &[], &KEY), 0);
    assert_eq!((&sent["delivered"], &sent["attempts"], &sent["httpStatus"]), (&json!(true), &json!(2), &json!(200)));
    let asked = receiver.asked();
    assert_eq!(asked[0].body, asked[1].body, "the same notification");
    let first = &asked[0];
    assert!(first.head.starts_with("post /base/api/payments/webhook http/1.1\r\n"), "{}", first.head);
    assert!(first.head.contains("\r\ncontent-type: application/json\r\n"), "{}", first.head);
    assert!(first.head.contains("\r\nx-api-key: the-key-of-the-sender\r\n"), "of several, the first: {}", first.head);
    assert_eq!((&first.body["status"], &first.body["event"]), (&json!("completed"), &json!("completed")));
    assert!(word(&first.body["timestamp"]).ends_with('Z'));
}

#[test]
fn the_key_goes_to_the_service_alone_whatever_proxy_is_set() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a free port");
    proxy.set_nonblocking(true).expect("a listener that does not wait");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let proxies = names.map(|name| (name, &*url));
    let receiver = Receiver::answering(&["200 OK"]);
    let sent = document(&send(&receiver.url(), &[], &[&KEY[..], &proxies].concat()), 0);
    assert_eq!((&sent["delivered"], &sent["attempts"]), (&json!(true), &json!(1)));
    assert!(receiver.asked()[0].head.contains("x-api-key: the-key-of-the-sender"));
    assert!(proxy.accept().is_err(), "nothing came to the proxy");
}

#[test]
fn a_refusal_is_final() {
    for refusal in [
        &["400 Bad Request"][..],
        &["401 Unauthorized"],
        &["404 Not Found"],
        &["429 Too Many Requests"],
        // A redirect turns a POST into a GET: it is not followed and no success.
        &["302 Found\r\nLocation: /elsewhere"],
    ] {
        let receiver = Receiver::answering(refusal);
        let sent = document(&send(&receiver.url(), &[], &KEY), 1);
        assert_eq!((&sent["delivered"], &sent["attempts"]), (&json!(false), &json!(1)), "{refusal:?}");
        assert_eq!(receiver.asked().len(), 1);
    }
}

#[test]
fn a_network_error_is_tried_again_three_times() {
    let receiver = Receiver::answering(&["", "503 Service Unavailable", "", "201 Created"]);
    let sent = document(&send(&receiver.url(), &[], &KEY), 0);
    assert_eq!((&sent["attempts"], &sent["httpStatus"]), (&json!(4), &json!(201)));

    let closed_port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let ended = send(&format!("http://{closed_port}"), &[], &KEY);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.starts_with("payment-callback: no answer after 4 attempts: ") && said.lines().count() == 1, "{said}");
    let sent = document(&ended, 1);
    assert_eq!((&sent["delivered"], &sent["attempts"], &sent["httpStatus"]), (&json!(false), &json!(4), &json!(null)));
    assert!(!word(&sent["error"]).is_empty());
    assert!(!sent.to_string().contains(PAYMENT_KEY));
}

#[test]
fn a_key_or_a_secret_is_needed_and_never_an_argument() {
    for (environment, naming) in [
        (&[][..], "PAYMENT_API_KEY"),
        (&[("PAYMENT_API_KEY", "")], "PAYMENT_API_KEY"),
        (&[("PAYMENT_API_KEY", " , ")], "PAYMENT_API_KEY"),
        (&[("PAYMENT_API_KEY", "a\nb")], "PAYMENT_API_KEY"),
        (&[("PAYMENT_API_KEY", "'marked'")], "PAYMENT_API_KEY"),
        (&[("PAYMENT_WEBHOOK_SECRET", "marked!")], "PAYMENT_WEBHOOK_SECRET"),
        (&[("PAYMENT_WEBHOOK_SECRET", "whsec_AAAA")], "PAYMENT_WEBHOOK_SECRET"),
    ] {
        let ended = send("http://127.0.0.1:1", &[], environment);
        let error = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(naming) && !error.contains("marked"), "{error}");
    }
    for bad in [&["--status", "paid"][..], &["--method", "beads"], &["--url", "ftp://x"], &["--timestamp", "now"]] {
        let ended = send("http://127.0.0.1:1", bad, &KEY);
        assert_eq!(ended.status.code(), Some(2), "{bad:?}");
    }
}
