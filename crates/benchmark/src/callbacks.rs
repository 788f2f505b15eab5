//! Callbacks as payments-microservice sends them, put together beforehand.

use std::ops::Range;

use benchmark::payments::{method, order_id, payment_id};

use crate::load::Request;

/// The key of callbacks.
pub(crate) const KEY: &str = "benchmark-key-of-32-characters--";

/// Of so many callbacks one is fresh where the others are duplicates.
const ONE_FRESH_OF: usize = 10;

/// Every one of these payments is completed, which is news.
pub(crate) fn completions(payments: Range<u64>) -> Vec<Request> {
    payments.map(|number| completion(number, "completed")).collect()
}

/// How many fresh callbacks there are among so many.
pub(crate) fn fresh_among(callbacks: u64) -> u64 {
    callbacks / ONE_FRESH_OF as u64
}

/// Nine of ten completions are of payments that are completed already: of `settled`, again and again from the
/// first. The tenth is of `fresh`.
pub(crate) fn mostly_duplicates(fresh: Range<u64>, settled: Range<u64>) -> Vec<Request> {
    let mut settled = settled.cycle();
    let of_fresh = |number| {
        let duplicates = settled.by_ref().take(ONE_FRESH_OF - 1).map(|number| completion(number, "duplicate"));
        let mut ten: Vec<_> = duplicates.collect();
        ten.push(completion(number, "completed"));
        ten
    };
    fresh.flat_map(of_fresh).collect()
}

fn completion(number: u64, outcome: &str) -> Request {
    let (payment, order) = (payment_id(number), order_id(number));
    let body = format!(
        r#"{{"paymentId":"{payment}","orderId":"{order}","status":"completed","paymentMethod":"{}","event":"completed","timestamp":"2026-01-01T12:00:00.000Z","metadata":{{"providerTransactionId":"transaction-{number}","additionalInfo":{{}}}}}}"#,
        method(number)
    );
    let head = format!(
        "POST /api/payments/webhook HTTP/1.1\r\nAccept: application/json, text/plain, */*\r\n\
         Content-Type: application/json\r\nX-API-Key: {KEY}\r\nUser-Agent: axios/1.13.2\r\nContent-Length: {}\r\n\
         Accept-Encoding: gzip, compress, deflate, br\r\nHost: portal.example\r\nConnection: keep-alive\r\n\r\n",
        body.len()
    );
    Request {
        bytes: (head + &body).into_bytes(),
        begins: format!(r#"{{"status":"success","outcome":"{outcome}","#),
        ends: format!(r#","paymentId":"{payment}","orderId":"{order}"}}"#),
    }
}
